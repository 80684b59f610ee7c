"""The Notificator: websockets of participants, hosts and viewers."""

from __future__ import annotations

from collections import Counter as Counts
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prometheus_client import Counter, Gauge
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from engine import limits
from serve_app.errors import CLOSE_CODES
from serve_app.hub import Hub
from serve_app.newcomers import Newcomers
from serve_app.presence import Presence
from serve_app.replica import Replica
from serve_app.subscriber import Subscriber
from serve_app.viewer import Viewer, message_rate
from serve_app.websocket.connection import EXTENSION, CallbackUpgrade
from serve_app.websocket.entrance import ENTRANCE

CONNECTIONS = Gauge(
    "quiz_hub_connections", "Open websockets of this replica", multiprocess_mode="livesum"
)
OUTCOMES = Counter(
    "quiz_hub_outcomes_total",
    "Refused messages by code, and closed websockets by code",
    ["outcome"],
)


class Notificator:
    """The sockets of one replica."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._hub = Hub(replica.gateway, Subscriber(replica.settings.redis_url))
        replica.token_watch.on_revoked = self._hub.close_revoked
        self._presence = Presence(replica.cache, self._hub)
        self._rate = message_rate(replica.settings.messages_per_s)
        self._newcomers = Newcomers(
            limits.NEWCOMERS_MAX, limits.NEWCOMERS_PER_ADDRESS_MAX, ENTRANCE
        )
        self._open_by_address = Counts[str]()
        #: Websockets open now.
        self.open = 0

    async def websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One socket's ASGI life: attach callbacks, accept, wait for its end."""
        await receive()  # websocket.connect
        upgrade: CallbackUpgrade | None = scope.get("extensions", {}).get(EXTENSION)
        if upgrade is None:
            # It came through Serve's own proxy, to which HAProxy turns while it knows no replica.
            await _close(send, "restart")
            OUTCOMES.labels(f"closed_{CLOSE_CODES['restart'].code}").inc()
            return
        viewer = self._viewer()
        upgrade.attach(viewer)
        address = self._replica.addresses.of(scope)
        if (
            self.open >= limits.CONNECTIONS_PER_REPLICA_MAX
            or self._open_by_address[address] >= limits.CONNECTIONS_PER_ADDRESS_MAX
        ):
            await _close(send, "replica_full")
            await _end(receive)
            return
        self.open += 1
        self._open_by_address[address] += 1
        CONNECTIONS.inc()
        self._newcomers.add(viewer, address)
        try:
            await send({"type": "websocket.accept"})
            await _end(receive)
        finally:
            self._newcomers.remove(viewer)
            CONNECTIONS.dec()
            self._open_by_address[address] -= 1
            if not self._open_by_address[address]:
                del self._open_by_address[address]
            self.open -= 1

    def _viewer(self) -> Viewer:
        return Viewer(
            self._hub,
            self._replica.gateway,
            self._replica.tokens,
            self._rate,
            self._newcomers.greet,
            lambda outcome: OUTCOMES.labels(outcome).inc(),
        )

    async def close(self) -> None:
        """Stop listening to sessions."""
        await self._presence.close()
        await self._hub.close()


async def _end(receive: Receive) -> None:
    """Wait until the socket is gone."""
    while (await receive())["type"] != "websocket.disconnect":
        pass


async def _close(send: Send, name: str) -> None:
    """Accept, so that the client is told why, and close."""
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.close", "code": CLOSE_CODES[name].code, "reason": name})


def create_notificator_app() -> ASGIApp:
    """The ASGI application of one Notificator replica: every websocket, and ``GET /health``."""
    sockets: list[Notificator] = []

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        replica = await Replica.create()
        sockets.append(Notificator(replica))
        yield
        await sockets[0].close()
        await replica.close()

    async def health(_request: Request) -> Response:
        # No more than that: it stands at the front door. Metrics tell the rest.
        return JSONResponse({"status": "ok"})

    http = Starlette(routes=[Route("/health", health)], lifespan=lifespan)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        # The address is the route's prefix itself, which leaves an empty path: no router matches it.
        if scope["type"] == "websocket":
            await sockets[0].websocket(scope, receive, send)
        else:
            await http(scope, receive, send)

    return app
