"""A5: megabytes without a token, files that are slow to read, and large results read by many at once."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import aiohttp
import msgspec

from actors.postgres import create_pool
from actors.sql import queries
from engine import limits
from engine.model import Mode
from serve_app.auth import Role, Tokens
from tests.abuse.scenario import Claim, Evidence, Ground, Scenario
from tests.large_session import fill, quiz_of, settings_of
from tests.site import LiveSite

_BODIES, _FILES, _READERS = 40, 4, 40
_SESSIONS, _PEOPLE, _QUESTIONS = 4, 500, 200
#: What a reader takes at a time, and how long the slow half waits in between.
_PART_BYTES, _PAUSE_S = 64 * 1024, 0.2
#: Bytes that no text has, on one line and on as many as there may be, and items with nothing in them.
_HOSTILE = (
    b"\xff" * limits.QUIZ_BYTES_MAX,
    b"\xff\n" * limits.IMPORT_LINES_MAX,
    b"#Q \xff\n^ \xff\nA \xff\n\n" * limits.IMPORT_ITEMS_MAX,
)
#: What an import may take while it lasts, its replica's other large bodies, and all downloads.
_GROWTH_MB_MAX = (
    140
    + 2 * limits.LARGE_BODIES_MAX * limits.QUIZ_BYTES_MAX / 1e6
    + limits.DOWNLOADS_MAX * limits.READ_PAGE_ROWS * 2_000 / 1e6
)


def _prepare(site: LiveSite) -> dict[str, Any]:
    """Large sessions that are over; their hosts' tokens and the operator's are known to attackers."""
    with site.api() as api:
        created = api.post("/quizzes", json=msgspec.to_builtins(quiz_of(_QUESTIONS)))
    quiz_id = created.json()["quiz_id"]
    sessions = asyncio.run(_store(site, quiz_id))
    tokens = Tokens.of(site.stack.settings)
    return {
        "operator": site.operator_token,
        "sessions": {one: tokens.of_session(Role.HOST, one, one[:6]) for one in sessions},
    }


async def _store(site: LiveSite, quiz_id: str) -> list[Any]:
    settings = msgspec.json.encode(settings_of(Mode.LIVE)).decode()
    sessions = [str(uuid.uuid4()) for _ in range(_SESSIONS)]
    async with await create_pool(site.stack.settings.database_url, 1) as pool:
        for number, session_id in enumerate(sessions):
            row = (session_id, quiz_id, f"large {number}", settings, 0, 0)
            await pool.fetch(queries["create_session"], *row)
            people = _PEOPLE // (1 + 9 * (number > 0))  # the first one is the largest
            await fill(pool, session_id, people, _QUESTIONS, Mode.LIVE, finished=True)
            await pool.execute(
                "UPDATE sessions SET finished_at = now(), ended_at = now() WHERE session_id = $1",
                session_id,
            )
    return sessions


async def _attack(ground: Ground) -> None:
    attack = asyncio.gather(
        *(_send(ground, number) for number in range(ground.scaled(_BODIES))),
        *(_import(ground, number) for number in range(ground.scaled(_FILES))),
        *(_read(ground, number) for number in range(ground.scaled(_READERS))),
    )
    await ground.wait(1.0)
    ground.at_strength()
    await attack


async def _send(ground: Ground, number: int) -> None:
    """Megabytes of what would be JSON, from nobody."""
    body = b'{"title":"' + b"x" * (limits.QUIZ_BYTES_MAX - 20)
    async with ground.http(ground.address(number)) as http:
        while not ground.is_over:
            await _count(ground, "body", http.post(f"{ground.url}/api/quizzes", data=body))


async def _import(ground: Ground, number: int) -> None:
    """The slowest files, from somebody who has found an operator's token."""
    headers = {"authorization": f"Bearer {ground.prepared['operator']}"}
    url = f"{ground.url}/api/quizzes/import?format=opentriviaqa"
    async with ground.http(ground.address(100 + number)) as http:
        while not ground.is_over:
            number += 1
            body = _HOSTILE[number % len(_HOSTILE)]
            await _count(ground, "import", http.post(url, data=body, headers=headers))


async def _read(ground: Ground, number: int) -> None:
    """The largest results, in both forms; every second reader takes its time."""
    sessions = list(ground.prepared["sessions"].items())
    session_id, token = sessions[number % len(sessions)]
    url = f"{ground.url}/api/sessions/{session_id}/results?format={('json', 'csv')[number % 2]}"
    headers = {"authorization": f"Bearer {token}"}
    pause_s = _PAUSE_S if number // len(sessions) % 2 else 0
    # Longer than the product waits for anybody.
    async with ground.http(ground.address(200 + number), timeout_s=1_000) as http:
        while not ground.is_over:
            await _count(ground, "results", http.get(url, headers=headers), pause_s)


async def _count(ground: Ground, what: str, request: Any, pause_s: float = 0.0) -> None:
    """Send a request, and take its answer; note how it ended."""
    try:
        async with request as reply:
            async for _ in reply.content.iter_chunked(_PART_BYTES):
                if ground.is_over:
                    return
                await asyncio.sleep(pause_s)
            ground.counts[f"{what}: HTTP {reply.status}"] += 1
            if reply.status in (401, 429, 503):
                await ground.wait(0.1)
    except (aiohttp.ClientError, TimeoutError):
        ground.counts[f"{what}: cut"] += 1


def _judge(evidence: Evidence) -> list[Claim]:
    seen = {what for what, count in evidence.counts.items() if count}
    bodies = {what for what in seen if what.startswith("body")}
    files = {what for what in seen if what.startswith("import")}
    read = {what for what in seen if what.startswith("results")}
    stored = evidence.counts["results: HTTP 200"]
    return [
        Claim(
            f"nobody without a token is listened to {sorted(bodies)}",
            bool(bodies) and bodies <= {"body: HTTP 401", "body: cut"},
        ),
        Claim(
            f"the slowest files are refused or told to wait {sorted(files)}",
            bool(files)
            and files
            <= {"import: HTTP 201", "import: HTTP 422", "import: HTTP 503", "import: cut"},
        ),
        Claim(
            f"results are whole or told to wait: {stored} files, {sorted(read)}",
            stored > 0 and read <= {"results: HTTP 200", "results: HTTP 429", "results: HTTP 503"},
        ),
    ]


SCENARIO = Scenario(
    "A5: large bodies and results",
    _attack,
    _judge,
    _prepare,
    memory_growth_mb_max=_GROWTH_MB_MAX,
)
