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
DOOR = {"x-rayquiz-door": "metrics"}


async def test_health(client):
    assert (await client.get("/health")).json() == {"status": "ok"}


async def test_metrics_are_not_there_for_those_who_come_through_the_front(client, refused):
    for headers in ({}, {"x-rayquiz-door": "front"}, {"x-rayquiz-door": "metrics, metrics"}):
        refused(await client.get("/metrics", headers=headers), 404, "not_found")


async def test_readiness_tells_nothing_of_the_servers_behind_it(client, replica, refused):
    async def away():
        raise OSError("Connect call failed ('10.0.0.5', 5432)")

    replica.require_writable = away
    problem = refused(await client.get("/ready"), 503, "retry")
    assert problem["detail"] == "the database is away"


async def test_connections_of_a_killed_process_are_not_counted(client, tmp_path, monkeypatch):
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", WRITER),
        env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)},
        stdin=PIPE,
        stdout=PIPE,
    )
    assert await process.stdout.readline() == b"written\n"
    response = await client.get("/metrics", headers=DOOR)
    assert response.headers["content-type"].startswith("text/plain")
    assert "test_connections 3.0" in response.text
    process.kill()
    await process.wait()
    assert "test_connections 3.0" not in (await client.get("/metrics", headers=DOOR)).text


async def test_scrapes_at_once_and_a_torn_file_are_no_error(client, tmp_path, monkeypatch):
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    for _ in range(3):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", WRITER),
            env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)},
            stdin=PIPE,
            stdout=PIPE,
        )
        await process.stdout.readline()
        process.kill()
        await process.wait()
    (tmp_path / f"counter_{process.pid}.db").write_bytes(b"torn")
    responses = await asyncio.gather(*(client.get("/metrics", headers=DOOR) for _ in range(40)))
    assert {response.status_code for response in responses} == {200}
    assert not list(tmp_path.glob("gauge_*.db"))
