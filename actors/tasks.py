"""How tasks are shared, and how they are ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Hashable
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
