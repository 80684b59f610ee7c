"""A4: reads that cost the session's actor something, by one machine with many connections and by others."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import msgspec

from engine import limits
from engine.testing.factories import make_question, make_quiz
from tests.abuse.scenario import Claim, Evidence, Ground, Scenario
from tests.site import LiveSite

_CONNECTIONS, _MACHINES = 200, 10
#: What a busy machine may add to a bound.
_SLACK_S = 5.0


def _prepare(site: LiveSite) -> dict[str, Any]:
    """A self-paced session with as many questions as may be: its view is small, what it holds is not."""
    quiz = make_quiz(*[make_question()] * limits.QUIZ_QUESTIONS_MAX)
    session = site.open_session(
        msgspec.to_builtins(quiz), {"mode": "self_paced", "scoring": "accuracy.v1"}
    )
    with site.api(session["host_token"]) as api:
        move = {"command_id": "start it", "step": "start", "phase": "lobby", "opening": 0}
        moved = api.post(f"/sessions/{session['session_id']}/moves", json=move)
        assert moved.status_code == 200, moved.text
        too_much = api.get(f"/sessions/{session['session_id']}/scoreboard?limit=5000")
        assert too_much.status_code == 422, too_much.text
    return {"session_id": session["session_id"], "token": session["viewer_token"]}


async def _attack(ground: Ground) -> None:
    readers = [
        _read(ground, ground.address(0), number) for number in range(ground.scaled(_CONNECTIONS))
    ]
    machines = [
        _read(ground, ground.address(number + 1), number)
        for number in range(ground.scaled(_MACHINES))
    ]
    attack = asyncio.gather(*readers, *machines)
    await ground.wait(1.0)
    ground.at_strength()
    await attack
    ground.counts["addresses"] = 1 + len(machines)


async def _read(ground: Ground, address: str, number: int) -> None:
    path = f"{ground.url}/api/sessions/{ground.prepared['session_id']}"
    headers = {"authorization": f"Bearer {ground.prepared['token']}"}
    async with ground.http(address) as http:
        turn = number
        while not ground.is_over:
            turn += 1
            read = ("view", "scoreboard", f"scoreboard?offset={turn % 5_000}")[number % 3]
            try:
                async with http.get(f"{path}/{read}", headers=headers) as reply:
                    await reply.read()
                    ground.counts[f"HTTP {reply.status}"] += 1
            except (aiohttp.ClientError, TimeoutError):
                ground.counts["cut"] += 1


def _judge(evidence: Evidence) -> list[Claim]:
    counts, site = evidence.counts, evidence.site
    site.cancel({"session_id": evidence.prepared["session_id"], "host_token": site.operator_token})
    # Since the first read, which was a little before the attack was at its full strength.
    seconds = evidence.seconds + 2 * _SLACK_S
    each = limits.READS_ADDRESS_BURST_MAX + int(limits.READS_ADDRESS_PER_S_MAX * seconds)
    most, read = each * counts["addresses"], counts["HTTP 200"]
    return [Claim(f"an address reads no more than it may: {read} of {most}", 0 < read <= most)]


SCENARIO = Scenario("A4: reads of the actor", _attack, _judge, _prepare, joins_ratio_min=0.8)
