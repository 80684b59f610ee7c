"""Runs the benchmarks and writes ``.bench/``: flat JSON, figure and reference by name.

``latest.json`` is the embedded profile, ``cluster.json`` the one with a broker.

Runs are interleaved pairs (ours, reference, ours, …); each figure is the median of its rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import aio_pika
import asyncpg
import httpx
import msgspec
from rich.console import Console
from rich.table import Table

from actors.publisher import channel_of
from engine import limits
from engine.ids import SessionId
from serve_app.embedded.stack import EmbeddedStack, Profile
from simulation.load import Job, Report
from tests.benchmarks.core import core_answers_per_s, json_loads_per_s
from tests.benchmarks.cpu import cpu_s_by_kind

_ROUNDS = 3
_CONNECTIONS = 500
_VIEWERS = 1_000
_BURST = 1_000
_BURSTS = 5
_SECONDS = 4.0
_JOINS_AT_ONCE = 100
_LONE_SECONDS = 2.0
_LONE_SAMPLES = 300
_PORT = 0
#: The longest job takes a third of it; one that hangs ends the bench with a traceback.
_GENERATOR_S_MAX = 60
_FILES = {Profile.EMBEDDED: "latest.json", Profile.CLUSTER: "cluster.json"}


class Measured(NamedTuple):
    """One measurement, and the load generator's processor time for each message of it."""

    value: float
    generator_us: float = 0.0
    messages_total: int = 0


def generate(job: Job) -> Report:
    """Run the load generator in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "simulation.load"],
        input=msgspec.json.encode(job),
        stdout=subprocess.PIPE,
        check=True,
        timeout=_GENERATOR_S_MAX,
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

    def __init__(self, stack: EmbeddedStack) -> None:
        from serve_app.auth import Tokens  # noqa: PLC0415 - after the stack has started

        self.stack = stack
        self.base = stack.settings.public_url.replace("localhost", "127.0.0.1")
        self._operator = {"authorization": f"Bearer {Tokens(stack.settings.secret).operator()}"}
        question = {"kind": "single", "text": "Which?", "choices": list("abcd"), "correct": [1]}
        quiz = {"title": "bench", "questions": [question] * limits.QUIZ_QUESTIONS_MAX}
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
        """Send the messages of a job to any endpoint."""
        return generate(Job(url=self.base.replace("http", scheme, 1) + path, **job))


def _json(response: httpx.Response) -> dict[str, Any]:
    if response.is_error:
        raise RuntimeError(f"{response.status_code}: {response.text}")
    found: dict[str, Any] = response.json()
    return found


def _rate(report: Report) -> Measured:
    return Measured(report.per_s, report.cpu_us_per_message, report.messages_total)


def _latency(report: Report) -> Measured:
    return Measured(report.latency_ms_p50, report.cpu_us_per_message)


def _burst(report: Report) -> Measured:
    return Measured(statistics.median(report.burst_ms), report.cpu_us_per_message)


def _floor(site: Site, echo: Report) -> Measured:
    """A lone echo, one awaited actor call, and what makes durable, each measured alone, added.

    That is one commit, and where a broker stands before the tables, one confirm.
    """
    settings = site.stack.settings
    if settings.rabbitmq_url:
        durable_ms = confirm_ms(settings.rabbitmq_url)
    else:
        durable_ms = commit_ms(settings.database_url)
    floor_ms = echo.latency_ms_p50 + actor_call_ms() + durable_ms
    return Measured(floor_ms, echo.cpu_us_per_message)


def actor_call_ms() -> float:
    """One awaited call to an empty Ray actor, median."""
    import ray  # noqa: PLC0415 - after the stack has set the environment

    class Empty:
        async def call(self, data: bytes) -> bytes:
            return data

    actor = ray.remote(Empty).options(num_cpus=0).remote()
    ray.get(actor.call.remote(b""))

    async def measure() -> float:
        times = []
        for _ in range(_LONE_SAMPLES):
            started = time.perf_counter()
            await actor.call.remote(b"x" * 60)
            times.append(time.perf_counter() - started)
        return statistics.median(times) * 1000

    try:
        return asyncio.run(measure())
    finally:
        ray.kill(actor)


def commit_ms(database_url: str) -> float:
    """One row committed to PostgreSQL, median."""

    async def measure() -> float:
        connection = await asyncpg.connect(database_url)
        await connection.execute("CREATE TABLE IF NOT EXISTS bench_commit (a int, b int, c text)")
        times = []
        for number in range(_LONE_SAMPLES):
            started = time.perf_counter()
            await connection.fetch("INSERT INTO bench_commit VALUES ($1, 1, '')", number)
            times.append(time.perf_counter() - started)
        await connection.execute("DROP TABLE bench_commit")
        await connection.close()
        return statistics.median(times) * 1000

    return asyncio.run(measure())


def confirm_ms(broker_url: str) -> float:
    """One small persistent message confirmed by a quorum queue, median."""

    async def measure() -> float:
        connection = await aio_pika.connect(broker_url)
        channel = await connection.channel(publisher_confirms=True)
        arguments = {"x-queue-type": "quorum"}
        queue = await channel.declare_queue("bench", durable=True, arguments=arguments)
        message = aio_pika.Message(b"x" * 100, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        times = []
        for _ in range(_LONE_SAMPLES):
            started = time.perf_counter()
            await channel.default_exchange.publish(message, queue.name)
            times.append(time.perf_counter() - started)
        await queue.delete(if_unused=False, if_empty=False)
        await connection.close()
        return statistics.median(times) * 1000

    return asyncio.run(measure())


class Pair(NamedTuple):
    """A figure, its reference, and the bound on figure / reference."""

    figure: str
    reference: str
    wanted: str
    bound: float
    ours: Callable[[Site], Measured]
    bare: Callable[[Site], Measured]


AT_LEAST, AT_MOST = "at least", "at most"


_LOOP: dict[str, Any] = {"kind": "closed_loop", "connections": _CONNECTIONS, "seconds": _SECONDS}
_LONE: dict[str, Any] = {"kind": "closed_loop", "connections": 1, "seconds": _LONE_SECONDS}
_ALL_AT_ONCE: dict[str, Any] = {"kind": "burst", "connections": _BURST, "rounds": _BURSTS}
_FRAMES: dict[str, Any] = {"kind": "frames", "connections": _VIEWERS, "seconds": _SECONDS}
_ECHO, _EMPTY, _BARE_FRAMES = "/bare/ws/echo", "/bare/http/empty", "/bare/frames/frames"

#: Every figure with its reference.
PAIRS = (
    Pair(
        "ws_answers_per_s",
        "ws_echo_per_s",
        AT_LEAST,
        0.8,
        lambda site: _rate(site.answers("ws", **_LOOP)),
        lambda site: _rate(site.bare("ws", _ECHO, **_LOOP)),
    ),
    Pair(
        "http_answers_per_s",
        "http_empty_per_s",
        AT_LEAST,
        0.7,
        lambda site: _rate(site.answers("http", **_LOOP)),
        lambda site: _rate(site.bare("http", _EMPTY, **_LOOP)),
    ),
    Pair(
        "lone_answer_ms_p50",
        "lone_floor_ms_p50",
        AT_MOST,
        1.5,
        lambda site: _latency(site.answers("ws", **_LONE)),
        lambda site: _floor(site, site.bare("ws", _ECHO, **_LONE)),
    ),
    Pair(
        "frames_per_s",
        "bare_frames_per_s",
        AT_LEAST,
        0.9,
        lambda site: _rate(site.frames(**_FRAMES)),
        lambda site: _rate(site.bare("ws", _BARE_FRAMES, **_FRAMES)),
    ),
    Pair(
        "burst_1000_last_ack_ms",
        "burst_1000_echo_ms",
        AT_MOST,
        2.0,
        lambda site: _burst(site.answers("ws", **_ALL_AT_ONCE)),
        lambda site: _burst(site.bare("ws", _ECHO, **_ALL_AT_ONCE)),
    ),
    Pair(
        "core_answers_per_s",
        "json_loads_per_s",
        AT_LEAST,
        0.4,
        lambda _: Measured(core_answers_per_s()),
        lambda _: Measured(json_loads_per_s()),
    ),
)


def deploy_all(stack: EmbeddedStack) -> None:
    """Our applications and the bare ones, each with one replica and the same Serve settings."""
    from ray import serve  # noqa: PLC0415 - after the stack has set the environment

    from serve_app.deploy import application, targets  # noqa: PLC0415
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


def run(profile: Profile, only: list[str], rounds: int) -> dict[str, float]:
    """Measure and print; return figures and references by name."""
    console = Console(soft_wrap=True)
    found: dict[str, float] = {}
    table = Table(
        "figure", "ours", "reference", "ratio", "wanted", title=f"{profile} profile, {machine()}"
    )
    with (
        tempfile.TemporaryDirectory(prefix="rq-bench-") as folder,
        EmbeddedStack(Path(folder), _PORT, profile=profile) as stack,
    ):
        deploy_all(stack)
        site = Site(stack)
        for pair in PAIRS:
            if only and pair.figure not in only:
                continue
            ours, bare = [], []
            spent: Counter[str] = Counter()
            for _ in range(rounds):
                before = cpu_s_by_kind()
                ours.append(pair.ours(site))
                spent += cpu_s_by_kind() - before
                bare.append(pair.bare(site))
                console.print(_line(pair, ours[-1], bare[-1]), highlight=False)
            if messages := sum(one.messages_total for one in ours):
                _print_cpu(console, spent, messages)
            found[pair.figure] = statistics.median(one.value for one in ours)
            found[pair.reference] = statistics.median(one.value for one in bare)
            ratio = found[pair.figure] / found[pair.reference]
            table.add_row(
                pair.figure,
                f"{found[pair.figure]:,.2f}",
                f"{pair.reference} {found[pair.reference]:,.2f}",
                f"{ratio:.2f}",
                f"{pair.wanted} {pair.bound}",
            )
    console.print(table)
    return found


def _line(pair: Pair, ours: Measured, bare: Measured) -> str:
    said = f"{pair.figure} {ours.value:,.2f}, {pair.reference} {bare.value:,.2f}"
    if ours.generator_us:
        said += (
            f"; the load generator spent {ours.generator_us:.0f} and {bare.generator_us:.0f} "
            "µs of CPU a message"
        )
    return said


def _print_cpu(console: Console, spent: Counter[str], messages: int) -> None:
    """Where the processor time went, but for the load generator's; the joins before are in it."""
    for kind, seconds in spent.most_common():
        console.print(
            f"  {kind}: {seconds / messages * 1e6:.1f} µs of CPU a message", highlight=False
        )


def main() -> None:
    """Command line of ``make bench``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=[pair.figure for pair in PAIRS], default=[])
    parser.add_argument("--rounds", type=int, default=_ROUNDS)
    parser.add_argument(
        "--profile", type=Profile, choices=list(Profile), help="one of them; both if not given"
    )
    options = parser.parse_args()
    if options.profile is None:
        # Each in a process of its own: a process starts Ray once.
        for profile in Profile:
            command = [sys.executable, "-m", "tests.benchmarks", "--profile", profile]
            subprocess.run([*command, *sys.argv[1:]], check=True)
        return
    found = run(options.profile, options.only, options.rounds)
    if not options.only:
        out = Path(".bench")
        out.mkdir(exist_ok=True)
        (out / _FILES[options.profile]).write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
