"""Long work on a loop that others need: done in turns, with the loop given back between them."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import TypeVar

_T = TypeVar("_T")

#: How long one turn takes at the least, seconds; at the most it is longer by one step of the work.
TURN_S = 0.005


async def in_turns(steps: Generator[None, None, _T]) -> _T:
    """Take all steps of a generator, and return its result.

    Everything else that is due on the loop runs between two turns: a ping, a frame, a timer.
    """
    now = asyncio.get_running_loop().time
    ends = now() + TURN_S
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: _T = end.value
            return result
        if now() >= ends:
            await asyncio.sleep(0)
            ends = now() + TURN_S
