"""A socket's ASGI life: counted from its acceptance to its end, however it ends."""

import asyncio
from types import SimpleNamespace

import pytest

from actors.cache import Cache
from engine import limits
from serve_app import notificator as module
from serve_app.auth import Tokens
from serve_app.notificator import Notificator
from serve_app.viewer import Viewer
from serve_app.websocket.connection import EXTENSION


class Server:
    """What the websocket layer is to the application."""

    def __init__(self):
        self.attached = []
        self.sent = []
        self.fails = False
        self.is_picows = True
        self._said = asyncio.Queue()
        self.say("websocket.connect")

    def say(self, kind):
        self._said.put_nowait({"type": kind})

    def attach(self, listener):
        self.attached.append(listener)

    @property
    def scope(self):
        return {"type": "websocket", "extensions": {EXTENSION: self} if self.is_picows else {}}

    async def receive(self):
        return await self._said.get()

    async def send(self, message):
        if self.fails:
            raise OSError("the peer has gone")
        self.sent.append(message)


@pytest.fixture
async def notificator(gateway, subscriber, monkeypatch):
    monkeypatch.setattr(module, "Subscriber", lambda _url: subscriber)
    replica = SimpleNamespace(
        gateway=gateway,
        tokens=Tokens("a secret of at least thirty-two bytes"),
        settings=SimpleNamespace(redis_url="redis://unused"),
        token_watch=SimpleNamespace(),
        cache=Cache("unix:///nowhere"),
    )
    notificator = Notificator(replica)
    yield notificator
    await notificator.close()


@pytest.fixture
def begin(notificator, settle):
    """Let a socket connect."""

    async def begin(*, fails=False, is_picows=True):
        server = Server()
        server.fails, server.is_picows = fails, is_picows
        life = asyncio.create_task(notificator.websocket(server.scope, server.receive, server.send))
        await settle()
        return server, life

    return begin


async def test_a_socket_is_counted_from_its_acceptance_to_its_end(notificator, begin):
    server, life = await begin()
    assert [type(listener) for listener in server.attached] == [Viewer]
    assert server.sent == [{"type": "websocket.accept"}]
    assert notificator.open == 1
    server.say("websocket.disconnect")
    await life
    assert notificator.open == 0


async def test_a_socket_whose_application_is_cancelled_is_not_counted_any_more(notificator, begin):
    _, life = await begin()
    life.cancel()
    await asyncio.gather(life, return_exceptions=True)
    assert notificator.open == 0


async def test_a_socket_that_left_before_it_was_accepted_is_not_counted(notificator, begin):
    _, life = await begin(fails=True)
    with pytest.raises(OSError, match="gone"):
        await life
    assert notificator.open == 0


async def test_one_socket_too_many_is_told_so(notificator, begin, monkeypatch):
    monkeypatch.setattr(limits, "CONNECTIONS_PER_REPLICA_MAX", 1)
    first, life = await begin()
    second, refused = await begin()
    await refused
    assert second.attached == []
    assert second.sent == [
        {"type": "websocket.accept"},
        {"type": "websocket.close", "code": 4006, "reason": "replica_full"},
    ]
    assert notificator.open == 1
    first.say("websocket.disconnect")
    await life
    third, life = await begin()
    assert len(third.attached) == 1
    third.say("websocket.disconnect")
    await life


async def test_the_hub_is_closed_with_the_notificator(notificator, subscriber):
    await notificator.close()
    assert subscriber.closed


async def test_a_socket_that_came_through_another_proxy_is_to_come_again(notificator, begin):
    server, life = await begin(is_picows=False)
    await life
    assert server.sent == [
        {"type": "websocket.accept"},
        {"type": "websocket.close", "code": 1012, "reason": "restart"},
    ]
    assert notificator.open == 0
