"""Processor time by kind of process: where a message's microseconds go."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import psutil

#: What a process is, by what its command line contains; the first that fits.
_KINDS = (
    ("ray::ServeReplica:notificator", "replica (websockets)"),
    ("ray::ServeReplica:api", "replica (HTTP)"),
    ("ray::SessionActor", "SessionActor"),
    ("ray::CheckpointWriter", "writer"),
    ("haproxy", "HAProxy"),
    ("beam.smp", "broker"),
    ("postgres", "database"),
    ("valkey-server", "Redis"),
    ("ray", "Ray's own"),
)


def kind_of(cmdline: Sequence[str]) -> str | None:
    """What kind of process has this command line; None for those of others."""
    command = " ".join(cmdline)
    return next((kind for part, kind in _KINDS if part in command), None)


def cpu_s_by_kind() -> Counter[str]:
    """Seconds of processor time that the processes that run now have used, by kind."""
    used: Counter[str] = Counter()
    for process in psutil.process_iter(["cmdline", "cpu_times"]):
        kind, times = kind_of(process.info["cmdline"] or ()), process.info["cpu_times"]
        if kind is not None and times is not None:
            used[kind] += times.user + times.system
    return used
