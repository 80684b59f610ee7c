"""The bytes that wait for peers, over all websockets of a process, under one bound.

A websocket layer counts what its sockets hold. Only sockets that hold something are known here: one
whose peer reads costs nothing.
"""

from __future__ import annotations

from typing import Protocol

#: Shares of the bound. All sockets are looked at when they may have reached it; when they hold more
#: than the first share then, some are dropped until no more than the second is held. So a look is
#: followed by another one after a quarter of the bound was written, at the earliest.
_FULL_SHARE, _LEFT_SHARE = 0.75, 0.5


class Holder(Protocol):
    """A socket that may hold bytes for its peer."""

    def held_bytes(self) -> int:
        """How many bytes wait now."""

    def drop(self) -> None:
        """End the connection at once, and let go of what waits."""


class WaitingBytes:
    """Adds up what sockets hold, and drops those that hold the most when it is too much.

    Args:
        bytes_max: what all sockets together may hold.
    """

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._held: dict[Holder, int] = {}
        self._total = 0

    @property
    def holders(self) -> int:
        """How many sockets hold something."""
        return len(self._held)

    @property
    def total(self) -> int:
        """Bytes that wait, or waited when the socket was looked at last: never less than there are."""
        return self._total

    def note(self, holder: Holder, held: int) -> None:
        """A socket holds so many bytes now. O(1), but for the times when the bound is passed."""
        self._total += held - self._held.get(holder, 0)
        self._held[holder] = held
        if self._total > self._bytes_max:
            self._make_room()

    def forget(self, holder: Holder) -> None:
        """A socket holds nothing any more, or is gone."""
        self._total -= self._held.pop(holder, 0)

    def _make_room(self) -> None:
        # What has left a socket meanwhile was told by nobody.
        self._held = {holder: holder.held_bytes() for holder in self._held}
        self._total = sum(self._held.values())
        if self._total <= self._bytes_max * _FULL_SHARE:
            return
        for holder in sorted(self._held, key=self._held.__getitem__, reverse=True):
            if self._total <= self._bytes_max * _LEFT_SHARE:
                break
            self.forget(holder)
            holder.drop()
