"""Routes for operators' machines: health, readiness, metrics."""

from __future__ import annotations

import os
from pathlib import Path

import asyncpg
import psutil
from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from actors.postgres import AWAY
from engine.errors import Unavailable
from serve_app.api.context import replica_of
from serve_app.api.schemas import Health

router = APIRouter(tags=["operations"])


@router.get("/health", summary="Is the replica alive?")
async def health() -> Health:
    """Answers as long as the replica's loop turns."""
    return Health(status="ok")


@router.get("/ready", summary="Can the replica serve?")
async def ready(request: Request) -> Health:
    """Asks the database; 503 while it is away."""
    try:
        await replica_of(request).pool.fetchval("SELECT 1")
    except (*AWAY, asyncpg.PostgresError) as error:
        raise Unavailable(f"the database is away: {error!r}") from error
    return Health(status="ok")


@router.get(
    "/metrics", summary="Prometheus metrics of this node's processes", include_in_schema=False
)
def metrics() -> Response:
    """All processes of the node write to one folder, so any replica can tell for all.

    Not a coroutine: FastAPI runs it on a thread, where reading files holds nobody up.
    """
    folder = os.environ["PROMETHEUS_MULTIPROC_DIR"]
    _forget_the_dead(Path(folder))
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=folder)  # type: ignore[no-untyped-call]
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


def _forget_the_dead(folder: Path) -> None:
    """A process that was killed still counts its connections in its file."""
    for file in folder.glob("gauge_live*_*.db"):
        process_id = int(file.stem.rpartition("_")[2])
        if not psutil.pid_exists(process_id):
            mark_process_dead(process_id, str(folder))  # type: ignore[no-untyped-call]
