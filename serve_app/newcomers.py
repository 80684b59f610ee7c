"""Sockets that have not said hello: there are few places for them, and one address cannot hold all.

Whoever says hello soon after connecting gets in while a flood of silent sockets lasts: when there is no
place left, the oldest silent socket of the address that has most of them goes.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Protocol


class Newcomer(Hashable, Protocol):
    """A socket that has not said hello yet."""

    def close_as(self, name: str) -> None:
        """Close with a code of ``serve_app.errors.CLOSE_CODES``."""


class Newcomers:
    """Who has connected and not said hello. Every method is O(1).

    Args:
        all_max: how many there may be.
        per_address_max: how many of them may come from one address.
    """

    def __init__(self, all_max: int, per_address_max: int) -> None:
        self._all_max = all_max
        self._per_address_max = per_address_max
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
        crowd = self._crowds.setdefault(address, {})
        crowd[newcomer] = None
        self._address_of[newcomer] = address
        self._rank(address, len(crowd) - 1, len(crowd))
        if len(crowd) > self._per_address_max:
            self._send_away(crowd)
        elif len(self._address_of) > self._all_max:
            self._send_away(self._crowds[next(iter(self._ranks[self._most]))])

    def remove(self, newcomer: Newcomer) -> None:
        """A socket has said hello, or is gone; it may be removed already."""
        address = self._address_of.pop(newcomer, None)
        if address is None:
            return
        crowd = self._crowds[address]
        del crowd[newcomer]
        self._rank(address, len(crowd) + 1, len(crowd))
        if not crowd:
            del self._crowds[address]

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
