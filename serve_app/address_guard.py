"""What one address may ask for: look-ups of PINs, joins, reads of a session.

Everybody may look a PIN up, but no address so often that it finds PINs by trying them.

Found PINs are cheap, and a thousand people behind one address find the same one; what a guesser does is
miss. So misses are counted by address. An address that has none left is refused whatever it asks for,
found or not, since an answer would tell; except for the PINs that were found from there before, or
opened there: a guesser in a school does not shut the school out.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Final

from actors.cache import Cache
from actors.directory import Directory
from engine import limits
from engine.errors import NotFound, QuizError
from engine.ids import Pin
from engine.pins import read_pin
from serve_app.client_address import OWN
from serve_app.errors import TooOften
from serve_app.rate import KeyedBuckets, Rate, Recent
from serve_app.shared_rate import SharedAllowance, SharedRate

_KEYS_MAX = limits.ADDRESSES_REMEMBERED_MAX
_LOOKUP_RATE: Final = Rate(limits.LOOKUPS_ADDRESS_PER_S_MAX, limits.LOOKUPS_ADDRESS_BURST_MAX)
_READ_RATE: Final = Rate(limits.READS_ADDRESS_PER_S_MAX, limits.READS_ADDRESS_BURST_MAX)
_READ_TOKEN_RATE: Final = Rate(limits.READS_TOKEN_PER_S_MAX, limits.READS_TOKEN_BURST_MAX)
_MISS_RATE: Final = Rate(limits.PIN_MISSES_PER_MIN_MAX / 60, limits.PIN_MISSES_BURST_MAX)
_JOIN_RATE: Final = Rate(limits.JOINS_ADDRESS_PER_S_MAX, limits.JOINS_ADDRESS_BURST_MAX)
_JOIN_SESSION_RATE: Final = Rate(
    limits.JOINS_ADDRESS_SESSION_PER_S_MAX, limits.JOINS_ADDRESS_SESSION_BURST_MAX
)


class HeldBack:
    """Refusals that wait before they are told, so that who asks again and again is slowed down."""

    def __init__(self) -> None:
        self._by_address = Counter[str]()
        self._count = 0

    def delay_s(self, address: str) -> float:
        """How long the next refusal to an address waits; 0 where as many wait as may."""
        mine = self._by_address[address]
        if mine >= limits.HELD_ADDRESS_MAX or self._count >= limits.HELD_MAX:
            return 0.0
        more_s = max(mine / limits.HELD_ADDRESS_STEP, self._count / limits.HELD_STEP)
        return limits.HELD_MS / 1000 + more_s

    async def wait(self, address: str) -> None:
        """Return when a refusal may be told."""
        delay_s = self.delay_s(address)
        if not delay_s:
            return
        self._by_address[address] += 1
        self._count += 1
        try:
            await asyncio.sleep(delay_s)
        finally:
            self._count -= 1
            self._by_address[address] -= 1
            if not self._by_address[address]:
                del self._by_address[address]


class AddressGuard:
    """What one replica knows of the addresses that ask it."""

    def __init__(self, cache: Cache, directory: Directory) -> None:
        self._directory = directory
        self._lookups = KeyedBuckets(_LOOKUP_RATE, _KEYS_MAX)
        self._reads = KeyedBuckets(_READ_RATE, _KEYS_MAX)
        #: By address and token. Of a token only its hash in this process is kept.
        self._token_reads = KeyedBuckets(_READ_TOKEN_RATE, _KEYS_MAX)
        self._misses = SharedAllowance(cache, "pin-misses", _MISS_RATE, _KEYS_MAX)
        self._joins = SharedRate(cache, "joins-address", _JOIN_RATE, _KEYS_MAX)
        self._session_joins = SharedRate(
            cache, "joins-address-session", _JOIN_SESSION_RATE, _KEYS_MAX
        )
        #: PINs that were found from an address.
        self._found = Recent[str, dict[Pin | None, None]](_KEYS_MAX)
        #: PINs that are being looked up for an address, each with how many ask for it.
        self._waiting: dict[str, Counter[Pin]] = {}
        self._held = HeldBack()

    async def read_refusal(self, address: str, bearer: bytes) -> QuizError | None:
        """Why a session is not read, once that may be told; None when it may be.

        A token that is used up takes nothing from what the others behind its address have.

        Args:
            address: where the request came from.
            bearer: its header ``authorization`` as it came; it is not checked here.
        """
        if address in OWN:
            return None
        if not self._token_reads.take((address, hash(bearer))):
            error = TooOften("reads: too many come with your token; wait a moment")
        elif not self._reads.take(address):
            error = TooOften("reads: too many come from your address; wait a moment")
        else:
            return None
        await self._held.wait(address)
        return error

    async def pin_refusal(self, address: str, typed: str, *, is_join: bool) -> QuizError | None:
        """Why a look-up of a PIN goes no further, once that may be told; None when it may go on.

        Raises:
            Unavailable: see :meth:`Directory.has_pin`.
        """
        if address in OWN:
            return None
        error = await self._decide(address, typed, is_join=is_join)
        if error is not None and (
            isinstance(error, TooOften)
            or self._misses.left(address) < _MISS_RATE.burst - limits.PIN_MISSES_SWIFT
        ):
            await self._held.wait(address)
        return error

    def note_found(self, address: str, pin: Pin) -> None:
        """A PIN that an address knows: it was found from there, or its session was opened there."""
        found = self._found.get(address)
        if found is None:
            found = Recent[Pin | None, None](limits.PINS_FOUND_MAX)
        found[pin] = None
        self._found[address] = found

    async def _decide(self, address: str, typed: str, *, is_join: bool) -> QuizError | None:
        if not self._lookups.take(address):
            return TooOften("pins: too many look-ups come from your address; wait a moment")
        pin = read_pin(typed)
        found = self._found.get(address, {})
        is_known = pin in found
        if not is_known and self._misses.left(address) < 1:
            return TooOften(
                "pins: too many look-ups from your address found nothing; wait a moment"
            )
        waiting = self._waiting.get(address, ())
        if not is_known and pin not in waiting and len(waiting) >= limits.PIN_LOOKUPS_WAITING_MAX:
            return TooOften("pins: too many look-ups come from your address at once; wait a moment")
        if pin is None or not await self._is_live(address, pin):
            await self._misses.charge(address)
            found.pop(pin, None)  # it is over
            return NotFound(f"pin: no live session has {typed[: limits.PIN_TYPED_CHARS_MAX]}")
        if not is_known:
            self.note_found(address, pin)
        if is_join and not (
            await self._session_joins.take(f"{address} {pin}") and await self._joins.take(address)
        ):
            return TooOften("joins: too many come from your address; wait a moment")
        return None

    async def _is_live(self, address: str, pin: Pin) -> bool:
        waiting = self._waiting.setdefault(address, Counter())
        waiting[pin] += 1
        try:
            return await self._directory.has_pin(pin)
        finally:
            waiting[pin] -= 1
            if not waiting[pin]:
                del waiting[pin]
            if not waiting:
                del self._waiting[address]
