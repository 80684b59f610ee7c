"""The API over a replica whose database and actors are not there."""

import asyncio

import httpx
import pytest

from actors.cache import Cache
from actors.directory import SessionInfo
from engine.errors import NotFound
from engine.ids import Pin, SessionId
from engine.model import Mode
from engine.pins import read_pin
from serve_app.address_guard import AddressGuard
from serve_app.api.app import create_api_app
from serve_app.auth import Tokens
from serve_app.client_address import ClientAddresses
from serve_app.doors import Doors
from serve_app.rate import KeyedBuckets, Rate
from serve_app.shared_rate import SharedRate

SESSION = SessionId("00000000-0000-4000-8000-000000000001")
PIN = Pin("123456")


class FakeReplica:
    """One session, whose actor replies what the test says.

    Attributes:
        reply: what a submitted item is told, or what submitting it raises.
        items: what was submitted.
        live: the PINs of live sessions.
        looked_up: the PINs that were asked of the directory.
    """

    def __init__(self):
        self.tokens = Tokens("a secret of at least thirty-two bytes")
        self.cache = Cache("unix:///nowhere")
        self.joins = SharedRate(self.cache, "joins", Rate(per_s=0.001, burst=3), keys_max=10)
        self.returns = SharedRate(self.cache, "returns", Rate(per_s=1, burst=100), keys_max=10)
        self.address_returns = self.returns
        self.directory = self.gateway = self
        self.addresses = ClientAddresses()  # httpx comes from 127.0.0.1, as HAProxy does
        self.guard = AddressGuard(self.cache, self)
        self.live = {PIN}
        self.mode = Mode.LIVE
        self.reply = None
        self.items = []
        self.looked_up = []
        self.rosters = KeyedBuckets(Rate(per_s=0.001, burst=3), 10)
        self.doors = Doors(self)
        self.lock = "open"
        self.calls = []

    async def has_pin(self, pin):
        self.looked_up.append(pin)
        await asyncio.sleep(0)
        return pin in self.live

    async def by_pin(self, typed):
        if read_pin(typed) not in self.live:
            raise NotFound(f"pin: no live session has {typed}")
        return SessionInfo(SESSION, PIN, "A quiz", self.mode.value, None, False, False, False)

    async def ask(self, session_id, item):
        assert session_id == SESSION
        self.items.append(item)
        if isinstance(self.reply, Exception):
            raise self.reply
        return self.reply

    async def call(self, session_id, method, *args):
        assert session_id == SESSION
        self.calls.append((method, *args))
        if isinstance(self.reply, Exception):
            raise self.reply
        return self.lock if method == "lock" else self.reply


@pytest.fixture
def replica():
    return FakeReplica()


@pytest.fixture
def app(replica):
    app = create_api_app()
    app.state.replica = replica
    return app


@pytest.fixture
async def client(app):
    """Nobody in particular; an exception of a handler is what a person would see of it."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


@pytest.fixture
def refused():
    """Check that a response is problem details of a code; return them."""

    def refused(response, status, code):
        assert response.status_code == status, response.text
        assert response.headers["content-type"] == "application/problem+json"
        problem = response.json()
        assert (problem["status"], problem["code"]) == (status, code)
        return problem

    return refused
