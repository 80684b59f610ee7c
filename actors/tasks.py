"""How tasks are shared, and how they are ended."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine, Hashable
from typing import Any, Generic, TypeVar

_K = TypeVar("_K", bound=Hashable)
_T = TypeVar("_T")

#: How long a task may take to end before it is cancelled again, seconds.
_AGAIN_S = 1.0


class SharedWork(Generic[_K, _T]):
    """Work that is done once by key, however many want it at the same time.

    It outlives whoever began it, and whoever leaves holds nothing up.
    """

    def __init__(self) -> None:
        self._running: dict[_K, asyncio.Task[_T]] = {}

    async def do(self, key: _K, work: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
        """Return what the work under way for a key comes to; begin it when there is none.

        Raises:
            whatever the work raises.
        """
        task = self._running.get(key)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._run(key, work))
            self._running[key] = task
            task.add_done_callback(_note_end)
        return await asyncio.shield(task)

    async def _run(self, key: _K, work: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
        try:
            return await work()
        finally:
            # Here, not in a callback: whoever comes before that ran would find a task that has
            # ended, and waiting for one of those does not let the loop go on.
            del self._running[key]


class PacedWork(Generic[_K, _T]):
    """Reads that many share, each of which begins after those who share it have asked.

    So everybody is told what was true after asking, and no more than one read of a key begins within an
    interval however many ask. A lone one begins at once.
    """

    def __init__(self, interval_ms: int) -> None:
        self._interval_s = interval_ms / 1000
        #: The work of those who wait for the next turn, by key.
        self._next: dict[_K, tuple[asyncio.Future[_T], Callable[[], Awaitable[_T]]]] = {}
        self._turns: dict[_K, asyncio.Task[None]] = {}

    async def do(self, key: _K, work: Callable[[], Awaitable[_T]]) -> _T:
        """Return what the next piece of work for a key comes to; ``work`` is it, if there is none.

        Raises:
            whatever the work raises.
        """
        waiting = self._next.get(key)
        if waiting is None:
            loop = asyncio.get_running_loop()
            waiting = self._next[key] = (loop.create_future(), work)
            if key not in self._turns:
                self._turns[key] = loop.create_task(self._take_turns(key))
        return await asyncio.shield(waiting[0])

    async def _take_turns(self, key: _K) -> None:
        loop = asyncio.get_running_loop()
        try:
            while key in self._next:
                next_at = loop.time() + self._interval_s
                future, work = self._next.pop(key)
                await _settle(future, asyncio.ensure_future(work()))
                await asyncio.sleep(next_at - loop.time())
        finally:
            del self._turns[key]


async def _settle(future: asyncio.Future[_T], task: asyncio.Future[_T]) -> None:
    """Have a future end as a task does."""
    try:
        await asyncio.wait({task})
        error = None if task.cancelled() else task.exception()
        if error is not None:
            future.set_exception(error)
            future.exception()  # told to those who still wait
        elif not task.cancelled():
            future.set_result(task.result())
    finally:
        task.cancel()
        future.cancel()  # no effect on what has ended


def _note_end(task: asyncio.Task[Any]) -> None:
    if not task.cancelled():
        task.exception()  # told to those who still wait


async def cancel(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Cancel tasks, and return when all have ended; how they end is not told.

    Said again until it is heard: below Python 3.12 ``asyncio.wait_for``, which libraries use, gives a
    cancellation up when what it waits for ends just then.
    """
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=_AGAIN_S)
    await asyncio.gather(*tasks, return_exceptions=True)
