"""The Notificator: websockets of participants, hosts and viewers."""

from __future__ import annotations

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
from serve_app.presence import Presence
from serve_app.replica import Replica
from serve_app.subscriber import Subscriber
from serve_app.viewer import Viewer
from serve_app.websocket.connection import EXTENSION, CallbackUpgrade

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
        #: Websockets open now.
        self.open = 0

    async def websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One socket's ASGI life: attach callbacks, accept, wait for its end."""
        await receive()  # websocket.connect
        upgrade: CallbackUpgrade | None = scope.get("extensions", {}).get(EXTENSION)
        if upgrade is None:
            # It came through Serve's own proxy, to which HAProxy turns while it knows no replica.
            await _close_at_once(send, "restart")
            return
        if self.open >= limits.CONNECTIONS_PER_REPLICA_MAX:
            await _close_at_once(send, "replica_full")
            return
        viewer = Viewer(
            self._hub,
            self._replica.gateway,
            self._replica.tokens,
            lambda outcome: OUTCOMES.labels(outcome).inc(),
        )
        upgrade.attach(viewer)
        self.open += 1
        CONNECTIONS.inc()
        try:
            await send({"type": "websocket.accept"})
            while (await receive())["type"] != "websocket.disconnect":
                pass
        finally:
            self.open -= 1
            CONNECTIONS.dec()

    async def close(self) -> None:
        """Stop listening to sessions."""
        await self._presence.close()
        await self._hub.close()


async def _close_at_once(send: Send, name: str) -> None:
    """Accept, so that the client is told why, and close."""
    code = CLOSE_CODES[name].code
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.close", "code": code, "reason": name})
    OUTCOMES.labels(f"closed_{code}").inc()


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
        return JSONResponse({"status": "ok", "connections": sockets[0].open})

    http = Starlette(routes=[Route("/health", health)], lifespan=lifespan)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        # The address is the route's prefix itself, which leaves an empty path: no router matches it.
        if scope["type"] == "websocket":
            await sockets[0].websocket(scope, receive, send)
        else:
            await http(scope, receive, send)

    return app
