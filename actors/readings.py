"""Looks at a session's epoch, numbered: one that began after somebody came vouches for them all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager


class Readings:
    """The looks at the epoch of one session, over a connection that appends use as well.

    An append whose statement checks the epoch is a look like any other. So whoever waits for a look
    waits for the next append when there is one, and costs a statement of its own only when there is
    none; however many wait, it is one statement.

    Args:
        read: looks at the epoch once; raises when it is not this actor's, or cannot be told.
    """

    def __init__(self, read: Callable[[], Awaitable[None]]) -> None:
        self._read = read
        #: Looks that have begun, and the newest of those that found the epoch unchanged.
        self._begun = 0
        self._passed = 0
        self._appending = False
        self._append_ended = asyncio.Event()
        #: One look at a time that is not an append.
        self._turn = asyncio.Lock()

    def moment(self) -> int:
        """Now, for :meth:`have_passed` and :meth:`hold`."""
        return self._begun

    def have_passed(self, moment: int) -> bool:
        """Whether a look that began after a moment has found the epoch unchanged."""
        return self._passed > moment

    @contextmanager
    def append(self) -> Iterator[None]:
        """An append that checks the epoch, and raises unless it is unchanged. One at a time."""
        self._begun = number = self._begun + 1
        self._appending = True
        try:
            yield
            self._passed = max(self._passed, number)
        finally:
            self._appending = False
            self._append_ended.set()

    async def hold(self, moment: int) -> None:
        """Return when a look that began after a moment has found the epoch unchanged.

        Raises:
            whatever ``read`` raises.
        """
        async with self._turn:
            while not self.have_passed(moment):
                if self._appending:
                    # The outbox begins its next append in the same turn in which one ends.
                    self._append_ended.clear()
                    await self._append_ended.wait()
                    continue
                self._begun = number = self._begun + 1
                await self._read()
                self._passed = max(self._passed, number)
