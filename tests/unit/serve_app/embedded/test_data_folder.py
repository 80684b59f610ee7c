"""The data folder: one instance at a time, private files, sentences when it cannot be had."""

import os
import shutil
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest

from actors.settings import Settings
from serve_app.embedded.data_folder import DataFolder
from serve_app.embedded.errors import StartError

SETTINGS = Settings(
    database_url="postgresql://postgres@/rayquiz?host=/tmp/x",
    redis_url="unix:///tmp/x",
    secret="a-secret-of-at-least-32-characters",
    public_url="http://localhost:8000",
)
CLAIM_AND_HOLD = """
import sys
from pathlib import Path
from serve_app.embedded.data_folder import DataFolder
folder = DataFolder(Path(sys.argv[1]))
folder.claim()
print(folder.make_run_folder(), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def folder(tmp_path):
    folder = DataFolder(tmp_path / "data")
    yield folder
    folder.release()


@pytest.fixture
def killed_run(folder):
    """The folder after a run that was killed; its temporary folder is left."""
    process = subprocess.Popen(
        [sys.executable, "-c", CLAIM_AND_HOLD, str(folder.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    run = process.stdout.readline().strip()
    with pytest.raises(StartError, match="another Rayquiz is running"):
        folder.claim()
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    yield run
    shutil.rmtree(run, ignore_errors=True)


def mode_of(path):
    return path.stat().st_mode & 0o777


def test_a_second_instance_is_refused_with_a_sentence(folder):
    folder.claim()
    other = DataFolder(folder.path)
    with pytest.raises(StartError) as caught:
        other.claim()
    assert f"another Rayquiz is running on the data folder {folder.path}" in str(caught.value)
    assert "--data" in str(caught.value)
    other.release()  # changes nothing: it holds nothing
    with pytest.raises(StartError):
        other.claim()
    folder.release()
    other.claim()
    other.release()


def test_a_killed_instance_leaves_no_lock_and_its_temporary_folder_is_cleared(folder, killed_run):
    folder.claim()
    assert os.path.isdir(killed_run)  # noqa: PTH112 - the text that the other process printed
    run = folder.make_run_folder()
    assert not os.path.isdir(killed_run)  # noqa: PTH112
    assert run.is_dir()
    folder.release()
    assert not run.exists()


def test_a_full_disk_gets_a_sentence_and_keeps_no_lock(folder, monkeypatch):
    full = SimpleNamespace(free=100 * 1024**2)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: full)
    with pytest.raises(StartError, match=r"has 100 MiB free and 512 MiB are needed; make room"):
        folder.claim()
    monkeypatch.undo()
    folder.claim()


def test_a_folder_that_cannot_be_made_gets_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StartError, match=r"cannot be written .*choose another with --data"):
        DataFolder(tmp_path / "file" / "data").claim()


def test_the_keys_are_made_once_and_are_their_owners_only(folder):
    before = os.umask(0)
    try:
        folder.claim()
        secret = folder.make_keys()
    finally:
        os.umask(before)
    assert len(secret) >= 32
    assert folder.make_keys() == DataFolder(folder.path).make_keys() == secret
    assert mode_of(folder.path / "keys.json") == 0o600


def test_keys_whose_writing_was_cut_short_are_made_anew(folder):
    folder.claim()
    (folder.path / "keys.json.new").write_text("half a key")
    assert len(folder.make_keys()) >= 32
    assert sorted(path.name for path in folder.path.iterdir()) == ["keys.json", "lock", "logs"]


def test_a_folder_of_an_earlier_version_keeps_its_secret(folder):
    folder.claim()
    (folder.path / "secret").write_text("s" * 64)
    assert folder.make_keys() == "s" * 64


def test_keys_that_cannot_be_read_are_named_and_not_shown(folder):
    folder.claim()
    (folder.path / "keys.json").write_text('{"keys": [{"secret": "do-not-show"}]}')
    with pytest.raises(StartError, match=r"keys\.json: one is too short") as caught:
        folder.make_keys()
    assert "do-not-show" not in str(caught.value)


def test_other_commands_find_the_instance_as_long_as_it_runs(folder):
    assert folder.running() is None
    folder.claim()
    assert folder.running() is None
    folder.announce(SETTINGS)
    assert mode_of(folder.path / "running.json") == 0o600
    assert DataFolder(folder.path).running() == SETTINGS
    folder.release()
    assert folder.running() is None


def test_an_instance_that_was_killed_is_not_found(folder, killed_run):
    (folder.path / "running.json").write_text(SETTINGS.model_dump_json())
    assert folder.running() is None


def test_looking_for_an_instance_makes_no_folder(folder):
    assert folder.running() is None
    assert not folder.path.exists()
