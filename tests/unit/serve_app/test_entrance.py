"""Who is let in, in which order and at which pace; the clock is the test's."""

import asyncio

import pytest

from engine import limits
from serve_app.rate import Rate
from serve_app.websocket.entrance import PACE, Entrance, Pace

_FAST = Rate(per_s=1_000_000, burst=1_000_000)


class Clock:
    now_s = 1_000.0

    def __call__(self):
        return self.now_s


class Guest:
    """Notes in a list what becomes of it."""

    def __init__(self, name, told, then=None):
        self.name, self._told, self._then = name, told, then

    def enter(self):
        self._told.append(self.name)
        if self._then is not None:
            self._then()

    def refuse(self, *, as_stranger):
        self._told.append(f"{self.name} {'as a stranger' if as_stranger else 'in a crowd'}")


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def told():
    return []


async def turn():
    await asyncio.sleep(0)


@pytest.fixture
def later(clock):
    """Let so many seconds pass on the clock, and the entrance look again."""

    async def later(entrance, seconds):
        clock.now_s += seconds
        if entrance._next_look is not None:
            entrance._next_look.cancel()
            entrance._let_in()
        for _ in range(300):
            await turn()

    return later


def make_stranger(entrance, address, count=limits.SILENT_COUNTED_MAX):
    for _ in range(count):
        entrance.note_silence(address)


# --- a crowd ----------------------------------------------------------------------------------------


def paced(per_turn_max=4, unproven=_FAST, waiting_max=10_000):
    return PACE._replace(per_turn_max=per_turn_max, unproven=unproven, waiting_max=waiting_max)


async def test_a_crowd_enters_in_order_a_few_in_each_turn(told, clock):
    entrance = Entrance(paced(3), clock)
    for number in range(8):
        entrance.queue(Guest(number, told), "a")
    assert told == []
    for count in (3, 6, 8, 8):
        await turn()
        assert told == list(range(count))
    assert len(entrance) == 0


async def test_who_comes_during_a_turn_waits_for_the_next(told, clock):
    entrance = Entrance(paced(2), clock)
    entrance.queue(Guest("first", told, lambda: entrance.queue(Guest("later", told), "a")), "a")
    entrance.queue(Guest("now", told), "a")
    await turn()
    assert told == ["first", "now"]
    await turn()
    assert told == ["first", "now", "later"]


async def test_one_that_fails_holds_up_nobody(told, clock, caplog):
    entrance = Entrance(paced(2), clock)
    entrance.queue(Guest("failed", told, lambda: 1 / 0), "a")
    entrance.queue(Guest("after", told), "a")
    await turn()
    assert told == ["failed", "after"]
    assert "ZeroDivisionError" in caplog.text


async def test_addresses_have_their_turns_one_after_the_other(told, clock):
    entrance = Entrance(paced(1), clock)
    for number in range(3):
        entrance.queue(Guest(f"a{number}", told), "a")
    entrance.queue(Guest("b0", told), "b")
    for _ in range(4):
        await turn()
    assert told == ["a0", "b0", "a1", "a2"]


async def test_who_has_gone_is_not_let_in(told, clock):
    entrance = Entrance(paced(), clock)
    guests = [Guest(number, told) for number in range(3)]
    for guest in guests:
        entrance.queue(guest, "a")
    entrance.leave(guests[1])
    entrance.leave(guests[1])
    await turn()
    assert told == [0, 2]
    entrance.leave(guests[0])
    lonely = Guest(3, told)
    entrance.queue(lonely, "a")
    entrance.leave(lonely)
    await turn()
    assert (told, len(entrance), entrance._known) == ([0, 2], 0, {})


async def test_no_more_wait_than_may(told, clock):
    entrance = Entrance(paced(waiting_max=2), clock)
    for number in range(3):
        entrance.queue(Guest(number, told), "abc"[number])
    assert told == ["2 in a crowd"]


# --- what a hello proves ----------------------------------------------------------------------------


async def test_without_a_hello_so_many_enter_at_once_and_then_a_second(told, clock, later):
    entrance = Entrance(paced(unproven=Rate(per_s=4, burst=10)), clock)
    for number in range(100):
        entrance.queue(Guest(number, told), f"address {number}")
    await later(entrance, 0)
    assert len(told) == 10
    await later(entrance, 2)
    assert len(told) == 18


async def test_a_hello_lets_the_next_one_in(told, clock, later):
    entrance = Entrance(paced(unproven=Rate(per_s=0.001, burst=10)), clock)
    for number in range(100):
        entrance.queue(Guest(number, told), "school")
    await later(entrance, 0)
    for count in range(10, 100):
        assert len(told) == count
        entrance.note_hello("school")
        await later(entrance, 0)
    assert len(told) == 100


async def test_a_thousand_who_scan_the_code_together_are_in_within_two_seconds(told, clock, later):
    """Each needs half a second for its hello."""
    entrance, proven = Entrance(clock_s=clock), 0
    for number in range(1_000):
        entrance.queue(Guest(number, told), "school")
    came = [0] * 5  # at the steps of a tenth of a second before
    for _ in range(20):
        before = len(told)
        await later(entrance, 0.1)
        came.append(len(told) - before)
        for _ in range(came[-6]):
            entrance.note_hello("school")
            proven += 1
    assert len(told) == 1_000
    assert proven > 500


# --- strangers --------------------------------------------------------------------------------------


async def test_a_stranger_waits_behind_all_others_enters_seldom_and_is_refused(told, clock, later):
    entrance = Entrance(clock_s=clock)
    make_stranger(entrance, "flood", limits.SILENT_ADDRESS_MAX)
    entrance.queue(Guest("not yet one", told), "flood")
    await later(entrance, 0)
    make_stranger(entrance, "flood")
    for number in range(100):
        entrance.queue(Guest(f"flood {number}", told), "flood")
    for number in range(100):
        entrance.queue(Guest(f"honest {number}", told), "school")
    refused = [
        f"flood {number} as a stranger" for number in range(limits.STRANGER_WAITING_MAX, 100)
    ]
    assert told == ["not yet one", *refused]
    del told[:]
    await later(entrance, 0)
    honest = [f"honest {number}" for number in range(100)]
    burst = [f"flood {number}" for number in range(limits.STRANGER_HANDSHAKES_BURST_MAX)]
    assert told == [*honest, *burst]
    del told[:]
    for second in range(10):
        for number in range(10):
            entrance.queue(Guest(f"{second} {number}", told), "flood")
        await later(entrance, 1)
    entered = [one for one in told if "stranger" not in one]
    assert len(entered) == 10 * limits.STRANGER_HANDSHAKES_PER_S_MAX


async def test_who_waits_when_the_address_becomes_a_stranger_is_refused(told, clock, later):
    entrance = Entrance(paced(unproven=Rate(per_s=1, burst=1)), clock)
    for number in range(50):
        entrance.queue(Guest(number, told), "flood")
    await later(entrance, 0)
    assert told == [0]
    make_stranger(entrance, "flood")
    await later(entrance, 0)
    assert len(entrance) == limits.STRANGER_WAITING_MAX
    refused = 49 - limits.STRANGER_WAITING_MAX
    assert told == [0, *(f"{number} as a stranger" for number in range(49, 49 - refused, -1))]


async def test_silence_is_forgotten_and_hellos_make_up_for_it(clock):
    entrance = Entrance(clock_s=clock)
    make_stranger(entrance, "flood", 10 * limits.SILENT_COUNTED_MAX)
    too_many = limits.SILENT_COUNTED_MAX - limits.SILENT_ADDRESS_MAX
    clock.now_s += (too_many - 1) / limits.SILENT_FORGOTTEN_PER_S
    assert entrance._is_stranger("flood")
    clock.now_s += 1 / limits.SILENT_FORGOTTEN_PER_S
    assert not entrance._is_stranger("flood")
    make_stranger(entrance, "school")
    for _ in range(too_many):
        assert entrance._is_stranger("school")
        entrance.note_hello("school")
    assert not entrance._is_stranger("school")


async def test_this_machine_is_never_a_stranger(clock):
    entrance = Entrance(clock_s=clock)
    make_stranger(entrance, "127.0.0.1")
    assert not entrance._is_stranger("127.0.0.1")


async def test_addresses_that_are_remembered_are_bounded(clock):
    entrance = Entrance(clock_s=clock)
    for number in range(2 * limits.ADDRESSES_REMEMBERED_MAX):
        entrance.note_silence(f"address {number}")
    assert len(entrance._records) == limits.ADDRESSES_REMEMBERED_MAX


def test_the_pace_is_that_of_the_limits():
    assert isinstance(PACE, Pace)
    assert PACE.unproven == (
        limits.HANDSHAKES_UNPROVEN_PER_S_MAX,
        limits.HANDSHAKES_UNPROVEN_BURST_MAX,
    )
