"""The embedded profile as a whole, without starting it: what goes wrong is told and undone."""

import errno
import os
import socket

import pytest

from migrations import SchemaMismatch
from serve_app.embedded.data_folder import DataFolder
from serve_app.embedded.errors import StartError
from serve_app.embedded.ports import LOOPBACK
from serve_app.embedded.stack import EmbeddedStack


@pytest.fixture
def make_stack(tmp_path, monkeypatch):
    """A factory of stacks whose start does what a test says."""

    def make(start=None, port=0):
        stack = EmbeddedStack(tmp_path / "data", port)
        if start is not None:
            monkeypatch.setattr(stack, "_start", lambda: start(stack))
        return stack

    return make


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "is full; make room and start again"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "is full; make room and start again"),
        (SchemaMismatch("the database has migration 0009"), "the database has migration 0009"),
        (StartError("a sentence"), "^a sentence$"),
    ],
)
def test_what_an_operator_can_mend_is_a_sentence_and_what_was_started_is_stopped(
    make_stack, error, message
):
    stopped = []

    def start(stack):
        stack._exits.callback(stopped.append, "first")
        stack._exits.callback(stopped.append, "second")
        raise error

    with pytest.raises(StartError, match=message):
        make_stack(start).start()
    assert stopped == ["second", "first"]


@pytest.mark.parametrize("error", [OSError(errno.EIO, "I/O error"), KeyboardInterrupt()])
def test_anything_else_is_not_hidden_and_undone_too(make_stack, error):
    stopped = []

    def start(stack):
        stack._exits.callback(stopped.append, "all")
        raise error

    with pytest.raises(type(error)):
        make_stack(start).start()
    assert stopped == ["all"]


def test_a_taken_port_is_noticed_before_anything_is_made(make_stack, tmp_path):
    with socket.create_server((LOOPBACK, 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(StartError, match=f"port {port} cannot be used"):
            make_stack(port=port).start()
    assert not (tmp_path / "data").exists()


def test_a_second_instance_is_refused_and_the_first_stays(make_stack, tmp_path):
    first = DataFolder(tmp_path / "data")
    first.claim()
    with pytest.raises(StartError, match="another Rayquiz is running"):
        make_stack().start()
    with pytest.raises(StartError, match="another Rayquiz is running"):
        DataFolder(tmp_path / "data").claim()
    first.release()


def test_the_environment_is_as_before_when_it_stops(make_stack, monkeypatch):
    monkeypatch.setenv("RAYQUIZ_TEST_OLD", "old")
    monkeypatch.delenv("RAYQUIZ_TEST_NEW", raising=False)

    def start(stack):
        stack._set_environment({"RAYQUIZ_TEST_OLD": "changed", "RAYQUIZ_TEST_NEW": "new"})

    before = dict(os.environ)
    with make_stack(start):
        assert os.environ["RAYQUIZ_TEST_OLD"] == "changed"
        assert os.environ["RAYQUIZ_TEST_NEW"] == "new"
    assert dict(os.environ) == before
