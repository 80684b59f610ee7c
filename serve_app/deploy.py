"""The Serve applications: api, notificator, pages; each scaled on its own."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import ray
from ray import serve
from ray.serve.schema import LoggingConfig
from starlette.types import ASGIApp
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from actors.logs import install_logs
from actors.settings import Settings
from actors.supervisor import supervisor
from engine import limits
from engine.wire import Ping, Pong, encode_json
from serve_app.embedded.errors import StartError
from serve_app.embedded.loopback import confine_replica
from serve_app.read_ahead import bound_read_ahead
from serve_app.safe_headers import SafeHeaders

#: CPUs that one replica asks for; small, because on one machine all share the same two.
_REPLICA_CPUS = 0.1
#: Requests of one HTTP replica that may be under way; each answer waits for its commit.
_HTTP_ONGOING_MAX = 10_000
#: A websocket holds one of these for its whole life; our own limit, with a close code of its own,
#: lies below.
_SOCKETS_ONGOING_MAX = 2 * limits.CONNECTIONS_PER_REPLICA_MAX
#: Seconds that a replica may take to go; must be longer than Serve's draining period.
_SHUTDOWN_S = 20.0
#: Seconds between two looks at a replica. Serve finds out by these alone that one was killed: with its
#: own 10 s, a thousand people may wait so long before another one even starts.
_HEALTH_CHECK_S = 1.0
#: How long websockets may take to get through after a start; how long one waits; seconds.
_REACHED_S_MAX, _REPLY_S_MAX, _REACHED_PAUSE_S = 30.0, 2.0, 0.1


def _api() -> ASGIApp:
    from serve_app.api.app import create_api_app  # noqa: PLC0415 - in the replica's process

    return create_api_app()


def _notificator() -> ASGIApp:
    from serve_app.client_address import ClientAddresses  # noqa: PLC0415
    from serve_app.notificator import create_notificator_app  # noqa: PLC0415
    from serve_app.websocket.uvicorn_picows import install  # noqa: PLC0415

    # Before the replica's server starts: Serve builds the application first (pinned by
    # tests/acceptance/test_websocket.py).
    install(ClientAddresses(Settings.from_env().proxies))
    return create_notificator_app()


def _pages() -> ASGIApp:
    from serve_app.pages.app import create_pages_app  # noqa: PLC0415

    settings = Settings.from_env()
    return create_pages_app(settings.public_url, settings.pin_style, settings.proxies)


def application(
    build: Callable[[], ASGIApp], name: str, replicas: int, ongoing_max: int
) -> serve.Application:
    """A Serve application of one deployment around an ASGI application built in the replica."""

    def build_here() -> ASGIApp:
        install_logs()
        # uvicorn, whose server comes next, would put what a header says in the place of the peer's
        # address; serve_app.client_address decides which header is believed.
        os.environ["FORWARDED_ALLOW_IPS"] = ""
        confine_replica()
        bound_read_ahead()
        return SafeHeaders(build())

    @serve.deployment(
        name=name,
        num_replicas=replicas,
        max_ongoing_requests=ongoing_max,
        graceful_shutdown_timeout_s=_SHUTDOWN_S,
        health_check_period_s=_HEALTH_CHECK_S,
        ray_actor_options={"num_cpus": _REPLICA_CPUS},
        logging_config=LoggingConfig(log_level="WARNING", enable_access_log=False),
    )
    @serve.ingress(build_here)
    class Service:
        pass

    deployment: Any = Service  # the decorators make it one, and are not typed
    bound: serve.Application = deployment.bind()
    return bound


def targets(settings: Settings) -> list[serve.RunTarget]:
    """The applications with their routes."""
    rows: list[tuple[str, str, Callable[[], ASGIApp], int, int]] = [
        ("api", "/api", _api, settings.api_replicas, _HTTP_ONGOING_MAX),
        ("notificator", "/ws", _notificator, settings.notificator_replicas, _SOCKETS_ONGOING_MAX),
        ("pages", "/", _pages, settings.pages_replicas, _HTTP_ONGOING_MAX),
    ]
    return [
        serve.RunTarget(application(build, name, replicas, ongoing), name=name, route_prefix=prefix)
        for name, prefix, build, replicas, ongoing in rows
    ]


def deploy(settings: Settings, local_url: str) -> None:
    """Run the supervisor and the applications; return when all are healthy and reached.

    Args:
        settings: what the applications read.
        local_url: HTTP address of the front as this machine reaches it; people may use another.

    Raises:
        StartError: websockets do not get through to the Notificator.
    """
    ready: Any = supervisor(settings.ray_namespace).statistics.remote()
    serve.run_many(targets(settings), wait_for_applications_running=True)
    ray.get(ready)
    _wait_for_websockets(local_url.replace("http", "ws", 1) + "/ws")


def _wait_for_websockets(url: str) -> None:
    """Return when HAProxy hands websockets to replicas; at first it knows only Serve's own proxy."""
    deadline = time.monotonic() + _REACHED_S_MAX
    while time.monotonic() < deadline:
        with suppress(OSError, WebSocketException), connect(url) as socket:
            socket.send(encode_json(Ping(1)).decode())
            if socket.recv(timeout=_REPLY_S_MAX) == encode_json(Pong(1)).decode():
                return
        time.sleep(_REACHED_PAUSE_S)
    raise StartError(
        f"no websocket got through to the Notificator in {_REACHED_S_MAX:.0f} s; "
        "see the log folder, and run `rayquiz doctor`"
    )
