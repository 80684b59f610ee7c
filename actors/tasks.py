"""How tasks are ended."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any

#: How long a task may take to end before it is cancelled again, seconds.
_AGAIN_S = 1.0


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
