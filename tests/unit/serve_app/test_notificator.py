"""A socket's ASGI life: counted from its acceptance to its end, however it ends."""

import asyncio
from types import SimpleNamespace

import pytest

from actors.cache import Cache
from engine import limits
from engine.testing.driver import SESSION_ID
from engine.wire import Hello, encode_json
from serve_app import notificator as module
from serve_app.auth import Role, Tokens
from serve_app.client_address import ClientAddresses
from serve_app.errors import CLOSE_CODES
from serve_app.newcomers import Newcomers
from serve_app.notificator import Notificator
from serve_app.viewer import Viewer
from serve_app.websocket.connection import EXTENSION
from serve_app.websocket.entrance import Entrance

TOKENS = Tokens("a secret of at least thirty-two bytes")


class Server:
    """What the websocket layer is to the application."""

    def __init__(self):
        self.attached = []
        self.sent = []
        self.closed = []
        self.fails = False
        self.is_picows = True
        self.address = "192.0.2.1"
        self._said = asyncio.Queue()
        self.say("websocket.connect")

    def say(self, kind):
        self._said.put_nowait({"type": kind})

    def attach(self, listener):
        self.attached.append(listener)

    @property
    def scope(self):
        return {
            "type": "websocket",
            "client": (self.address, 1_234),
            "headers": [],
            "extensions": {EXTENSION: self} if self.is_picows else {},
        }

    async def receive(self):
        return await self._said.get()

    async def send(self, message):
        if self.fails:
            raise OSError("the peer has gone")
        self.sent.append(message)
        if message["type"] == "websocket.accept" and self.attached:
            self.attached[0].on_open(self)
        elif message["type"] == "websocket.close":
            self.close(message["code"], message["reason"])

    def close(self, code, reason=""):
        """As the connection of the viewer."""
        assert CLOSE_CODES[reason].code == code
        self.closed.append(reason)
        self.say("websocket.disconnect")

    def send_text(self, payload):
        """As the connection of the viewer: nobody listens."""

    def hello(self, token):
        self.attached[0].on_text(self, encode_json(Hello(token)))


@pytest.fixture
async def notificator(gateway, subscriber, monkeypatch):
    monkeypatch.setattr(module, "Subscriber", lambda _url: subscriber)
    replica = SimpleNamespace(
        gateway=gateway,
        tokens=TOKENS,
        settings=SimpleNamespace(redis_url="redis://unused", messages_per_s=20),
        addresses=ClientAddresses(),
        token_watch=SimpleNamespace(),
        cache=Cache("unix:///nowhere"),
    )
    notificator = Notificator(replica)
    yield notificator
    await notificator.close()


@pytest.fixture
def begin(notificator, settle):
    """Let a socket connect."""

    async def begin(*, fails=False, is_picows=True, address="192.0.2.1"):
        server = Server()
        server.address = address
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
    assert second.closed == ["replica_full"]
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


async def test_one_address_leaves_places_for_others(notificator, begin, monkeypatch):
    monkeypatch.setattr(limits, "CONNECTIONS_PER_ADDRESS_MAX", 2)
    lives = [await begin() for _ in range(2)]
    third, refused = await begin()
    await refused
    assert third.closed == ["replica_full"]
    lives.append(await begin(address="192.0.2.2"))
    assert notificator.open == 3
    for server, life in lives:
        server.say("websocket.disconnect")
        await life
    assert notificator._open_by_address == {}
    server, life = await begin()
    assert server.closed == []
    server.say("websocket.disconnect")
    await life


async def test_a_flood_of_silent_sockets_lets_others_in(notificator, begin):
    """Of one address: the oldest of its own go. Who has said hello is not among them."""
    notificator._newcomers = Newcomers(4, 3, Entrance())
    guest, guest_life = await begin()
    guest.hello(TOKENS.of_session(Role.VIEWER, SESSION_ID, "123456"))
    flood = [await begin() for _ in range(10)]
    assert [server.closed for server, _ in flood] == [["hello_late"]] * 7 + [[]] * 3
    honest, honest_life = await begin(address="192.0.2.2")
    more = [await begin() for _ in range(10)]
    assert (guest.closed, honest.closed) == ([], [])
    assert [server.closed for server, _ in more] == [["hello_late"]] * 7 + [[]] * 3
    for server, life in [(guest, guest_life), (honest, honest_life), *flood, *more]:
        server.say("websocket.disconnect")
        await life
    assert len(notificator._newcomers) == 0


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
