"""The Notificator: websockets of participants, hosts and viewers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prometheus_client import Counter, Gauge
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from engine import limits
from serve_app.errors import CLOSE_CODES
from serve_app.hub import Hub
from serve_app.replica import Replica
from serve_app.subscriber import Subscriber
from serve_app.viewer import Viewer
from serve_app.websocket.connection import EXTENSION

CONNECTIONS = Gauge(
    "quiz_hub_connections", "Open websockets of this replica", multiprocess_mode="livesum"
)
OUTCOMES = Counter(
    "quiz_hub_outcomes_total", "Refused messages by code, and closed websockets by code", ["outcome"]
)


class Notificator:
    """The sockets of one replica."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._hub = Hub(replica.gateway, Subscriber(replica.settings.redis_url))
        self._open = 0

    async def websocket(self, socket: WebSocket) -> None:
        """One socket's ASGI life: attach callbacks, accept, wait for its end."""
        await socket.receive()  # websocket.connect
        if self._open >= limits.CONNECTIONS_PER_REPLICA_MAX:
            await socket.send({"type": "websocket.accept"})
            full = CLOSE_CODES["replica_full"]
            await socket.send({"type": "websocket.close", "code": full.code, "reason": "replica_full"})
            return
        viewer = Viewer(
            self._hub,
            self._replica.gateway,
            self._replica.tokens,
            lambda outcome: OUTCOMES.labels(outcome).inc(),
        )
        socket.scope["extensions"][EXTENSION].attach(viewer)
        self._open += 1
        CONNECTIONS.inc()
        try:
            await socket.send({"type": "websocket.accept"})
            while (await socket.receive())["type"] != "websocket.disconnect":
                pass
        finally:
            self._open -= 1
            CONNECTIONS.dec()

    async def health(self, _request: Request) -> Response:
        """Alive, with its database and schema: without them the replica would not have started."""
        return JSONResponse({"status": "ok", "connections": self._open})


def create_notificator_app() -> Starlette:
    """The ASGI application of one Notificator replica."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        replica = await Replica.create()
        notificator = Notificator(replica)
        app.router.routes[:] = [
            WebSocketRoute("/", notificator.websocket),
            Route("/health", notificator.health),
        ]
        yield
        await replica.close()

    return Starlette(lifespan=lifespan)
