"""Bytes that wait for peers: counted over all sockets, and bounded."""

import pytest

from serve_app.websocket.waiting import WaitingBytes


class Socket:
    def __init__(self, waiting):
        self._waiting = waiting
        self.held = 0
        self.looks = 0
        self.is_dropped = False

    def write(self, size):
        self.held += size
        self._waiting.note(self, self.held)

    def read(self, size):
        """The peer reads; nobody is told before all has left."""
        self.held -= size
        if not self.held:
            self._waiting.forget(self)

    def held_bytes(self):
        self.looks += 1
        return self.held

    def drop(self):
        assert not self.is_dropped
        self.is_dropped = True
        self.held = 0
        self._waiting.forget(self)


@pytest.fixture
def waiting():
    return WaitingBytes(1_000)


def test_what_waits_is_added_up(waiting):
    one, other = Socket(waiting), Socket(waiting)
    one.write(300)
    one.write(100)
    other.write(600)
    assert (waiting.total, waiting.holders) == (1_000, 2)
    other.read(600)
    assert (waiting.total, waiting.holders) == (400, 1)
    assert not one.is_dropped


def test_past_the_bound_those_go_that_hold_most(waiting):
    honest = [Socket(waiting) for _ in range(10)]
    for socket in honest:
        socket.write(20)
    attackers = [Socket(waiting) for _ in range(4)]
    for _ in range(50):
        for socket in attackers:
            if not socket.is_dropped:
                socket.write(10)
            assert waiting.total <= 1_000
    assert not any(socket.is_dropped for socket in honest)
    assert sum(socket.is_dropped for socket in attackers) >= 2
    assert waiting.total == sum(socket.held for socket in honest + attackers)


def test_what_has_left_meanwhile_is_not_held_against_anybody(waiting):
    sockets = [Socket(waiting) for _ in range(4)]
    for _ in range(100):
        for socket in sockets:
            socket.write(100)
            socket.read(100 if socket.held > 100 else 50)
    assert not any(socket.is_dropped for socket in sockets)


def test_not_every_write_looks_at_every_socket(waiting):
    sockets = [Socket(waiting) for _ in range(100)]
    written = 0
    for _ in range(1_000):
        for socket in sockets:
            if not socket.is_dropped:
                socket.write(1)
                written += 1
            if socket.held > 7:
                socket.read(2)
    assert written > 50_000
    assert max(socket.looks for socket in sockets) <= written / 250 + 1


def test_one_socket_above_the_bound_is_dropped_alone(waiting):
    small, large = Socket(waiting), Socket(waiting)
    small.write(10)
    large.write(1_001)
    assert (small.is_dropped, large.is_dropped, waiting.total) == (False, True, 10)
