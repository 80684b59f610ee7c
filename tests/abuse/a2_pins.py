"""A2: guessing PINs, by one machine with many connections and by many machines with one."""

from __future__ import annotations

import asyncio
import secrets

import aiohttp

from engine import limits
from tests.abuse.scenario import Claim, Evidence, Ground, Scenario

_CONNECTIONS, _MACHINES = 200, 50
#: Every route that tells whether a PIN is live.
_ROUTES = [("GET", ""), ("POST", "/participants"), ("POST", "/viewers")]
#: What a busy machine may add to a bound.
_SLACK_S = 5.0


async def _attack(ground: Ground) -> None:
    most = ground.scaled(_CONNECTIONS)
    guessers = [_guess(ground, "one machine", ground.address(0), number) for number in range(most)]
    machines = ground.scaled(_MACHINES)
    guessers += [
        _guess(ground, "many machines", ground.address(number + 1), number)
        for number in range(machines)
    ]
    attack = asyncio.gather(*guessers, _forge(ground))
    await ground.wait(1.0)
    ground.at_strength()
    await attack
    ground.counts["machines"] = machines


async def _guess(ground: Ground, who: str, address: str, number: int) -> None:
    async with ground.http(address) as http:
        while not ground.is_over:
            method, rest = _ROUTES[number % len(_ROUTES)]
            pin = f"{secrets.randbelow(10**limits.PIN_DIGITS):0{limits.PIN_DIGITS}}"
            await _ask(ground, http, who, method, f"/pins/{pin}{rest}", {})
            number += 1


async def _forge(ground: Ground) -> None:
    """One machine that claims to be another one each time."""
    async with ground.http(ground.address(10_000)) as http:
        number = 0
        while not ground.is_over:
            number += 1
            forged = {"x-forwarded-for": f"198.51.{number // 256 % 256}.{number % 256}"}
            await _ask(ground, http, "a liar", "GET", f"/pins/{number % 10**6:06}", forged)


async def _ask(
    ground: Ground,
    http: aiohttp.ClientSession,
    who: str,
    method: str,
    path: str,
    headers: dict[str, str],
) -> None:
    body = {"nickname": "x", "join_key": secrets.token_hex(8)} if method == "POST" else None
    try:
        async with http.request(
            method, f"{ground.url}/api{path}", json=body, headers=headers
        ) as reply:
            await reply.read()
            ground.counts[f"{who}: HTTP {reply.status}"] += 1
    except (aiohttp.ClientError, TimeoutError):
        ground.counts[f"{who}: cut"] += 1


def _judge(evidence: Evidence) -> list[Claim]:
    counts, machines = evidence.counts, evidence.counts["machines"]
    # Since the first guess, which was a little before the attack was at its full strength.
    told = limits.PIN_MISSES_BURST_MAX + limits.PIN_LOOKUPS_WAITING_MAX
    told += int(limits.PIN_MISSES_PER_MIN_MAX / 60 * (evidence.seconds + 4 * _SLACK_S))
    return [
        Claim(
            f"{who} learn of {most} PINs at most: {_learned(evidence, who)}",
            _learned(evidence, who) <= most,
        )
        for who, most in (
            ("one machine", told),
            ("a liar", told),
            ("many machines", told * machines),
        )
    ] + [
        Claim("a guesser is told to wait", counts["one machine: HTTP 429"] > 0 or evidence.is_short)
    ]


def _learned(evidence: Evidence, who: str) -> int:
    """Answers that say whether a PIN is live."""
    return sum(
        count
        for what, count in evidence.counts.items()
        if what.startswith(f"{who}: HTTP") and not what.endswith(("429", "503"))
    )


SCENARIO = Scenario("A2: guessing PINs", _attack, _judge, joins_ratio_min=0.9)
