"""Processes on one thread: an event loop in virtual time that can stop, pause and kill them.

A process is a set of contexts: whatever a callback schedules inherits it. Within a process
callbacks run in the order in which they were scheduled, as asyncio promises; which process goes on
next is drawn from the seed, as it is on real machines.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import random
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any


class Gone(BaseException):
    """The process has ended itself; nothing of it runs any more."""


class Process:
    """One process of the cluster.

    Attributes:
        is_alive: false for ever after :meth:`kill`.
        is_running: false while it is paused.
        node, pid: where it runs, as the code under test is told.
        skew_ms: how far its wall clock is ahead.
        links: connections that it has opened; whoever is at their other end notices its death.
    """

    def __init__(self, loop: SeededLoop, name: str, node: str = "", skew_ms: int = 0) -> None:
        self.loop = loop
        self.name = name
        self.node = node
        self.pid = loop.add_process(self)
        self.skew_ms = skew_ms
        self.is_alive = True
        self.is_running = True
        self.is_queued = False
        self.ready: deque[asyncio.Handle] = deque()
        #: A dict for its order, which must not depend on addresses; likewise elsewhere.
        self.links: dict[Any, None] = {}
        self.context = contextvars.copy_context()
        self.context.run(_PROCESS.set, self)

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Start a task of this process."""
        return self.loop.create_task(work, context=self.context.copy())

    def call_at(self, when_s: float, callback: Callable[..., object], *args: object) -> None:
        """Have this process run something at a time."""
        self.loop.call_at(when_s, callback, *args, context=self.context)

    def pause(self) -> None:
        """Stop it where it is (SIGSTOP): what reaches it meanwhile waits."""
        self.is_running = False
        self.loop.unqueue(self)

    def resume(self) -> None:
        """Let it go on, if it lives."""
        if self.is_alive and not self.is_running:
            self.is_running = True
            self.loop.queue(self)

    def kill(self) -> None:
        """End it (SIGKILL); its kernel closes its connections."""
        if self.is_alive:
            self.is_alive = False
            self.pause()
            for link in list(self.links):
                link.hang_up()


_PROCESS: contextvars.ContextVar[Process] = contextvars.ContextVar("process")


def current() -> Process:
    """The process whose callback is running."""
    return _PROCESS.get()


class SeededLoop(asyncio.BaseEventLoop):
    """Time stands still while anything can run, and then jumps to the next timer. Never sleeps."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__()
        self._rng = rng
        self._now_s = 0.0
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._timers_count = 0
        self._runnable: list[Process] = []
        self._processes: list[Process] = []
        #: Set when everything that still waits is cancelled: then even the dead run, in order.
        self._is_ending = False
        self.steps = 0

    def add_process(self, process: Process) -> int:
        """Know a new process; return its process id, which no other has had."""
        self._processes.append(process)
        return 100 + len(self._processes)

    def time(self) -> float:
        """Virtual seconds."""
        return self._now_s

    def call_soon(
        self,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.Handle:
        """See asyncio; behind what was scheduled by the same process."""
        handle = asyncio.Handle(callback, args, self, context)
        self._add(handle)
        return handle

    def call_at(
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        """See asyncio."""
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        self._timers_count += 1
        heapq.heappush(self._timers, (when, self._timers_count, timer))
        return timer

    def _add(self, handle: asyncio.Handle) -> None:
        process = handle._context[_PROCESS]  # type: ignore[attr-defined]
        process.ready.append(handle)
        if not process.is_queued:
            self.queue(process)

    def queue(self, process: Process) -> None:
        """Let a process take part, if it has anything to run."""
        if process.ready and not process.is_queued and (process.is_running or self._is_ending):
            process.is_queued = True
            self._runnable.append(process)

    def unqueue(self, process: Process) -> None:
        """Leave a process out."""
        if process.is_queued:
            process.is_queued = False
            self._runnable.remove(process)

    def _run_once(self) -> None:
        while not self._stopping:  # type: ignore[attr-defined]
            if self._runnable:
                self._step()
            else:
                self._jump()

    def _step(self) -> None:
        runnable = self._runnable
        count = len(runnable)
        process = runnable[int(self._rng.random() * count)] if count > 1 else runnable[0]
        handle = process.ready.popleft()
        if not process.ready:
            process.is_queued = False
            runnable.remove(process)
        if not handle.cancelled():
            self.steps += 1
            handle._run()

    def _jump(self) -> None:
        timers = self._timers
        while True:
            if not timers:
                raise RuntimeError("every task waits for something that cannot come")
            when_s, _, timer = heapq.heappop(timers)
            if not timer.cancelled():
                break
        self._now_s = max(self._now_s, when_s)
        self._add(timer)

    def end(self) -> None:
        """Cancel every task, of the dead too, and run what they still do; time stands still.

        Coroutines that were dropped half-way would complain when they are collected.
        """
        self._is_ending = True
        asyncio._set_running_loop(self)
        steps_max = self.steps + 50_000
        while self.steps < steps_max and (tasks := asyncio.all_tasks(self)):
            for task in tasks:
                task.cancel()
            for process in self._processes:
                self.queue(process)
            while self._runnable:
                self._step()
        asyncio._set_running_loop(None)
        self.close()
