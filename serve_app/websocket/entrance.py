"""New connections enter one after the other, a few in each turn of the loop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable


class Entrance:
    """A queue in front of a server.

    Args:
        per_turn_max: how many enter in one turn of the event loop.
    """

    def __init__(self, per_turn_max: int) -> None:
        self._per_turn_max = per_turn_max
        self._waiting: deque[Callable[[], None]] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def queue(self, enter: Callable[[], None]) -> None:
        """Have ``enter`` called when its turn has come, soon after those before it. O(1)."""
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._let_in)
        self._waiting.append(enter)

    def _let_in(self) -> None:
        entering = [
            self._waiting.popleft() for _ in range(min(self._per_turn_max, len(self._waiting)))
        ]
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._let_in)
        for enter in entering:
            enter()
