"""Runs the applications on the Ray of this machine, and waits until they are reached."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

import ray
from ray import serve
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from actors.settings import Settings
from actors.supervisor import supervisor
from engine.wire import Ping, Pong, encode_json
from serve_app.applications import Scale, api, notificator, pages
from serve_app.embedded.errors import StartError

#: How long websockets may take to get through after a start; how long one waits; seconds.
_REACHED_S_MAX, _REPLY_S_MAX, _REACHED_PAUSE_S = 30.0, 2.0, 0.1


def targets(settings: Settings) -> list[serve.RunTarget]:
    """The applications with their routes."""
    rows = [
        ("api", "/api", api, settings.api_replicas),
        ("notificator", "/ws", notificator, settings.notificator_replicas),
        ("pages", "/", pages, settings.pages_replicas),
    ]
    return [
        serve.RunTarget(build(Scale(replicas=replicas)), name=name, route_prefix=prefix)
        for name, prefix, build, replicas in rows
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
