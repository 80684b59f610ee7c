"""Routes for load balancers and operators: health and readiness, a bare word each, and metrics."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import asyncpg
from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST

from actors.postgres import AWAY
from actors.tasks import SharedWork
from engine.errors import NotFound, Unavailable
from serve_app.api.context import replica_of
from serve_app.api.schemas import Health
from serve_app.embedded.haproxy_wrapper import DOOR_HEADER
from serve_app.metrics_files import MetricsFiles

router = APIRouter(tags=["operations"])
_scrapes = SharedWork[str, bytes]()


@router.get("/health", summary="Is the replica alive?")
async def health() -> Health:
    """Answers as long as the replica's loop turns."""
    return Health(status="ok")


@router.get("/ready", summary="Can the replica serve?")
async def ready(request: Request) -> Health:
    """Asks the database; 503 while it is away, or takes no writes."""
    try:
        await replica_of(request).require_writable()
    except (*AWAY, asyncpg.PostgresError) as error:
        raise Unavailable(f"the database is away: {error!r}") from error
    return Health(status="ok")


@router.get(
    "/metrics", summary="Prometheus metrics of this node's processes", include_in_schema=False
)
async def metrics(request: Request) -> Response:
    """All processes of the node write to one folder, so any replica can tell for all.

    Only for those who come through the door for Prometheus (``serve_app/embedded/haproxy_wrapper.py``).

    However many ask at once, the files are read once, on a thread.
    """
    if request.headers.get(DOOR_HEADER) != "metrics":
        raise NotFound("path: nothing stands here")
    files = MetricsFiles(Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]))
    found = await _scrapes.do("metrics", lambda: asyncio.to_thread(files.exposition))
    return Response(found, media_type=CONTENT_TYPE_LATEST)
