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
    responses = await asyncio.gather(*(client.get("/metrics") for _ in range(40)))
    assert {response.status_code for response in responses} == {200}
    assert not list(tmp_path.glob("gauge_*.db"))
