"""The user that PostgreSQL runs as when we are root, and what it may read."""

import getpass
import pwd
import subprocess

import pytest

from serve_app.embedded import system_user as module
from serve_app.embedded.errors import StartError
from serve_app.embedded.system_user import give, let_read, let_through, system_user


def mode_of(path):
    return path.stat().st_mode & 0o777


@pytest.fixture
def no_such_user(monkeypatch):
    """We are root, and the user does not exist."""

    def unknown(_name):
        raise KeyError

    monkeypatch.setattr(module.os, "geteuid", lambda: 0)
    monkeypatch.setattr(module.pwd, "getpwnam", unknown)


def test_an_ordinary_user_needs_no_other(monkeypatch):
    monkeypatch.setattr(module.os, "geteuid", lambda: 1000)
    assert system_user() is None


def test_a_user_that_exists_is_taken(monkeypatch):
    monkeypatch.setattr(module.os, "geteuid", lambda: 0)
    monkeypatch.setattr(module.pwd, "getpwnam", lambda _name: pwd.getpwuid(0))
    monkeypatch.setattr(module, "_make", lambda: pytest.fail("it exists"))
    assert system_user() == "rayquiz-db"


def test_a_user_that_is_missing_is_made(no_such_user, monkeypatch):
    commands = []
    monkeypatch.setattr(module.subprocess, "run", lambda command, **_: commands.append(command))
    assert system_user() == "rayquiz-db"
    [command] = commands
    assert command[0] == "useradd"
    assert command[-1] == "rayquiz-db"
    assert "--system" in command


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (subprocess.CalledProcessError(1, "useradd", stderr="Permission denied.\n"), "denied"),
        (FileNotFoundError(2, "No such file or directory", "useradd"), "No such file"),
    ],
)
def test_a_user_that_cannot_be_made_gets_a_sentence(no_such_user, monkeypatch, error, reason):
    def fail(*_args, **_more):
        raise error

    monkeypatch.setattr(module.subprocess, "run", fail)
    with pytest.raises(StartError, match=f"{reason}.*run this as an ordinary user"):
        system_user()


def test_folders_above_can_be_passed_but_not_read(tmp_path):
    inner = tmp_path / "outer" / "middle" / "inner"
    inner.mkdir(parents=True)
    for folder in (inner, inner.parent):
        folder.chmod(0o700)
    inner.parent.parent.chmod(0o755)
    let_through(inner)
    assert mode_of(inner) == 0o700
    assert mode_of(inner.parent) == 0o701
    assert mode_of(inner.parent.parent) == 0o755


def test_a_folder_that_is_given_is_its_users_alone(tmp_path):
    tmp_path.chmod(0o755)
    give(tmp_path, getpass.getuser())
    assert mode_of(tmp_path) == 0o700
    assert tmp_path.owner() == getpass.getuser()


def test_programs_become_readable_only_where_they_were_not(tmp_path):
    wheel, program, data = (
        tmp_path / "wheel",
        tmp_path / "wheel" / "postgres",
        tmp_path / "wheel" / "data",
    )
    wheel.mkdir()
    for path in (program, data):
        path.write_text("")
    wheel.chmod(0o700)
    program.chmod(0o700)
    data.chmod(0o600)
    let_read(wheel)
    assert [mode_of(path) for path in (wheel, program, data)] == [0o705, 0o705, 0o604]
    program.chmod(0o700)
    let_read(wheel)
    assert mode_of(program) == 0o700
