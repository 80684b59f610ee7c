"""A8: connections that say half of something, or nothing."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from urllib.parse import urlsplit

from engine import limits
from tests.abuse.scenario import SLACK_S, Claim, Evidence, Ground, Scenario, closed_within

_CONNECTIONS, _ADDRESSES = 3_000, 20
_HALVES = (
    b"",
    b"GET /api/he",
    b"POST /api/quizzes HTTP/1.1\r\nhost: x\r\nx-lon",
    b"POST /api/quizzes HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nhalf",
    b"GET /ws HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\n",
)


async def _attack(ground: Ground) -> None:
    site = urlsplit(ground.url)
    lives_s: list[float] = []

    async def keep_one_open(number: int) -> None:
        while not ground.is_over:
            opened_at = time.monotonic()
            try:
                reader, writer = await asyncio.open_connection(
                    site.hostname, site.port, local_addr=(ground.address(number % _ADDRESSES), 0)
                )
            except OSError:
                ground.counts["refused"] += 1
                await ground.wait(1.0)
                continue
            ground.counts["opened"] += 1
            writer.write(_HALVES[number % len(_HALVES)])
            with suppress(OSError):
                await reader.read()
            lives_s.append(time.monotonic() - opened_at)
            writer.close()

    count = ground.scaled(_CONNECTIONS)
    keepers = [asyncio.create_task(keep_one_open(number)) for number in range(count)]
    await ground.wait(1.0)
    ground.at_strength()
    await ground.wait(float("inf"))
    # All that were opened first have to be closed by then.
    deadline = time.monotonic() + limits.REQUEST_MS_MAX / 1000 + SLACK_S
    _, open_still = await asyncio.wait(keepers, timeout=deadline - time.monotonic())
    ground.counts["still open"] = len(open_still)
    ground.counts["longest life, ms"] = int(max(lives_s, default=0.0) * 1000)
    for keeper in open_still:
        keeper.cancel()
    await asyncio.gather(*keepers, return_exceptions=True)


def _judge(evidence: Evidence) -> list[Claim]:
    return closed_within(evidence.counts, "half a request", limits.REQUEST_MS_MAX)


SCENARIO = Scenario("A8: half-open connections", _attack, _judge)
