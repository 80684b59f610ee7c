"""A3: a program that fills a lobby, and a person who was removed and comes back under new names."""

from __future__ import annotations

import asyncio
import secrets
from typing import Any

import aiohttp
import msgspec

from engine import limits
from engine.phases import Phase, Step
from engine.testing.factories import make_quiz
from serve_app.device import COOKIE
from tests.abuse.scenario import Claim, Evidence, Ground, Scenario
from tests.site import LiveSite

_BOTS, _ADDRESSES = 1_000, 5
#: What is enough for the game to lock itself, whatever the form.
_BOTS_MIN = 2 * limits.FLOOD_UNSEEN_MAX
_PAUSE_S = 0.25
#: Until a flood is judged, stored and told, on a busy machine.
_LOCKED_S_MAX = limits.FLOOD_GRACE_MS / 1000 + 30.0
_LOCKED = 423


def _prepare(site: LiveSite) -> dict[str, Any]:
    """A lobby for the program, and one from which somebody has been removed."""
    quiz = msgspec.to_builtins(make_quiz())
    flooded, strict = site.open_session(quiz, {}), site.open_session(quiz, {})
    with site.api() as api:
        joined = api.post(
            f"/pins/{strict['pin']}/participants",
            json={"nickname": "Rude", "join_key": secrets.token_hex(16)},
        )
        _move(site, strict["session_id"], Step.REMOVE, participant=1)
        cookie = joined.cookies[COOKIE]
    return {
        "pin": flooded["pin"],
        "session_id": flooded["session_id"],
        "strict_pin": strict["pin"],
        "strict_id": strict["session_id"],
        "cookie": cookie,
    }


async def _attack(ground: Ground) -> None:
    locked, gives_up = asyncio.Event(), asyncio.Event()

    async def fill(number: int, http: aiohttp.ClientSession) -> None:
        # Until it is locked out, even when everything else is over sooner.
        while not locked.is_set() and not gives_up.is_set():
            status = await _join(ground, http, ground.prepared["pin"], {})
            ground.counts[f"bot, HTTP {status}"] += 1
            if status == _LOCKED:
                locked.set()
            await asyncio.sleep(number % 7 * 0.01 + 0.05)

    async def come_back() -> None:
        cookie = {COOKIE: ground.prepared["cookie"]}
        while not ground.is_over:
            address = ground.address(secrets.randbelow(_ADDRESSES))
            async with ground.http(address) as http:
                status = await _join(ground, http, ground.prepared["strict_pin"], cookie)
            ground.counts[f"removed, HTTP {status}"] += 1
            await ground.wait(_PAUSE_S)

    async with ground.http(ground.address(0)) as one, ground.http(ground.address(1)) as other:
        https = [one, other]
        bots = max(_BOTS_MIN, ground.scaled(_BOTS))
        for number in range(bots):
            status = await _join(ground, https[number % 2], ground.prepared["pin"], {})
            ground.counts[f"bot, HTTP {status}"] += 1
        tasks = [asyncio.create_task(fill(number, https[number % 2])) for number in range(10)]
        tasks.append(asyncio.create_task(come_back()))
        ground.at_strength()
        try:
            async with asyncio.timeout(_LOCKED_S_MAX):
                await locked.wait()
            ground.counts["locked"] = 1
        except TimeoutError:
            gives_up.set()
        await ground.wait(float("inf"))
        await asyncio.gather(*tasks)


async def _join(
    ground: Ground, http: aiohttp.ClientSession, pin: str, cookies: dict[str, str]
) -> int:
    name = secrets.token_hex(8)
    async with http.post(
        f"{ground.url}/api/pins/{pin}/participants",
        json={"nickname": name, "join_key": secrets.token_hex(16)},
        headers={"cookie": "; ".join(f"{k}={v}" for k, v in cookies.items())},
    ) as reply:
        return reply.status


def _judge(evidence: Evidence) -> list[Claim]:
    counts, site = evidence.counts, evidence.site
    session_id, strict_id = evidence.prepared["session_id"], evidence.prepared["strict_id"]
    lock = _view(site, session_id)["lock"]
    people_before = _view(site, session_id)["participants_count"]
    _empty(site, session_id)
    people_after = _view(site, session_id)["participants_count"]
    claims = [
        Claim("the game locks itself, and says why", lock == "flood" and counts["locked"] == 1),
        Claim(
            f"the host removes {people_before} bots with a few presses ({people_after} are left)",
            people_before >= _BOTS_MIN > people_after == 0,
        ),
        Claim(
            f"who was removed is refused every time ({counts['removed, HTTP 403']})",
            counts["removed, HTTP 403"] > 0
            and counts["removed, HTTP 201"] == 0
            and _view(site, strict_id)["participants_count"] == 0,
        ),
    ]
    for done in (session_id, strict_id):
        _move(site, done, Step.CANCEL)
    return claims


def _view(site: LiveSite, session_id: str) -> dict[str, Any]:
    with site.api() as api:
        return dict(api.get(f"/sessions/{session_id}/view").json()["view"])


def _empty(site: LiveSite, session_id: str) -> None:
    """Remove everybody who never connected, as the host's page does."""
    while True:
        with site.api() as api:
            page = api.get(f"/sessions/{session_id}/roster", params={"only": "never_connected"})
            found = page.json()
        if not found["items"]:
            return
        who = [person["participant_id"] for person in found["items"]]
        _move(site, session_id, Step.REMOVE, participants=who)


def _move(site: LiveSite, session_id: str, step: Step, **more: Any) -> None:
    body = {"command_id": secrets.token_hex(8), "step": step, "phase": Phase.LOBBY, "opening": 0}
    with site.api() as api:
        api.post(f"/sessions/{session_id}/moves", json={**body, **more}).raise_for_status()


SCENARIO = Scenario("A3: a program fills a lobby", _attack, _judge, _prepare)
