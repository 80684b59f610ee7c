"""How much memory each process of the product holds, looked at throughout a trial."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Collection
from typing import NamedTuple, Self

import psutil

from tests.benchmarks.cpu import kind_of

_LOOK_INTERVAL_S = 0.25


class Process(NamedTuple):
    """One process of the product, and its resident memory in MB; 0 while there was none."""

    kind: str
    pid: int
    before: float
    peak: float
    after: float


class Held(NamedTuple):
    """Resident memory in MB that was held within a time.

    Attributes:
        total: the most that all processes held together.
        each: the most that each process held, by process id.
        kinds: what each of them is.
        alive: those that run at the end.
    """

    total: float
    each: dict[int, float]
    kinds: dict[int, str]
    alive: frozenset[int]


class Memory(NamedTuple):
    """What was held before an attack, during it, and after it: the most of each time, in MB.

    Attributes:
        processes: each process that lived during the attack.
        gone: the kinds of those that lived before it, and no more after it.
    """

    before: float
    peak: float
    after: float
    processes: list[Process]
    gone: list[str]

    @classmethod
    def of(cls, quiet: Held, loud: Held, after: Held) -> Self:
        """Put three times together."""
        processes = [
            Process(loud.kinds[pid], pid, quiet.each.get(pid, 0), peak, after.each.get(pid, 0))
            for pid, peak in loud.each.items()
        ]
        gone = [quiet.kinds[pid] for pid in quiet.alive - after.alive]
        return cls(quiet.total, loud.total, after.total, processes, gone)

    def growth(self) -> list[tuple[float, Process]]:
        """By how many MB each process grew beyond what the largest of its kind held before, the most first.

        A process that is new, or was still starting then, held little or nothing of its own.
        """
        largest: defaultdict[str, float] = defaultdict(float)
        for process in self.processes:
            largest[process.kind] = max(largest[process.kind], process.before)
        grown = [(one.peak - largest[one.kind], one) for one in self.processes]
        return sorted(grown, reverse=True)


class Watch(threading.Thread):
    """Looks at the processes below this one, in a thread of its own.

    Args:
        own: process ids of the harness, which are no part of the product; may grow meanwhile.
    """

    def __init__(self, own: Collection[int]) -> None:
        super().__init__(daemon=True, name="memory")
        self._own = own
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._total = 0.0
        self._each: dict[int, float] = {}
        self._kinds: dict[int, str] = {}
        self._alive: frozenset[int] = frozenset()

    def run(self) -> None:
        """Look until the end."""
        while not self._ended.wait(_LOOK_INTERVAL_S):
            with self._lock:
                self._look()

    def end(self) -> None:
        """Stop looking."""
        self._ended.set()
        self.join()

    def take(self) -> Held:
        """What was held since the last call."""
        with self._lock:
            self._look()
            taken = Held(self._total, self._each, self._kinds, self._alive)
            self._total, self._each, self._kinds = 0.0, {}, {}
        return taken

    def _look(self) -> None:
        held: dict[int, float] = {}
        for process in psutil.Process().children(recursive=True):
            if process.pid in self._own:
                continue
            try:
                # Asked each time: Ray's workers get their name when they get something to do.
                self._kinds[process.pid] = kind_of(process.cmdline()) or "other"
                held[process.pid] = process.memory_info().rss / 1e6
            except psutil.Error:
                continue  # it has just ended
        self._alive = frozenset(held)
        self._total = max(self._total, sum(held.values()))
        for pid, mb in held.items():
            self._each[pid] = max(self._each.get(pid, 0.0), mb)
