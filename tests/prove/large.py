"""A session as large as one may be, under Ray: it recovers, ends and is read, and nobody waits for it.

Its tables are filled by SQL, its actor is killed, its host ends it, and its results are read in both
forms at once. Meanwhile the actor is pinged and every replica is asked how it is, many times a second.
Exit status 1 if something is missing, or an answer came later than ``ANSWER_MS_MAX``; so the machine
must have nothing else to do.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import psutil
from rich.console import Console
from rich.table import Table

from actors.postgres import create_pool
from engine import limits
from engine.model import Mode
from engine.phases import Phase, Step
from serve_app.embedded.stack import EmbeddedStack
from tests.benchmarks.site import machine
from tests.large_session import fill, quiz_of, settings_of
from tests.site import LiveSite

#: No ping and no answer about health may take longer.
ANSWER_MS_MAX = 200.0
#: A replica in HAProxy's file: its name and where it listens.
_SERVER = re.compile(r"^\s*server SERVE_REPLICA_(\w+)-\S+ (127\.0\.0\.1:\d+)", re.MULTILINE)
_INTERVAL_S = 0.02
_LINGER_MS = 3_000
#: How long any step may take.
_STEP_S_MAX = 300.0
_READ_BYTES = 256 * 1024


class Watch:
    """Asks many times a second, and keeps how long each answer took, by step and by who was asked."""

    def __init__(self) -> None:
        self.step = ""
        self.took_ms: dict[tuple[str, str], list[float]] = defaultdict(list)
        self.missed: list[str] = []

    async def ask(self, who: str, question: Callable[[], Awaitable[object]]) -> None:
        """Ask one, until cancelled."""
        while True:
            step, asked_at = self.step, time.perf_counter()
            try:
                async with asyncio.timeout(_STEP_S_MAX):
                    await question()
            except Exception as error:  # noqa: BLE001 - whatever it was, it is no answer
                self.missed.append(f"{step}: {who}: {error!r}")
                await asyncio.sleep(1)
            self.took_ms[step, who].append((time.perf_counter() - asked_at) * 1000)
            await asyncio.sleep(_INTERVAL_S)

    async def watch_itself(self) -> None:
        """How late this process gets its turn: what the machine adds to everything here."""
        while True:
            due_at = time.perf_counter() + _INTERVAL_S
            await asyncio.sleep(_INTERVAL_S)
            late_ms = (time.perf_counter() - due_at) * 1000
            self.took_ms[self.step, "(this process's own turns)"].append(late_ms)

    def problems(self) -> list[str]:
        """Who was not answered in time, in words."""
        late = [
            f"{step}: {who}: {max(took):.0f} ms"
            for (step, who), took in self.took_ms.items()
            if max(took) > ANSWER_MS_MAX
        ]
        return self.missed + late

    def table(self) -> Table:
        """The figures."""
        table = Table("step", "who", "answers", "median, ms", "99th percentile", "slowest")
        for (step, who), took in self.took_ms.items():
            took.sort()
            figures = (took[len(took) // 2], took[len(took) * 99 // 100], took[-1])
            table.add_row(step, who, str(len(took)), *(f"{one:.0f}" for one in figures))
        return table


class Proof:
    """One session from the first answer to the last result."""

    def __init__(self, site: LiveSite, people: int, questions: int, mode: Mode) -> None:
        import ray  # noqa: PLC0415 - only once the stack has set its environment

        self._ray = ray
        self._site = site
        self._people, self._questions, self._mode = people, questions, mode
        self.watch = Watch()
        self.figures: list[str] = []
        self.problems: list[str] = []
        self._read_files: list[list[bytearray]] = []

    async def run(self) -> None:
        """Fill, kill, end and read; what was seen is in the attributes."""
        site = self._site
        session = await asyncio.to_thread(
            site.open_session,
            msgspec.to_builtins(quiz_of(self._questions)),
            msgspec.to_builtins(settings_of(self._mode)),
        )
        self._session_id = session["session_id"]
        self._headers = {"authorization": f"Bearer {session['host_token']}"}
        async with (
            await create_pool(site.stack.settings.database_url, 2) as pool,
            aiohttp.ClientSession() as http,
        ):
            async with self._timed("filled"):
                await fill(pool, self._session_id, self._people, self._questions, self._mode)
            row = await pool.fetchrow(
                "SELECT * FROM sessions WHERE session_id = $1", self._session_id
            )
            self._actor = self._ray.get_actor(
                row["actor_name"], namespace=site.stack.settings.ray_namespace
            )
            async with self._watched(http):
                await self._recover()
                await self._end_and_read(http)
            after = await pool.fetchrow(
                "SELECT * FROM sessions WHERE session_id = $1", self._session_id
            )
        for files in self._read_files:
            self._check(*files)
        if after["epoch"] != row["epoch"] + 1:
            self.problems.append(f"taken over {after['epoch'] - row['epoch']} times, not once")

    @asynccontextmanager
    async def _watched(self, http: aiohttp.ClientSession) -> AsyncIterator[None]:
        """Every replica is asked how it is; so is the supervisor."""
        self.watch.step = "quiet"
        # Serve puts it into a folder named after the node.
        [written] = _haproxy_folder().glob("*/haproxy.cfg")
        config = written.read_text()

        def health(address: str) -> Callable[[], Awaitable[object]]:
            async def ask() -> None:
                async with http.get(f"http://{address}/-/healthz") as reply:
                    assert reply.status == 200, reply.status

            return ask

        servers = sorted(set(_SERVER.findall(config)))
        assert servers, config
        tasks = [
            asyncio.create_task(self.watch.ask(name, health(address))) for name, address in servers
        ]
        tasks.append(asyncio.create_task(self.watch.watch_itself()))
        await asyncio.sleep(2)
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _ping(self) -> dict[str, Any]:
        found: dict[str, Any] = await self._actor.ping.remote()
        return found

    async def _recover(self) -> None:
        pid = (await self._ping())["pid"]
        self.watch.step = "recovers"
        async with self._timed("recovered after the kill"):
            psutil.Process(pid).kill()
            while True:  # until the next process answers
                try:
                    found = await self._ping()
                    if found["pid"] != pid:
                        break
                except self._ray.exceptions.RayError:
                    await asyncio.sleep(_INTERVAL_S)
            self._pings = asyncio.create_task(self.watch.ask("the session's actor", self._ping))
            async with asyncio.timeout(_STEP_S_MAX):
                while "phase" not in found:
                    await asyncio.sleep(_INTERVAL_S)
                    found = await self._ping()
        self._note_memory("after the recovery", found["pid"])
        self._pid = found["pid"]

    async def _end_and_read(self, http: aiohttp.ClientSession) -> None:
        self.watch.step = "ends, and is compared"
        path = f"{self._site.stack.local_url}/api/sessions/{self._session_id}"
        live = self._mode is Mode.LIVE
        move = {
            "command_id": "end it all",
            "step": Step.FINISH.value,
            "phase": (Phase.QUESTION_CLOSED if live else Phase.SELF_PACED_OPEN).value,
            "opening": self._questions if live else 0,
        }
        async with http.post(f"{path}/moves", json=move, headers=self._headers) as reply:
            assert reply.status == 200, await reply.text()
        async with self._timed("ended and compared"), asyncio.timeout(_STEP_S_MAX):
            reading = asyncio.create_task(self._read_both(http, path, "while it is compared"))
            while not (await self._ping())["leaving"]:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(_INTERVAL_S)
            self._note_memory("after the comparison", self._pid)
            self._pings.cancel()
            await asyncio.wait([self._pings])
        await reading
        self.watch.step = "is read"
        await self._read_both(http, path, "alone")

    async def _read_both(self, http: aiohttp.ClientSession, path: str, when: str) -> None:
        """Read both forms at once."""
        url = f"{path}/results?format="
        async with self._timed(f"read in both forms {when}"):
            found = await asyncio.gather(
                *(self._read(http, url + name) for name in ("json", "csv"))
            )
        self.figures.append(f"JSON {len(found[0]) / 1e6:.0f} MB, CSV {len(found[1]) / 1e6:.0f} MB")
        self._read_files.append(found)  # to be checked when nobody is watched: that takes seconds

    async def _read(self, http: aiohttp.ClientSession, url: str) -> bytearray:
        body = bytearray()
        timeout = aiohttp.ClientTimeout(total=_STEP_S_MAX)
        while True:
            async with http.get(url, headers=self._headers, timeout=timeout) as reply:
                if reply.status == 409:  # the end is not noted yet
                    await asyncio.sleep(_INTERVAL_S)
                    continue
                assert reply.status == 200, await reply.text()
                async for part in reply.content.iter_chunked(_READ_BYTES):
                    body += part
                return body

    def _check(self, json: bytearray, csv: bytearray) -> None:
        found = msgspec.json.decode(json)
        given = self._people * self._questions
        points = sum(answer["points"] for answer in found["answers"])
        for what, seen, wanted in (
            ("answers", len(found["answers"]), given),
            ("answers in the summaries", sum(o["answered"] for o in found["openings"]), given),
            ("people", len(found["scoreboard"]), self._people),
            ("points", sum(row["points"] for row in found["scoreboard"]), points),
            ("lines of the table", csv.count(b"\r\n"), self._people + 1),
            ("cells of the table", csv.count(b","), (5 + 3 * self._questions) * (self._people + 1)),
        ):
            if seen != wanted:
                self.problems.append(f"{what}: {seen}, not {wanted}")

    def _note_memory(self, when: str, pid: int) -> None:
        memory = psutil.Process(pid).memory_info().rss / 1e6
        self.figures.append(f"the actor holds {memory:.0f} MB {when}")

    @asynccontextmanager
    async def _timed(self, what: str) -> AsyncIterator[None]:
        begun = time.monotonic()
        yield
        self.figures.append(f"{what}: {time.monotonic() - begun:.1f} s")


def _haproxy_folder() -> Path:
    return Path(os.environ["RAY_SERVE_HAPROXY_CONFIG_FILE_LOC"]).parent


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="tests.prove.large", description=__doc__)
    parser.add_argument("--people", type=int, default=limits.PARTICIPANTS_MAX)
    parser.add_argument("--questions", type=int, default=0, help="as many as there may be, if 0")
    parser.add_argument("--self-paced", action="store_true", help="in the mode of that name")
    options = parser.parse_args()
    questions = options.questions or min(
        limits.ANSWERS_MAX // options.people, limits.QUIZ_QUESTIONS_MAX
    )
    mode = Mode.SELF_PACED if options.self_paced else Mode.LIVE
    console = Console(soft_wrap=True, highlight=False)
    console.print(f"{options.people} people, {questions} questions, {mode}, {machine()}")
    with (
        tempfile.TemporaryDirectory(prefix="rq-large-") as folder,
        EmbeddedStack(Path(folder), 0, settings={"linger_ms": _LINGER_MS}) as stack,
    ):
        from serve_app.deploy import deploy  # noqa: PLC0415 - imports ray, after its environment

        deploy(stack.settings, stack.local_url)
        proof = Proof(LiveSite(stack, Path(folder)), options.people, questions, mode)
        asyncio.run(proof.run())
    console.print(proof.watch.table())
    for figure in proof.figures:
        console.print(figure)
    problems = proof.problems + proof.watch.problems()
    for problem in problems:
        console.print(f"PROBLEM: {problem}")
    if problems:
        sys.exit(1)


if __name__ == "__main__":
    main()
