"""What Serve reads of a body ahead of the application is bounded."""

import asyncio

import pytest
from ray.serve._private import replica

from serve_app.read_ahead import MESSAGES_MAX, bound_read_ahead


class Socket:
    """An endless body, counting the messages that were taken; or what the test gives."""

    def __init__(self, *messages):
        self._messages = list(messages)
        self._endless = not messages
        self.taken = 0

    async def __call__(self):
        await asyncio.sleep(0)
        if self._endless:
            self.taken += 1
            return {"type": "http.request", "body": b"x" * 65_536, "more_body": True}
        if not self._messages:
            await asyncio.Event().wait()
        self.taken += 1
        return self._messages.pop(0)


@pytest.fixture
def proxied(monkeypatch):
    """Serve's proxy before a socket, as it is after ``bound_read_ahead``."""
    monkeypatch.setattr(replica, "ASGIDIReceiveProxy", replica.ASGIDIReceiveProxy)
    bound_read_ahead()

    def make(socket, kind="http"):
        loop = asyncio.get_running_loop()
        return replica.ASGIDIReceiveProxy({"type": kind}, socket, loop)

    return make


async def test_an_endless_body_that_nobody_reads_is_left_on_the_socket(proxied, settle):
    socket = Socket()
    task = proxied(socket).fetch_until_disconnect_task()
    await settle()
    assert socket.taken == MESSAGES_MAX + 1
    task.cancel()


async def test_what_is_read_makes_room(proxied, settle):
    socket = Socket()
    proxy = proxied(socket)
    task = proxy.fetch_until_disconnect_task()
    for _ in range(10):
        assert len((await proxy())["body"]) == 65_536
    await settle()
    assert socket.taken == MESSAGES_MAX + 11
    task.cancel()


async def test_a_departure_is_noticed_by_who_reads_no_body(proxied):
    end = {"type": "http.request", "body": b"", "more_body": False}
    proxy = proxied(Socket(end, {"type": "http.disconnect"}))
    await asyncio.wait_for(proxy.fetch_until_disconnect_task(), 5)
    assert [(await proxy())["type"] for _ in range(3)] == [
        "http.request", "http.disconnect", "http.disconnect"
    ]  # fmt: skip
