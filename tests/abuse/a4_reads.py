"""A4: reads that cost the session's actor something, over many connections and from many machines.

One machine has one token for all its connections, another one a token for each; further ones share one
token among them.
"""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import msgspec

from engine import limits
from engine.testing.factories import make_question, make_quiz
from tests.abuse.scenario import Claim, Evidence, Ground, Scenario
from tests.site import LiveSite

_CONNECTIONS, _TOKENS, _MACHINES = 200, 100, 10
#: Who reads: from one address with one token and with many, and from other addresses.
_ONE, _MANY, _OTHERS = "with one token", "with many tokens", "from other addresses"
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
    with site.api() as api:
        tokens = [
            api.post(f"/pins/{session['pin']}/viewers").json()["token"] for _ in range(_TOKENS)
        ]
    return {"session_id": session["session_id"], "tokens": tokens}


async def _attack(ground: Ground) -> None:
    token, *tokens = ground.prepared["tokens"]
    connections, machines = ground.scaled(_CONNECTIONS), ground.scaled(_MACHINES)
    one = [_read(ground, _ONE, ground.address(0), token, number) for number in range(connections)]
    many = [
        _read(ground, _MANY, ground.address(1), tokens[number % len(tokens)], number)
        for number in range(connections)
    ]
    others = [
        _read(ground, _OTHERS, ground.address(number + 2), token, number)
        for number in range(machines)
    ]
    attack = asyncio.gather(*one, *many, *others)
    await ground.wait(1.0)
    ground.at_strength()
    await attack
    ground.counts["machines"] = machines


async def _read(ground: Ground, who: str, address: str, token: str, number: int) -> None:
    path = f"{ground.url}/api/sessions/{ground.prepared['session_id']}"
    headers = {"authorization": f"Bearer {token}"}
    async with ground.http(address) as http:
        turn = number
        while not ground.is_over:
            turn += 1
            read = ("view", "scoreboard", f"scoreboard?offset={turn % 5_000}")[number % 3]
            try:
                async with http.get(f"{path}/{read}", headers=headers) as reply:
                    await reply.read()
                    ground.counts[f"HTTP {reply.status} {who}"] += 1
            except (aiohttp.ClientError, TimeoutError):
                ground.counts["cut"] += 1


def _judge(evidence: Evidence) -> list[Claim]:
    counts, site = evidence.counts, evidence.site
    site.cancel({"session_id": evidence.prepared["session_id"], "host_token": site.operator_token})
    # Since the first read, which was a little before the attack was at its full strength.
    seconds = evidence.seconds + 2 * _SLACK_S
    of_token = limits.READS_TOKEN_BURST_MAX + int(limits.READS_TOKEN_PER_S_MAX * seconds)
    of_address = limits.READS_ADDRESS_BURST_MAX + int(limits.READS_ADDRESS_PER_S_MAX * seconds)
    claims = []
    for who, most in (
        (_ONE, of_token),
        (_MANY, of_address),
        (_OTHERS, of_token * counts["machines"]),
    ):
        read = counts[f"HTTP 200 {who}"]
        claims.append(Claim(f"no more than allowed, {who}: {read} of {most}", 0 < read <= most))
    return claims


SCENARIO = Scenario("A4: reads of the actor", _attack, _judge, _prepare, joins_ratio_min=0.8)
