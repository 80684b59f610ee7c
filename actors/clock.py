"""The time that an actor goes by: the wall clock where it started, counted on monotonically."""

from __future__ import annotations

import time


def boottime_ns() -> int:
    """Nanoseconds since the machine was started, those that it was suspended included."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class Clock:
    """Unix milliseconds that never jump back while the process lives.

    Deadlines are stored as Unix time so that they outlive the process; within it, a correction of
    the machine's clock moves none of them. Counted on CLOCK_BOOTTIME, which a suspended machine
    does not stop.
    """

    def __init__(self) -> None:
        self._offset_ns = time.time_ns() - boottime_ns()

    def now_ms(self) -> int:
        """Milliseconds since 1970."""
        return (boottime_ns() + self._offset_ns) // 1_000_000
