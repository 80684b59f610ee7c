"""``make soak``: session after session at half the maximum. Exit status 1 if something grew or complained.

Memory is what a process has for itself alone (USS), added up by kind of process, and looked at while
a session is being played; the first third of the looks is compared with the last one.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import aio_pika
import psutil
from rich.console import Console
from rich.table import Table

from actors.rabbitmq import DEAD_QUEUE, queue_name
from engine import limits
from serve_app.embedded.data_folder import DataFolder
from serve_app.embedded.stack import EmbeddedStack, Profile
from tests.benchmarks.cpu import kind_of
from tests.benchmarks.site import LOAD_SETTINGS, Site, deploy_all, machine
from tests.soak.complaints import complaints_in

_CONNECTIONS = 500
_QUESTIONS = 500
#: Short enough that no connection runs out of questions.
_PROBE_S = 6.0
_LOOK_INTERVAL_S = 5.0
#: The actors of sessions that are over stay for so long: soon as many as ever.
_LINGER_MS = 20_000
#: What grows by less may be a cache that is filling, or noise.
_GROWTH_SHARE_MAX, _GROWTH_MB_MIN = 0.10, 24.0
#: Messages that writers have not stored yet, all partitions together: some tens of milliseconds.
_QUEUED_MAX = 200


class _RestlessSite(Site):
    """Quiz follows upon quiz."""

    def settle(self) -> None:
        """Wait for nothing."""


class Look(NamedTuple):
    """What was seen at one moment: MB by kind of process, and messages in the broker."""

    at_s: float
    memory_mb: Counter[str]
    queued: int


class Watch(threading.Thread):
    """Looks at the processes and the queues every few seconds, in a thread of its own."""

    def __init__(self, broker_url: str) -> None:
        super().__init__(daemon=True)
        self.looks: list[Look] = []
        self.dead_letters = 0
        #: Whether answers are on their way: else there is nothing to compare.
        self.is_loaded = False
        self._broker_url = broker_url
        self._ended = threading.Event()

    def run(self) -> None:
        """Look until the end."""
        begun = time.monotonic()
        while not self._ended.wait(_LOOK_INTERVAL_S):
            if self.is_loaded:
                queued, self.dead_letters = asyncio.run(self._queues())
                self.looks.append(Look(time.monotonic() - begun, _memory_mb(), queued))

    def end(self) -> None:
        """Stop looking."""
        self._ended.set()
        self.join()

    async def _queues(self) -> tuple[int, int]:
        async with await aio_pika.connect(self._broker_url) as connection:
            channel = await connection.channel()
            names = [*(queue_name(number) for number in range(limits.PARTITIONS)), DEAD_QUEUE]
            found = [await channel.declare_queue(name, passive=True) for name in names]
            *counts, dead = (queue.declaration_result.message_count or 0 for queue in found)
            return sum(counts), dead


def _memory_mb() -> Counter[str]:
    found: Counter[str] = Counter()
    for process in psutil.process_iter(["cmdline"]):
        kind = kind_of(process.info["cmdline"] or ())
        if kind is not None:
            try:
                found[kind] += process.memory_full_info().uss / 1e6
            except psutil.Error:
                continue  # it has just ended
    return found


def _played(site: Site, watch: Watch, pace_per_s: float) -> tuple[float, float, int]:
    """One session: answers a second, their 99th percentile in ms, and how many were acknowledged."""
    seconds = 0.9 * _QUESTIONS * _CONNECTIONS / pace_per_s - 2.0
    watch.is_loaded = True
    try:
        job = {"kind": "closed_loop", "seconds": seconds, "pace_per_s": pace_per_s}
        report = site.answers("ws", _CONNECTIONS, **job)
    finally:
        watch.is_loaded = False
    return report.per_s, report.latency_ms_p99, report.messages_total


def _problems(looks: list[Look], console: Console) -> list[str]:
    """Print how memory and queues went, and tell what is wrong."""
    third = max(1, len(looks) // 3)
    first, last = looks[:third], looks[-third:]
    problems = []
    table = Table("what", "first third", "last third", "largest")
    for kind in sorted({kind for look in looks for kind in look.memory_mb}):
        early, late = (
            statistics.median(look.memory_mb[kind] for look in part) for part in (first, last)
        )
        largest = max(look.memory_mb[kind] for look in looks)
        table.add_row(f"{kind}, MB", f"{early:.0f}", f"{late:.0f}", f"{largest:.0f}")
        if late - early > max(_GROWTH_MB_MIN, _GROWTH_SHARE_MAX * early):
            problems.append(f"{kind} grew from {early:.0f} to {late:.0f} MB")
    early, late = (statistics.median(look.queued for look in part) for part in (first, last))
    largest = max(look.queued for look in looks)
    table.add_row("messages queued", f"{early:.0f}", f"{late:.0f}", f"{largest}")
    if late > early + _QUEUED_MAX:
        problems.append(f"queues grew from {early:.0f} to {late:.0f} messages")
    console.print(table)
    return problems


def _soak(folder: Path, minutes: float, console: Console) -> list[str]:
    settings = {"linger_ms": _LINGER_MS, **LOAD_SETTINGS}
    with EmbeddedStack(folder, 0, settings=settings, profile=Profile.CLUSTER) as stack:
        deploy_all(stack)
        site = _RestlessSite(stack, _QUESTIONS)
        job = {"kind": "closed_loop", "seconds": _PROBE_S}
        most = site.answers("ws", _CONNECTIONS, **job).per_s
        pace_per_s = most / 2
        console.print(f"at most {most:,.0f} answers/s; from now on {pace_per_s:,.0f}")
        watch = Watch(stack.settings.rabbitmq_url)
        watch.start()
        acknowledged = 0
        end_s = time.monotonic() + minutes * 60
        while time.monotonic() < end_s:
            per_s, p99_ms, count = _played(site, watch, pace_per_s)
            acknowledged += count
            memory = ", ".join(
                f"{kind} {mb:.0f}" for kind, mb in sorted(watch.looks[-1].memory_mb.items())
            )
            console.print(f"{per_s:,.0f} answers/s, p99 {p99_ms:.0f} ms; MB: {memory}")
        watch.end()
        problems = _problems(watch.looks, console)
        if watch.dead_letters:
            problems.append(f"{watch.dead_letters} dead letters")
    console.print(f"{acknowledged:,} answers acknowledged")
    return problems


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    options = parser.parse_args()
    console = Console(soft_wrap=True, highlight=False)
    console.print(f"soak of {options.minutes:.0f} min, {machine()}")
    with tempfile.TemporaryDirectory(prefix="rq-soak-") as folder:
        problems = _soak(Path(folder), options.minutes, console)
        # Ray's logs are there when it has ended.
        complaints = complaints_in(DataFolder(Path(folder)).logs)
    problems += [f"{times} times in a log: {line}" for line, times in complaints.most_common(20)]
    for problem in problems:
        console.print(f"wrong: {problem}")
    if problems:
        sys.exit(1)


if __name__ == "__main__":
    main()
