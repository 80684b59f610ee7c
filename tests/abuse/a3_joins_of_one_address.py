"""A3: one machine that fills a session, while a school behind another address scans its code."""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import Any

import aiohttp
import msgspec

from engine import limits
from engine.testing.factories import make_quiz
from tests.abuse.scenario import Claim, Evidence, Ground, Scenario
from tests.site import LiveSite

_CONNECTIONS, _SCHOOL = 100, 1_000
#: What a busy machine may add to a bound.
_SLACK_S = 10.0


def _prepare(site: LiveSite) -> dict[str, Any]:
    """Two lobbies: one that the machine fills, one for the school."""
    sessions = [site.open_session(msgspec.to_builtins(make_quiz()), {}) for _ in range(2)]
    return {
        "pins": [session["pin"] for session in sessions],
        "sessions": [session["session_id"] for session in sessions],
    }


async def _attack(ground: Ground) -> None:
    filled, school = ground.prepared["pins"]
    bots = [_fill(ground, filled) for _ in range(ground.scaled(_CONNECTIONS))]
    attack = asyncio.gather(*bots)
    await ground.wait(1.0)
    async with ground.http(ground.address(1), timeout_s=60) as http:
        began = time.monotonic()
        people = ground.scaled(_SCHOOL)
        await asyncio.gather(*(_join(ground, http, "school", school) for _ in range(people)))
        ground.counts["school: ms"] = int((time.monotonic() - began) * 1_000)
        ground.counts["school: people"] = people
    ground.at_strength()
    await attack


async def _fill(ground: Ground, pin: str) -> None:
    async with ground.http(ground.address(0)) as http:
        while not ground.is_over:
            await _join(ground, http, "bot", pin)


async def _join(ground: Ground, http: aiohttp.ClientSession, who: str, pin: str) -> None:
    key = secrets.token_hex(8)
    body = {"nickname": key, "join_key": key}
    try:
        path = f"{ground.url}/api/pins/{pin}/participants"
        async with http.post(path, json=body) as reply:
            await reply.read()
            ground.counts[f"{who}: HTTP {reply.status}"] += 1
    except (aiohttp.ClientError, TimeoutError):
        ground.counts[f"{who}: cut"] += 1


def _judge(evidence: Evidence) -> list[Claim]:
    counts, site = evidence.counts, evidence.site
    for session_id in evidence.prepared["sessions"]:
        site.cancel({"session_id": session_id, "host_token": site.operator_token})
    seconds = evidence.seconds + counts["school: ms"] / 1_000 + _SLACK_S
    most = limits.JOINS_ADDRESS_SESSION_BURST_MAX
    most += int(limits.JOINS_ADDRESS_SESSION_PER_S_MAX * seconds)
    joined, school = counts["bot: HTTP 201"], counts["school: HTTP 201"]
    return [
        Claim(f"one machine joins {joined} times, at most {most}", 0 < joined <= most),
        Claim(
            f"{school} of {counts['school: people']} at a school are let in at once",
            school == counts["school: people"],
        ),
    ]


SCENARIO = Scenario("A3: joins of one address", _attack, _judge, _prepare, joins_ratio_min=0.5)
