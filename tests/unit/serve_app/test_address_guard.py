"""Who may look PINs up: a school gets in, a guesser does not, whatever it asks for."""

import asyncio
from collections import Counter

import pytest

from actors.cache import Cache
from engine import limits
from engine.errors import NotFound, Unavailable
from serve_app import address_guard as module
from serve_app.address_guard import AddressGuard, HeldBack
from serve_app.errors import TooOften
from serve_app.rate import KeyedBuckets, Rate

PIN, NEW, GUESS = "123456", "654321", "000000"
GUESSER, SCHOOL = "192.0.2.1", "192.0.2.2"


class FakeDirectory:
    """Knows the live PINs.

    Attributes:
        gate: cleared, it holds look-ups.
        looked_up: what was asked for.
    """

    def __init__(self):
        self.live = {PIN}
        self.looked_up = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.error = None

    async def has_pin(self, pin):
        self.looked_up.append(pin)
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return pin in self.live


@pytest.fixture
def held(monkeypatch):
    """The addresses whose refusals were held back, without the wait."""
    held = []

    async def wait(_self, address):
        held.append(address)

    monkeypatch.setattr(HeldBack, "wait", wait)
    return held


@pytest.fixture
def directory():
    return FakeDirectory()


@pytest.fixture
def guard(directory, held, monkeypatch):
    """Without Redis, and with buckets that do not fill while a test runs."""
    for name in [name for name in vars(module) if name.endswith("_RATE")]:
        monkeypatch.setattr(module, name, Rate(1e-9, getattr(module, name).burst))
    return AddressGuard(Cache("unix:///nowhere"), directory)


async def look(guard, address, pin=PIN, *, is_join=False, times=1):
    """What so many look-ups at once come to, by class."""
    got = await asyncio.gather(
        *(guard.pin_refusal(address, pin, is_join=is_join) for _ in range(times))
    )
    return [type(error) for error in got]


async def use_up(guard, address):
    for number in range(limits.PIN_MISSES_BURST_MAX):
        assert await look(guard, address, f"9{number:05}") == [NotFound]


async def test_a_guesser_is_refused_whether_it_guesses_right_or_not(guard, directory):
    await use_up(guard, GUESSER)
    directory.looked_up.clear()
    assert await look(guard, GUESSER, GUESS) == [TooOften]
    assert await look(guard, GUESSER, PIN) == [TooOften], "the answer would tell"
    assert await look(guard, GUESSER, "no pin") == [TooOften]
    assert directory.looked_up == []
    assert await look(guard, SCHOOL) == [type(None)], "nobody else is"


async def test_a_school_with_a_guesser_in_it_still_plays_what_it_has_found(guard, directory):
    directory.live.add(NEW)
    assert await look(guard, SCHOOL, times=3) == [type(None)] * 3
    await use_up(guard, SCHOOL)
    assert await look(guard, SCHOOL, times=1_000) == [type(None)] * 1_000
    assert await look(guard, SCHOOL, NEW) == [TooOften]
    guard.note_found(SCHOOL, NEW)  # its own host has opened it
    assert await look(guard, SCHOOL, NEW, is_join=True) == [type(None)]
    directory.live.remove(PIN)
    assert await look(guard, SCHOOL, PIN) == [NotFound], "it is over"


async def test_a_thousand_who_scan_a_code_together_get_in(guard, directory):
    directory.gate.clear()
    coming = asyncio.ensure_future(look(guard, SCHOOL, is_join=True, times=1_000))
    await asyncio.sleep(0)
    directory.gate.set()
    assert await coming == [type(None)] * 1_000


async def test_guesses_at_once_are_no_way_around(guard, directory):
    directory.gate.clear()
    guesses = [
        asyncio.ensure_future(guard.pin_refusal(GUESSER, f"{n:06}", is_join=False))
        for n in range(500)
    ]
    for _ in range(5):
        await asyncio.sleep(0)
    assert len(directory.looked_up) == limits.PIN_LOOKUPS_WAITING_MAX
    assert await look(guard, SCHOOL, "no pin") == [NotFound]
    directory.gate.set()
    got = [type(error) for error in await asyncio.gather(*guesses)]
    assert got.count(NotFound) == limits.PIN_LOOKUPS_WAITING_MAX
    assert got.count(TooOften) == 500 - limits.PIN_LOOKUPS_WAITING_MAX
    assert guard._waiting == {}


async def test_the_first_misses_are_told_at_once_and_the_others_later(guard, held):
    for _ in range(limits.PIN_MISSES_SWIFT):
        await look(guard, SCHOOL, GUESS)
    assert held == []
    await look(guard, SCHOOL, GUESS)
    assert held == [SCHOOL]
    await look(guard, SCHOOL, PIN)
    assert held == [SCHOOL], "what is found does not wait"


async def test_joins_from_an_address_are_limited_for_each_session_and_for_all(guard, held):
    most = limits.JOINS_ADDRESS_SESSION_BURST_MAX
    got = await look(guard, SCHOOL, is_join=True, times=most + 10)
    assert (got.count(type(None)), got.count(TooOften)) == (most, 10)
    assert held == [SCHOOL] * 10
    assert await look(guard, GUESSER, is_join=True) == [type(None)]
    assert await look(guard, SCHOOL) == [type(None)], "looking is not joining"


async def test_look_ups_that_find_are_limited_too(guard):
    most = limits.LOOKUPS_ADDRESS_BURST_MAX
    got = await look(guard, GUESSER, times=most + 10)
    assert (got.count(type(None)), got.count(TooOften)) == (most, 10)


async def read(guard, address, bearers):
    """What a read with each of some tokens comes to, by class."""
    return [type(await guard.read_refusal(address, bearer)) for bearer in bearers]


async def test_reads_with_one_token_are_limited_and_hurt_nobody_behind_the_same_address(
    guard, held
):
    most = limits.READS_TOKEN_BURST_MAX
    times = limits.READS_ADDRESS_BURST_MAX
    got = await read(guard, SCHOOL, [b"Bearer hammers"] * times)
    assert (got.count(type(None)), got.count(TooOften)) == (most, times - most)
    assert held == [SCHOOL] * (times - most)
    others = [b"Bearer %d" % number for number in range(times - most)]
    assert set(await read(guard, SCHOOL, others)) == {type(None)}
    assert await read(guard, GUESSER, [b"Bearer hammers"]) == [type(None)], "from elsewhere"


async def test_reads_from_one_address_are_limited_whatever_the_tokens(guard, held):
    most = limits.READS_ADDRESS_BURST_MAX
    forged = [b"Bearer %d" % number for number in range(most + 10)]
    got = await read(guard, GUESSER, forged)
    assert (got.count(type(None)), got.count(TooOften)) == (most, 10)
    assert held == [GUESSER] * 10
    assert await read(guard, SCHOOL, forged[-1:]) == [type(None)]
    assert set(await read(guard, "::1", forged)) == {type(None)}
    assert set(await read(guard, "127.0.0.1", [b""] * len(forged))) == {type(None)}


async def test_a_school_that_polls_is_served_beside_one_of_it_who_hammers(
    directory, held, monkeypatch
):
    """300 pages that read once in two seconds for five minutes, and one that reads 100 times a second."""
    now_s = 0.0
    monkeypatch.setattr(
        module, "KeyedBuckets", lambda rate, most: KeyedBuckets(rate, most, lambda: now_s)
    )
    guard = AddressGuard(Cache("unix:///nowhere"), directory)
    hammered = Counter()
    for tick in range(30_000):
        now_s = tick / 100
        hammered.update(await read(guard, SCHOOL, [b"Bearer hammers"]))
        pages = [b"Bearer %d" % page for page in range(300) if page % 200 == tick % 200]
        assert set(await read(guard, SCHOOL, pages)) <= {type(None)}
    served = limits.READS_TOKEN_BURST_MAX + 300 * limits.READS_TOKEN_PER_S_MAX
    assert abs(hammered[type(None)] - served) <= 1
    assert hammered[TooOften] == len(held) == 30_000 - hammered[type(None)]


async def test_what_is_remembered_of_tokens_is_bounded_and_no_token(directory, held, monkeypatch):
    monkeypatch.setattr(module, "_KEYS_MAX", 10)
    guard = AddressGuard(Cache("unix:///nowhere"), directory)
    await read(guard, GUESSER, [b"Bearer a-secret-%d" % number for number in range(100)])
    assert len(guard._token_reads) == 10
    assert all(isinstance(key[1], int) for key in guard._token_reads._buckets)


async def test_this_machine_is_not_limited(guard, directory):
    got = await look(guard, "127.0.0.1", GUESS, times=limits.LOOKUPS_ADDRESS_BURST_MAX + 10)
    assert set(got) == {type(None)}, "the route says what is not there"


async def test_a_database_that_is_away_is_nobodys_miss(guard, directory):
    directory.error = Unavailable("away")
    for _ in range(limits.PIN_MISSES_BURST_MAX + 1):
        with pytest.raises(Unavailable):
            await guard.pin_refusal(SCHOOL, PIN, is_join=False)
    directory.error = None
    assert await look(guard, SCHOOL) == [type(None)]


async def test_what_is_remembered_of_addresses_is_bounded(guard, directory, monkeypatch):
    directory.live |= {f"{n:06}" for n in range(100)}
    for n in range(100):
        await look(guard, SCHOOL, f"{n:06}")
    assert len(guard._found[SCHOOL]) == limits.PINS_FOUND_MAX


# --- held back -------------------------------------------------------------------------------------


async def test_the_more_wait_the_longer_they_wait_and_only_so_many_do():
    held = HeldBack()
    waiting = []
    delays = []
    for _ in range(limits.HELD_ADDRESS_MAX):
        delays.append(held.delay_s(GUESSER))
        waiting.append(asyncio.ensure_future(held.wait(GUESSER)))
        await asyncio.sleep(0)
    assert delays[0] == limits.HELD_MS / 1000
    assert delays == sorted(delays)
    assert delays[-1] > 5
    assert held.delay_s(GUESSER) == 0
    others = held.delay_s(SCHOOL)
    assert 1 < others < delays[-1]
    others_max = limits.HELD_MAX - limits.HELD_ADDRESS_MAX
    waiting += [asyncio.ensure_future(held.wait(f"address {n}")) for n in range(others_max)]
    await asyncio.sleep(0)
    assert held.delay_s(SCHOOL) == 0
    await held.wait(SCHOOL)  # at once
    for task in waiting:
        task.cancel()  # as Serve does when a client goes away
    await asyncio.gather(*waiting, return_exceptions=True)
    assert held.delay_s(GUESSER) == limits.HELD_MS / 1000
    assert not held._by_address


async def test_it_ends(monkeypatch):
    monkeypatch.setattr(limits, "HELD_MS", 1)
    held = HeldBack()
    async with asyncio.timeout(10):
        await asyncio.gather(*(held.wait(GUESSER) for _ in range(3)))
