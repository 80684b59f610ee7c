"""Routes for operators' machines: health, readiness, metrics."""

from __future__ import annotations

import os

import asyncpg
from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

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
async def metrics() -> Response:
    """All processes of the node write to one folder, so any replica can tell for all."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=os.environ["PROMETHEUS_MULTIPROC_DIR"])  # type: ignore[no-untyped-call]
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)
