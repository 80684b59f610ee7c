"""Sockets that have not said hello: there are few places for them, and one address cannot hold all.

Whoever says hello soon after connecting gets in while a flood of silent sockets lasts: when there is no
place left, the oldest silent socket of the address that has most of them goes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from typing import Protocol

from engine import limits


class Newcomer(Hashable, Protocol):
    """A socket that has not said hello yet."""

    def close_as(self, name: str) -> None:
        """Close with a code of ``serve_app.errors.CLOSE_CODES``."""


class Record(Protocol):
    """Where it is noted how the sockets of an address behave."""

    def note_hello(self, address: str) -> None:
        """One has said a good hello."""

    def note_silence(self, address: str) -> None:
        """One has ended without a hello, or has not said it within ``HELLO_SOON_MS``."""


class Newcomers:
    """Who has connected and not said hello. Every method is O(1) on average.

    Args:
        all_max: how many there may be.
        per_address_max: how many of them may come from one address.
        record: told of each socket that has come; once of its silence, once of its hello.
        clock_s: monotonic, seconds.
    """

    def __init__(
        self,
        all_max: int,
        per_address_max: int,
        record: Record,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._all_max = all_max
        self._per_address_max = per_address_max
        self._record = record
        self._clock_s = clock_s
        #: When those came who may still say hello soon, the oldest first.
        self._came_s: dict[Newcomer, float] = {}
        #: The newcomers of each address, the oldest first.
        self._crowds: dict[str, dict[Newcomer, None]] = {}
        self._address_of: dict[Newcomer, str] = {}
        #: The addresses that have so many newcomers, by that number.
        self._ranks: list[dict[str, None]] = [{} for _ in range(per_address_max + 2)]
        #: The most that an address has.
        self._most = 0

    def __len__(self) -> int:
        return len(self._address_of)

    def add(self, newcomer: Newcomer, address: str) -> None:
        """Take a socket in; one that has to make room for it is closed with ``hello_late``."""
        now = self._clock_s()
        self._note_silent(now)
        crowd = self._crowds.setdefault(address, {})
        crowd[newcomer] = None
        self._came_s[newcomer] = now
        self._address_of[newcomer] = address
        self._rank(address, len(crowd) - 1, len(crowd))
        if len(crowd) > self._per_address_max:
            self._send_away(crowd)
        elif len(self._address_of) > self._all_max:
            self._send_away(self._crowds[next(iter(self._ranks[self._most]))])

    def greet(self, newcomer: Newcomer) -> None:
        """A socket has said hello; it may be gone already."""
        address = self._address_of.get(newcomer)
        if address is None:
            return
        self._came_s.pop(newcomer, None)
        self.remove(newcomer)
        self._record.note_hello(address)

    def remove(self, newcomer: Newcomer) -> None:
        """A socket is gone; it may have said hello, or be removed already."""
        address = self._address_of.pop(newcomer, None)
        if address is None:
            return
        if self._came_s.pop(newcomer, None) is not None:
            self._record.note_silence(address)
        crowd = self._crowds[address]
        del crowd[newcomer]
        self._rank(address, len(crowd) + 1, len(crowd))
        if not crowd:
            del self._crowds[address]

    def _note_silent(self, now: float) -> None:
        while self._came_s:
            oldest = next(iter(self._came_s))
            if now < self._came_s[oldest] + limits.HELLO_SOON_MS / 1000:
                break
            del self._came_s[oldest]
            self._record.note_silence(self._address_of[oldest])

    def _send_away(self, crowd: dict[Newcomer, None]) -> None:
        oldest = next(iter(crowd))
        self.remove(oldest)
        oldest.close_as("hello_late")

    def _rank(self, address: str, before: int, after: int) -> None:
        if before:
            del self._ranks[before][address]
        if after:
            self._ranks[after][address] = None
        if after > self._most or not self._ranks[self._most]:
            self._most = after
