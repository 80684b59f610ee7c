"""Runs the benchmarks and writes ``.bench/``: flat JSON, figure and reference by name.

``latest.json`` is the embedded profile, ``cluster.json`` the one with a broker.

Runs are interleaved pairs (ours, reference, ours, …); each figure is the median of its rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

import aio_pika
import asyncpg
from rich.console import Console
from rich.table import Table

from serve_app.embedded.stack import EmbeddedStack, Profile
from simulation.load import Report
from tests.benchmarks.core import core_answers_per_s, json_loads_per_s
from tests.benchmarks.site import LOAD_SETTINGS, Site, deploy_all, machine

_ROUNDS = 3
_CONNECTIONS = 500
_VIEWERS = 1_000
_BURST = 1_000
_BURSTS = 5
_SECONDS = 4.0
#: Lone answers, and the parts that they are held against, come one by one at this pace: whoever
#: has slept wakes with cold caches, on a busy host twice as slow as in a tight loop.
_LONE_PER_S = 50.0
_LONE_SECONDS = 4.0
_PORT = 0
_FILES = {Profile.EMBEDDED: "latest.json", Profile.CLUSTER: "cluster.json"}


class Measured(NamedTuple):
    """One measurement, and the load generator's processor time for each message of it."""

    value: float
    generator_us: float = 0.0
    messages_total: int = 0


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
        durable_ms = asyncio.run(_confirm_ms(settings.rabbitmq_url))
    else:
        durable_ms = asyncio.run(_commit_ms(settings.database_url))
    floor_ms = echo.latency_ms_p50 + asyncio.run(_actor_call_ms()) + durable_ms
    return Measured(floor_ms, echo.cpu_us_per_message)


async def _paced_ms(call: Callable[[], Awaitable[object]]) -> float:
    """How long a call takes that is made at the pace of lone answers, median."""
    times = []
    for _ in range(round(_LONE_SECONDS * _LONE_PER_S)):
        started = time.perf_counter()
        await call()
        times.append(time.perf_counter() - started)
        await asyncio.sleep(max(0.0, 1 / _LONE_PER_S - times[-1]))
    return statistics.median(times) * 1000


async def _actor_call_ms() -> float:
    """One awaited call to an empty Ray actor."""
    import ray  # noqa: PLC0415 - after the stack has set the environment

    class Empty:
        async def call(self, data: bytes) -> bytes:
            return data

    actor = ray.remote(Empty).options(num_cpus=0).remote()
    try:
        await actor.call.remote(b"")
        return await _paced_ms(lambda: actor.call.remote(b"x" * 60))
    finally:
        ray.kill(actor)


async def _commit_ms(database_url: str) -> float:
    """One row committed to PostgreSQL."""
    connection = await asyncpg.connect(database_url)
    await connection.execute("CREATE TABLE IF NOT EXISTS bench_commit (a int, b int, c text)")
    found = await _paced_ms(lambda: connection.fetch("INSERT INTO bench_commit VALUES (1, 1, '')"))
    await connection.execute("DROP TABLE bench_commit")
    await connection.close()
    return found


async def _confirm_ms(broker_url: str) -> float:
    """One small persistent message confirmed by a quorum queue."""
    connection = await aio_pika.connect(broker_url)
    channel = await connection.channel(publisher_confirms=True)
    arguments = {"x-queue-type": "quorum"}
    queue = await channel.declare_queue("bench", durable=True, arguments=arguments)
    message = aio_pika.Message(b"x" * 100, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
    found = await _paced_ms(lambda: channel.default_exchange.publish(message, queue.name))
    await queue.delete(if_unused=False, if_empty=False)
    await connection.close()
    return found


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
_LONE: dict[str, Any] = {
    "kind": "closed_loop",
    "connections": 1,
    "seconds": _LONE_SECONDS,
    "pace_per_s": _LONE_PER_S,
}
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


def run(profile: Profile, only: list[str], rounds: int) -> dict[str, float]:
    """Measure and print; return figures and references by name."""
    console = Console(soft_wrap=True)
    found: dict[str, float] = {}
    table = Table(
        "figure", "ours", "reference", "ratio", "wanted", title=f"{profile} profile, {machine()}"
    )
    with (
        tempfile.TemporaryDirectory(prefix="rq-bench-") as folder,
        EmbeddedStack(Path(folder), _PORT, settings=LOAD_SETTINGS, profile=profile) as stack,
    ):
        deploy_all(stack)
        site = Site(stack)
        for pair in PAIRS:
            if only and pair.figure not in only:
                continue
            ours, bare = [], []
            spent: Counter[str] = Counter()
            for _ in range(rounds):
                ours.append(pair.ours(site))
                spent += site.spent
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
    """Where the processor time went, but for the load generator's."""
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
        "--profile", type=Profile, choices=list(_FILES), help="one of them; both if not given"
    )
    options = parser.parse_args()
    if options.profile is None:
        # Each in a process of its own: a process starts Ray once.
        for profile in _FILES:
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
