"""Runs the benchmarks and writes ``.bench/latest.json``: flat, figure and reference by name.

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
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
import httpx
import msgspec
from rich.console import Console
from rich.table import Table

from serve_app.embedded.stack import EmbeddedStack
from simulation.load import Job, Report
from tests.benchmarks.core import core_answers_per_s, json_loads_per_s

_ROUNDS = 3
_CONNECTIONS = 500
_VIEWERS = 1_000
_BURST = 1_000
_BURSTS = 5
_SECONDS = 4.0
_QUESTIONS = 2_000
_LONE_SAMPLES = 300
_PORT = 0


class Pair(NamedTuple):
    """A figure, its reference, and the bound on figure / reference."""

    figure: str
    reference: str
    bound: float
    is_floor: bool
    ours: Callable[[], float]
    bare: Callable[[], float]


def generate(job: Job) -> Report:
    """Run the load generator in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "simulation.load"],
        input=msgspec.json.encode(job),
        stdout=subprocess.PIPE,
        check=True,
        timeout=180,
    )
    report = msgspec.json.decode(done.stdout, type=Report)
    if report.refused:
        raise RuntimeError(f"{report.refused} of {report.messages} messages were refused")
    return report


class Site:
    """The running stack with one self-paced session and its participants."""

    def __init__(self, stack: EmbeddedStack) -> None:
        from serve_app.auth import Role, Tokens  # noqa: PLC0415 - after the stack has started

        self.stack = stack
        self.base = stack.settings.public_url.replace("localhost", "127.0.0.1")
        tokens = Tokens(stack.settings.secret)
        question = {"kind": "single", "text": "Which?", "choices": list("abcd"), "correct": [1]}
        quiz = {"title": "bench", "questions": [question] * _QUESTIONS}
        settings = {"mode": "self_paced", "scoring": "accuracy.v1"}
        with httpx.Client(
            base_url=f"{self.base}/api",
            headers={"authorization": f"Bearer {tokens.operator()}"},
            timeout=60,
        ) as api:
            quiz_id = _json(api.post("/quizzes", json=quiz))["quiz_id"]
            opened = _json(api.post("/sessions", json={"quiz_id": quiz_id, "settings": settings}))
            self.session_id = opened["session_id"]
            self.viewer_token = tokens.of_session(Role.VIEWER, self.session_id, opened["pin"])
            joined = asyncio.run(self._join(opened["pin"], max(_CONNECTIONS, _BURST)))
            self.tokens = joined
            move = {"command_id": "bench-start", "step": "start", "phase": "lobby", "opening": 0}
            _json(api.post(f"/sessions/{self.session_id}/moves", json=move))
        self.opening = 1

    async def _join(self, pin: str, count: int) -> list[str]:
        async with httpx.AsyncClient(base_url=f"{self.base}/api", timeout=60) as api:

            async def one(number: int) -> str:
                body = {"nickname": f"P{number}", "join_key": f"bench-{number:06}"}
                answer = await api.post(f"/pins/{pin}/participants", json=body)
                return str(_json(answer)["token"])

            return list(await asyncio.gather(*(one(number) for number in range(count))))

    def answers(self, path: str, **job: Any) -> Report:
        """Send answers to fresh openings."""
        scheme = "ws" if path == "/ws" else "http"
        report = generate(
            Job(
                url=self.base.replace("http", scheme, 1) + path,
                tokens=self.tokens[: job["connections"]],
                first_opening=self.opening,
                **job,
            )
        )
        self.opening = report.next_opening
        return report

    def bare(self, scheme: str, path: str, **job: Any) -> Report:
        """Send the same messages to a bare endpoint."""
        return generate(Job(url=self.base.replace("http", scheme, 1) + path, **job))


def _json(response: httpx.Response) -> dict[str, Any]:
    if response.is_error:
        raise RuntimeError(f"{response.status_code}: {response.text}")
    found: dict[str, Any] = response.json()
    return found


def pairs(site: Site) -> list[Pair]:
    """Every figure with its reference (the issue's table, in its order)."""
    loop = {"kind": "closed_loop", "connections": _CONNECTIONS, "seconds": _SECONDS}
    lone = {"kind": "closed_loop", "connections": 1, "seconds": 2.0}
    burst = {"kind": "burst", "connections": _BURST, "rounds": _BURSTS}
    frames = {"kind": "frames", "connections": _VIEWERS, "seconds": _SECONDS}
    answers_path = f"/api/sessions/{site.session_id}/answers"
    viewers = {"tokens": [site.viewer_token] * _VIEWERS, "redis_url": site.stack.settings.redis_url}
    viewers["channel"] = f"rayquiz:session:{site.session_id}"
    return [
        Pair(
            "ws_answers_per_s",
            "ws_echo_per_s",
            0.6,
            True,
            lambda: site.answers("/ws", **loop).per_s,
            lambda: site.bare("ws", "/bare/ws/echo", **loop).per_s,
        ),
        Pair(
            "http_answers_per_s",
            "http_empty_per_s",
            0.7,
            True,
            lambda: site.answers(answers_path, **loop).per_s,
            lambda: site.bare("http", "/bare/http/empty", **loop).per_s,
        ),
        Pair(
            "lone_answer_ms_p50",
            "lone_floor_ms_p50",
            1.5,
            False,
            lambda: site.answers("/ws", **lone).latency_ms_p50,
            lambda: (
                site.bare("ws", "/bare/ws/echo", **lone).latency_ms_p50
                + actor_call_ms()
                + commit_ms(site.stack.settings.database_url)
            ),
        ),
        Pair(
            "frames_per_s",
            "bare_frames_per_s",
            0.9,
            True,
            lambda: site.bare("ws", "/ws", **frames, **viewers).per_s,
            lambda: site.bare("ws", "/bare/frames/frames", **frames).per_s,
        ),
        Pair(
            "core_answers_per_s",
            "json_loads_per_s",
            0.4,
            True,
            core_answers_per_s,
            json_loads_per_s,
        ),
        Pair(
            "burst_1000_last_ack_ms",
            "burst_1000_echo_ms",
            2.5,
            False,
            lambda: statistics.median(site.answers("/ws", **burst).burst_ms),
            lambda: statistics.median(site.bare("ws", "/bare/ws/echo", **burst).burst_ms),
        ),
    ]


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


def deploy_all(stack: EmbeddedStack) -> None:
    """Our applications and the bare ones, each with one replica and the same Serve settings."""
    from ray import serve  # noqa: PLC0415 - after the stack has set the environment

    from serve_app.deploy import application, targets  # noqa: PLC0415
    from tests.benchmarks.reference import echo_app, empty_app, frames_app  # noqa: PLC0415

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


def run(only: list[str], rounds: int) -> dict[str, float]:
    """Measure and print; return figures and references by name."""
    console = Console()
    found: dict[str, float] = {}
    table = Table("figure", "ours", "reference", "ratio", "bound", title=machine())
    with (
        tempfile.TemporaryDirectory(prefix="rq-bench-") as folder,
        EmbeddedStack(Path(folder), _PORT) as stack,
    ):
        deploy_all(stack)
        site = Site(stack)
        for pair in pairs(site):
            if only and pair.figure not in only:
                continue
            ours, bare = [], []
            for _ in range(rounds):
                ours.append(pair.ours())
                bare.append(pair.bare())
                console.print(f"{pair.figure}: {ours[-1]:,.2f} against {bare[-1]:,.2f}")
            found[pair.figure] = statistics.median(ours)
            found[pair.reference] = statistics.median(bare)
            ratio = found[pair.figure] / found[pair.reference]
            bound = f"{'at least' if pair.is_floor else 'at most'} {pair.bound}"
            table.add_row(
                pair.figure,
                f"{found[pair.figure]:,.2f}",
                f"{found[pair.reference]:,.2f}",
                f"{ratio:.2f}",
                bound,
            )
    console.print(table)
    return found


def main() -> None:
    """Command line of ``make bench``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=[], help="figures to measure, by name")
    parser.add_argument("--rounds", type=int, default=_ROUNDS)
    options = parser.parse_args()
    found = run(options.only, options.rounds)
    if not options.only:
        out = Path(".bench")
        out.mkdir(exist_ok=True)
        (out / "latest.json").write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
