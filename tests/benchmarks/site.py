"""The stack under load: sessions to send answers to, and bare endpoints beside them."""

from __future__ import annotations

import asyncio
import os
import platform
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import msgspec

from actors.publisher import channel_of
from engine import limits
from engine.ids import SessionId
from serve_app.embedded.stack import EmbeddedStack
from simulation.load import Job, Report
from tests.benchmarks.cpu import cpu_s_by_kind

#: What a stack has to be told before the load generator may play: each of its sockets is many people.
LOAD_SETTINGS: dict[str, object] = {"messages_per_s": limits.MESSAGES_PER_S_LOAD_MAX}
_JOINS_AT_ONCE = 100
#: What a job takes beside the time that it asks for; one that hangs ends with a traceback.
_GENERATOR_S_MAX = 60
#: The stack rests when its processes use less than this of one core.
_RESTING_CORES_MAX = 0.5
_RESTING_S = 1.0
#: How long to wait for that; on a machine too slow for it, figures are taken all the same.
_RESTLESS_S_MAX = 20.0


def generate(job: Job) -> Report:
    """Run the load generator in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "simulation.load"],
        input=msgspec.json.encode(job),
        stdout=subprocess.PIPE,
        check=True,
        timeout=job.seconds + _GENERATOR_S_MAX,
    )
    report = msgspec.json.decode(done.stdout, type=Report)
    if report.refused:
        raise RuntimeError(f"{report.refused} of {report.messages} messages were refused")
    return report


class Session(NamedTuple):
    """A self-paced session whose every question is open, and its participants' tokens."""

    session_id: str
    viewer_token: str
    tokens: list[str]


class Site:
    """The running stack, with the quiz of which each measurement gets a session of its own."""

    def __init__(self, stack: EmbeddedStack, questions: int = limits.QUIZ_QUESTIONS_MAX) -> None:
        from serve_app.auth import Tokens  # noqa: PLC0415 - after the stack has started

        self.stack = stack
        #: Seconds of processor time that the stack used for the last job, by kind of process.
        self.spent: Counter[str] = Counter()
        self.base = stack.settings.public_url.replace("localhost", "127.0.0.1")
        self._operator = {"authorization": f"Bearer {Tokens.of(stack.settings).operator()}"}
        question = {"kind": "single", "text": "Which?", "choices": list("abcd"), "correct": [1]}
        quiz = {"title": "bench", "questions": [question] * questions}
        with self._api() as api:
            self._quiz_id = _json(api.post("/quizzes", json=quiz))["quiz_id"]

    def _api(self) -> httpx.Client:
        return httpx.Client(base_url=f"{self.base}/api", headers=self._operator, timeout=60)

    def open(self, participants: int) -> Session:
        """Open a session, let people in, start it."""
        settings = {"mode": "self_paced", "scoring": "accuracy.v1"}
        with self._api() as api:
            body = {"quiz_id": self._quiz_id, "settings": settings}
            opened = _json(api.post("/sessions", json=body))
            tokens = asyncio.run(self._join(opened["pin"], participants))
        session = Session(opened["session_id"], opened["viewer_token"], tokens)
        self._move(session, "start", "lobby")
        return session

    def _finish(self, session: Session) -> None:
        """End a session, so that it costs the next measurement nothing."""
        self._move(session, "finish", "self_paced_open")

    def _move(self, session: Session, step: str, phase: str) -> None:
        move = {"command_id": f"bench-{step}", "step": step, "phase": phase, "opening": 0}
        with self._api() as api:
            _json(api.post(f"/sessions/{session.session_id}/moves", json=move))

    async def _join(self, pin: str, count: int) -> list[str]:
        gate = asyncio.Semaphore(_JOINS_AT_ONCE)
        async with httpx.AsyncClient(base_url=f"{self.base}/api", timeout=60) as api:

            async def one(number: int) -> str:
                body = {"nickname": f"P{number}", "join_key": f"bench-{number:06}"}
                async with gate:
                    answer = await api.post(f"/pins/{pin}/participants", json=body)
                return str(_json(answer)["token"])

            return list(await asyncio.gather(*(one(number) for number in range(count))))

    def answers(self, scheme: str, connections: int, **job: Any) -> Report:
        """Send answers to the openings of a fresh session."""
        session = self.open(connections)
        path = "/ws" if scheme == "ws" else f"/api/sessions/{session.session_id}/answers"
        report = self.bare(scheme, path, tokens=session.tokens, connections=connections, **job)
        self._finish(session)
        return report

    def frames(self, connections: int, **job: Any) -> Report:
        """Put frames on a session's channel and count them at its viewers."""
        session = self.open(1)
        report = self.bare(
            "ws",
            "/ws",
            tokens=[session.viewer_token] * connections,
            connections=connections,
            redis_url=self.stack.settings.redis_url,
            channel=channel_of(SessionId(session.session_id)),
            **job,
        )
        self._finish(session)
        return report

    def bare(self, scheme: str, path: str, **job: Any) -> Report:
        """Send the messages of a job to any endpoint, once the stack rests."""
        self.settle()
        before = cpu_s_by_kind()
        report = generate(Job(url=self.base.replace("http", scheme, 1) + path, **job))
        self.spent = cpu_s_by_kind() - before
        return report

    def settle(self) -> None:
        """Wait until what went before is over.

        A session that has opened has a process started for the next one, which takes seconds of a
        core.
        """
        deadline = time.monotonic() + _RESTLESS_S_MAX
        while time.monotonic() < deadline:
            before = cpu_s_by_kind()
            time.sleep(_RESTING_S)
            if (cpu_s_by_kind() - before).total() < _RESTING_CORES_MAX * _RESTING_S:
                return


def _json(response: httpx.Response) -> dict[str, Any]:
    if response.is_error:
        raise RuntimeError(f"{response.status_code}: {response.text}")
    found: dict[str, Any] = response.json()
    return found


def deploy_all(stack: EmbeddedStack) -> None:
    """Our applications and the bare ones, each with one replica and the same Serve settings."""
    from ray import serve  # noqa: PLC0415 - after the stack has set the environment

    from serve_app.applications import application  # noqa: PLC0415
    from serve_app.deploy import targets  # noqa: PLC0415
    from tests.benchmarks.reference import echo_app, empty_app, frames_app  # noqa: PLC0415

    # Without the pages: no figure asks for them.
    serve.run_many([target for target in targets(stack.settings) if target.name != "pages"])
    bare = {"/bare/ws": echo_app, "/bare/http": empty_app, "/bare/frames": frames_app}
    for prefix, build in bare.items():
        name = prefix.replace("/", "-").strip("-")
        serve.run(application(build, name, 1, 40_000), name=name, route_prefix=prefix)


def machine() -> str:
    """The machine in a few words."""
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    system = f"Linux {platform.release()}, Python {platform.python_version()}"
    return f"{os.cpu_count()} cores of {model}, {system}"
