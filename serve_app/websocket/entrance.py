"""Handshakes enter one after the other, at a pace that silent sockets cannot take from others.

A handshake costs some 2 ms of processor time, in HAProxy and here, and whoever makes one has proved nothing
yet. A good hello is the proof: it gives the token back that the handshake took, so people enter as
fast as they say hello, and sockets that say nothing as fast as tokens come by themselves. Addresses
have their turns one after the other. An address whose sockets stay silent is a stranger after a
while: it waits behind all others, enters seldom, and what it tries beyond that is refused at once.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Final, NamedTuple, Protocol

from engine import limits
from serve_app.client_address import OWN
from serve_app.rate import Rate, Recent, TokenBucket

log = logging.getLogger(__name__)

#: How long the next look waits when nobody could be let in, seconds.
_PAUSE_S: Final = 0.02
#: Strangers that are looked at, and guests that are refused, in one turn.
_LOOKS: Final = 8


class Guest(Hashable, Protocol):
    """A connection that waits with its handshake."""

    def enter(self) -> None:
        """Do the handshake."""

    def refuse(self, *, as_stranger: bool) -> None:
        """Answer that it has to come again later; ``as_stranger``: for what its address did."""


class Pace(NamedTuple):
    """How handshakes enter.

    Attributes:
        per_turn_max: how many in one turn of the event loop.
        unproven: how many whose hello has not come.
        waiting_max: how many wait; further ones are refused.
        stranger: how many from one address that is a stranger.
        stranger_waiting_max: how many of those wait; further ones are refused.
    """

    per_turn_max: int
    unproven: Rate
    waiting_max: int
    stranger: Rate
    stranger_waiting_max: int


PACE: Final = Pace(
    limits.HANDSHAKES_PER_TURN_MAX,
    Rate(limits.HANDSHAKES_UNPROVEN_PER_S_MAX, limits.HANDSHAKES_UNPROVEN_BURST_MAX),
    limits.HANDSHAKES_WAITING_MAX,
    Rate(limits.STRANGER_HANDSHAKES_PER_S_MAX, limits.STRANGER_HANDSHAKES_BURST_MAX),
    limits.STRANGER_WAITING_MAX,
)


class _Record:
    """What an address has done: sockets that stayed silent, less those that said hello since."""

    def __init__(self, clock_s: Callable[[], float]) -> None:
        self._clock_s = clock_s
        self._silent = 0.0
        self._counted_at = clock_s()
        self.bucket: TokenBucket | None = None

    def add(self, count: int) -> None:
        self._silent = max(0.0, min(limits.SILENT_COUNTED_MAX, self._left() + count))

    @property
    def is_stranger(self) -> bool:
        return self._left() > limits.SILENT_ADDRESS_MAX

    def _left(self) -> float:
        now = self._clock_s()
        forgotten = (now - self._counted_at) * limits.SILENT_FORGOTTEN_PER_S
        self._silent = max(0.0, self._silent - forgotten)
        self._counted_at = now
        return self._silent


class Entrance:
    """The queue in front of a server. Every method is O(1), but for the looks of one turn.

    Args:
        pace: how guests are let in.
        clock_s: monotonic, seconds.
    """

    def __init__(self, pace: Pace = PACE, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._pace = pace
        self._clock_s = clock_s
        self._unproven = TokenBucket(pace.unproven, clock_s)
        self._records = Recent[str, _Record](limits.ADDRESSES_REMEMBERED_MAX)
        self._address_of: dict[Guest, str] = {}
        #: Who waits, by address; those addresses in the order of their turns.
        self._known = OrderedDict[str, dict[Guest, None]]()
        self._strangers = OrderedDict[str, dict[Guest, None]]()
        #: Strangers of which more may wait than of a stranger: they became one while they waited.
        self._crowded: dict[str, None] = {}
        self._next_look: asyncio.Handle | None = None

    def __len__(self) -> int:
        """How many wait."""
        return len(self._address_of)

    def queue(self, guest: Guest, address: str) -> None:
        """Let a guest in when its turn has come, or refuse it."""
        is_stranger = self._is_stranger(address)
        crowd = self._known.get(address) or self._strangers.get(address) or {}
        most = self._pace.stranger_waiting_max if is_stranger else self._pace.waiting_max
        if len(crowd) >= most or len(self) >= self._pace.waiting_max:
            guest.refuse(as_stranger=is_stranger)
            return
        self._address_of[guest] = address
        crowd[guest] = None
        if len(crowd) == 1:
            self._put_last(address, crowd)
        if self._next_look is None:
            self._next_look = asyncio.get_running_loop().call_soon(self._let_in)

    def leave(self, guest: Guest) -> None:
        """A guest is gone; it may have entered, or been refused."""
        address = self._address_of.pop(guest, None)
        if address is None:
            return
        for ring in (self._known, self._strangers):
            crowd = ring.get(address)
            if crowd is not None:
                del crowd[guest]
                if not crowd:
                    del ring[address]

    def note_hello(self, address: str) -> None:
        """A socket of an address has said a good hello."""
        self._unproven.give_back()
        record = self._records.get(address)
        if record is not None:
            record.add(-1)

    def note_silence(self, address: str) -> None:
        """A socket of an address has ended without a hello, or should have said it by now."""
        if address in OWN:
            return
        record = self._records.get(address) or _Record(self._clock_s)
        self._records[address] = record
        record.add(1)
        if address in self._known and record.is_stranger:
            self._strangers[address] = self._known.pop(address)
            self._crowded[address] = None

    def _is_stranger(self, address: str) -> bool:
        record = self._records.get(address)
        return record is not None and record.is_stranger

    def _put_last(self, address: str, crowd: dict[Guest, None]) -> None:
        if crowd:
            (self._strangers if self._is_stranger(address) else self._known)[address] = crowd

    def _let_in(self) -> None:
        entering: list[Guest] = []
        while len(entering) < self._pace.per_turn_max and self._unproven.has_one():
            guest = self._next_known() or self._next_stranger()
            if guest is None:
                break
            self._unproven.take()
            entering.append(guest)
        refused = self._superfluous()
        self._next_look = None
        if self._address_of:
            loop = asyncio.get_running_loop()
            self._next_look = (
                loop.call_soon(self._let_in)
                if entering or refused
                else loop.call_later(_PAUSE_S, self._let_in)
            )
        for guest in entering:
            try:
                guest.enter()
            except Exception:
                log.exception("action=handshake_failed")
        for guest in refused:
            guest.refuse(as_stranger=True)

    def _superfluous(self) -> list[Guest]:
        """Some of those that wait of strangers and are too many, the newest first."""
        found: list[Guest] = []
        while self._crowded and len(found) < _LOOKS:
            address = next(iter(self._crowded))
            crowd = self._strangers.get(address, {})
            if len(crowd) > self._pace.stranger_waiting_max:
                guest, _ = crowd.popitem()
                del self._address_of[guest]
                found.append(guest)
            else:
                del self._crowded[address]
        return found

    def _next_known(self) -> Guest | None:
        return self._take(*self._known.popitem(last=False)) if self._known else None

    def _next_stranger(self) -> Guest | None:
        for _ in range(min(len(self._strangers), _LOOKS)):
            address, crowd = self._strangers.popitem(last=False)
            record = self._records.get(address)
            if record is None or not record.is_stranger:
                return self._take(address, crowd)
            record.bucket = record.bucket or TokenBucket(self._pace.stranger, self._clock_s)
            if record.bucket.take():
                return self._take(address, crowd)
            self._put_last(address, crowd)
        return None

    def _take(self, address: str, crowd: dict[Guest, None]) -> Guest:
        guest = next(iter(crowd))
        del crowd[guest], self._address_of[guest]
        self._put_last(address, crowd)
        return guest


#: Where new websockets of this process wait for their turn.
ENTRANCE: Final = Entrance()
