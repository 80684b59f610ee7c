"""A6: sockets that connect and never say hello."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

import picows

from engine import limits
from tests.abuse.scenario import SLACK_S, Claim, Evidence, Ground, Scenario, closed_within

_SOCKETS, _ADDRESSES = 2_000, 20


class _Silent(picows.WSListener):
    def __init__(self) -> None:
        self.opened_at = 0.0
        self.life_s = 0.0
        self.closed = asyncio.Event()

    def on_ws_connected(self, _transport: picows.WSTransport) -> None:
        self.opened_at = time.monotonic()

    def on_ws_disconnected(self, _transport: picows.WSTransport) -> None:
        self.life_s = time.monotonic() - self.opened_at
        self.closed.set()


async def _attack(ground: Ground) -> None:
    sockets: list[_Silent] = []

    async def keep_one_open(number: int) -> None:
        while not ground.is_over:
            try:
                transport, silent = await ground.websocket(ground.address(number), _Silent)
            except (OSError, picows.WSError, TimeoutError):
                ground.counts["refused"] += 1
                await ground.wait(1.0)
                continue
            ground.counts["opened"] += 1
            sockets.append(silent)
            await transport.wait_disconnected()

    keepers = [
        asyncio.create_task(keep_one_open(number % _ADDRESSES))
        for number in range(ground.scaled(_SOCKETS))
    ]
    await ground.wait(1.0)
    ground.at_strength()
    await ground.wait(float("inf"))
    # The first of them have to be closed by then.
    first = sockets[: len(keepers)]
    with suppress(TimeoutError):
        async with asyncio.timeout(limits.HELLO_MS_MAX / 1000 + SLACK_S):
            await asyncio.gather(*(one.closed.wait() for one in first))
    ground.counts["still open"] = sum(not one.closed.is_set() for one in first)
    ground.counts["longest life, ms"] = int(max(one.life_s for one in first) * 1000)
    for keeper in keepers:
        keeper.cancel()
    await asyncio.gather(*keepers, return_exceptions=True)


def _judge(evidence: Evidence) -> list[Claim]:
    return closed_within(evidence.counts, "a socket without a hello", limits.HELLO_MS_MAX)


#: Those that wait, as many again that are being closed for them, and noise.
_GROWTH_MB_MAX = 2 * _SOCKETS * limits.SOCKET_BYTES / 1e6 + 32

SCENARIO = Scenario(
    "A6: sockets without a hello", _attack, _judge, memory_growth_mb_max=_GROWTH_MB_MAX
)
