"""Health and metrics."""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE

WRITER = """
from prometheus_client import Gauge
Gauge("test_connections", "x", multiprocess_mode="livesum").inc(3)
print("written", flush=True)
input()
"""


async def test_health(client):
    assert (await client.get("/health")).json() == {"status": "ok"}


async def test_connections_of_a_killed_process_are_not_counted(client, tmp_path, monkeypatch):
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", WRITER),
        env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)},
        stdin=PIPE,
        stdout=PIPE,
    )
    assert await process.stdout.readline() == b"written\n"
    response = await client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain")
    assert "test_connections 3.0" in response.text
    process.kill()
    await process.wait()
    assert "test_connections 3.0" not in (await client.get("/metrics")).text
