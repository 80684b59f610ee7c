"""A whole quiz that is being played while a test does harm."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import asyncpg
import psutil

from engine.model import Quiz
from engine.testing.factories import make_quiz
from simulation.demo import Demo, DemoReport

_WAIT_S_MAX = 60.0
_POLL_S = 0.01


class Round:
    """A demo that plays in a thread of its own, and the processes that can be harmed meanwhile."""

    def __init__(self, live_site: Any, pool: ThreadPoolExecutor) -> None:
        self.site = live_site
        self._pool = pool
        self.demo: Demo
        self._playing: Future[DemoReport]

    def begin(self, participants: int, quiz: Quiz | None = None, seed: int = 7) -> None:
        """Start playing."""
        chosen = quiz or make_quiz()
        self.questions = len(chosen.questions)
        self.participants = participants
        self.demo = Demo(self.site.base_url, self.site.operator_token, chosen, participants, seed)
        self._playing = self._pool.submit(lambda: asyncio.run(self.demo.play()))

    def wait_for(self, what: str, holds: Callable[[], bool]) -> None:
        """Return when something holds; fail when the round ends first."""
        deadline = time.monotonic() + _WAIT_S_MAX
        while not holds():
            if self._playing.done():
                self._playing.result()
                raise AssertionError(f"the round was over before {what}")
            assert time.monotonic() < deadline, f"waited in vain for {what}"
            time.sleep(_POLL_S)

    def wait_for_burst(self, opening: int) -> None:
        """Return in the middle of an opening: some answers acknowledged, many not given yet."""
        some = self.participants // 5

        def is_under_way() -> bool:
            return sum(key[1] == opening for key in list(self.demo.ledger.acknowledged)) >= some

        self.wait_for(f"answers to opening {opening}", is_under_way)

    def stamp(self) -> tuple[int, int]:
        """(epoch, version) of what the viewer sees."""
        view = self.demo.view
        return (view.epoch, view.version) if view is not None else (0, 0)

    def report(self) -> DemoReport:
        """Play to the end, whatever it brings."""
        return self._playing.result(timeout=_WAIT_S_MAX * 3)

    def finish(self) -> DemoReport:
        """Play to the end; every answer that anybody gave must be acknowledged and stored once."""
        report = self.report()
        assert report.problems == []
        assert report.scoreboards_agree
        given = self.participants * self.questions
        assert (report.answers_sent, report.answers_acknowledged) == (given, given)
        assert report.answers_stored == given
        return report

    def session_row(self) -> dict[str, Any]:
        """The row of the session that is being played."""

        async def fetch() -> dict[str, Any]:
            connection = await asyncpg.connect(self.site.stack.settings.database_url)
            try:
                query = "SELECT * FROM sessions WHERE pin = $1 ORDER BY created_at DESC LIMIT 1"
                return dict(await connection.fetchrow(query, self.demo.pin))
            finally:
                await connection.close()

        return asyncio.run(fetch())

    def wait_for_epoch(self, epoch: int) -> None:
        """Return when an actor of that epoch, or a later one, has taken the session over."""
        self.wait_for("the take-over", lambda: self.session_row()["epoch"] >= epoch)

    def session_actor_pid(self) -> int:
        """Process id of the session's actor."""
        return int(self._ping()["pid"])

    def session_actor_node(self) -> str:
        """Id of the node that it runs on."""
        return str(self._ping()["node"])

    def _ping(self) -> dict[str, Any]:
        import ray  # noqa: PLC0415 - only once the stack has set its environment

        settings = self.site.stack.settings
        name = self.session_row()["actor_name"]
        actor = ray.get_actor(name, namespace=settings.ray_namespace)
        return dict(ray.get(actor.ping.remote(), timeout=10))


def replica_pids(application: str) -> list[int]:
    """Process ids of an application's Serve replicas, of this test process's own Ray."""
    return worker_pids(f"ray::ServeReplica:{application}:", psutil.Process())


def worker_pids(title: str, ancestor: psutil.Process) -> list[int]:
    """Process ids of Ray's workers whose title begins like this, of the Ray below a process."""
    found = []
    for process in ancestor.children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if "".join(process.cmdline()[:1]).startswith(title):
                found.append(process.pid)
    return found


def kill(pid: int) -> None:
    """The end that nobody can prepare for."""
    os.kill(pid, signal.SIGKILL)
