"""Secrets from files: read once, behind what the environment says, and nothing else."""

import os

import pytest

from serve_app.cli.secret_files import read_secrets
from serve_app.embedded.errors import StartError


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("RAYQUIZ_SECRETS_DIR", str(tmp_path))
    for name in ("RAYQUIZ_REDIS_URL", "RAYQUIZ_SECRET", "PATH_OF_NOBODY"):
        monkeypatch.setenv(name, "x")  # put back afterwards
        monkeypatch.delenv(name)
    return tmp_path


def test_files_are_variables(folder, monkeypatch):
    monkeypatch.setenv("RAYQUIZ_SECRET", "of the environment")
    (folder / "RAYQUIZ_REDIS_URL").write_text("redis://:password@valkey/0\n")
    (folder / "RAYQUIZ_SECRET").write_text("of a file")
    (folder / "PATH_OF_NOBODY").write_text("y")
    (folder / "RAYQUIZ_FOLDER").mkdir()
    read_secrets()
    assert os.environ["RAYQUIZ_REDIS_URL"] == "redis://:password@valkey/0"
    assert os.environ["RAYQUIZ_SECRET"] == "of the environment"
    assert not {"PATH_OF_NOBODY", "RAYQUIZ_FOLDER"} & set(os.environ)


def test_without_a_folder_there_is_nothing_to_read(folder, monkeypatch):
    (folder / "RAYQUIZ_SECRET").write_text("x")
    monkeypatch.delenv("RAYQUIZ_SECRETS_DIR")
    read_secrets()
    assert "RAYQUIZ_SECRET" not in os.environ


def test_what_cannot_be_read_is_named_and_not_shown(folder):
    (folder / "RAYQUIZ_SECRET").write_bytes(b"do-not-show\xff")
    with pytest.raises(StartError, match="cannot be read") as caught:
        read_secrets()
    assert "do-not-show" not in str(caught.value)
    (folder / "RAYQUIZ_SECRET").unlink()
    folder.rmdir()
    with pytest.raises(StartError, match="cannot be read"):
        read_secrets()
