"""Places for sockets that have not said hello: honest people get one while a flood lasts."""

import random
from collections import Counter

import pytest

from engine import limits
from serve_app.newcomers import Newcomers


class Record:
    """Counts what is noted of each address."""

    def __init__(self):
        self.hellos, self.silences = Counter(), Counter()

    def note_hello(self, address):
        self.hellos[address] += 1

    def note_silence(self, address):
        self.silences[address] += 1


class Clock:
    now_s = 1_000.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def record():
    return Record()


@pytest.fixture
def make(record):
    """Newcomers of which so many may be, at all and from one address."""
    return lambda all_max, per_address_max, *clock: Newcomers(
        all_max, per_address_max, record, *clock
    )


class Socket:
    def __init__(self, address):
        self.address = address
        self.closed_as = None

    def close_as(self, name):
        assert self.closed_as is None
        self.closed_as = name


@pytest.fixture
def connect():
    """Let sockets connect, one after the other, from the addresses given."""

    def connect(newcomers, *addresses):
        sockets = [Socket(address) for address in addresses]
        for socket in sockets:
            newcomers.add(socket, socket.address)
        return sockets

    return connect


def sent_away(sockets):
    assert {socket.closed_as for socket in sockets} <= {None, "hello_late"}
    return [socket.closed_as is not None for socket in sockets]


def test_the_oldest_of_the_same_address_goes(make, connect):
    newcomers = make(100, 2)
    assert sent_away(connect(newcomers, *"aabaaab")) == [
        True, True, False, True, False, False, False
    ]  # fmt: skip
    assert len(newcomers) == 4


def test_the_oldest_of_the_address_that_has_most_goes(make, connect):
    newcomers = make(4, 3)
    flood, honest = connect(newcomers, *"aaa"), connect(newcomers, *"bcdefg")
    assert sent_away(flood) == [True, True, False]
    assert sent_away(honest) == [True, True, True, False, False, False], "by now all have one"


def test_whoever_has_said_hello_takes_no_place(make, connect):
    newcomers = make(2, 2)
    school = []
    for _ in range(1_000):
        (phone,) = connect(newcomers, "school")
        newcomers.greet(phone)
        newcomers.remove(phone)
        school.append(phone)
    assert sent_away(school) == [False] * 1_000
    assert len(newcomers) == 0


def test_a_flood_from_as_many_addresses_as_it_likes_is_bounded_in_number_and_memory(make, connect):
    newcomers = make(50, 10)
    connect(newcomers, *(f"address {number}" for number in range(1_000)))
    assert len(newcomers) == len(newcomers._crowds) == 50


@pytest.mark.parametrize("seed", range(20))
def test_it_does_the_same_as_counting_would(seed, make, connect):
    rng = random.Random(seed)
    newcomers, here = make(12, 4), []
    for _ in range(2_000):
        if here and rng.random() < 0.4:
            newcomers.remove(here.pop(rng.randrange(len(here))))
            continue
        address = rng.choice("aaaabbcdef")
        here += connect(newcomers, address)
        counts = {each.address: 0 for each in here}
        for each in here:
            counts[each.address] += 1
        gone = [each for each in here if each.closed_as]
        if counts[address] > 4:
            assert [each.address for each in gone] == [address]
        elif len(here) > 12:
            (most,) = gone
            assert counts[most.address] == max(counts.values())
            assert most is next(each for each in here if each.address == most.address)
        else:
            assert gone == []
        here = [each for each in here if not each.closed_as]
        assert len(newcomers) == len(here)


# --- what is noted of their addresses ---------------------------------------------------------------


def test_a_hello_is_noted_once(make, connect, record):
    newcomers = make(100, 50)
    (phone,) = connect(newcomers, "school")
    for _ in range(2):
        newcomers.greet(phone)
        newcomers.remove(phone)
    assert (record.hellos, record.silences) == ({"school": 1}, {})


def test_an_end_without_a_hello_is_noted_once(make, connect, record):
    clock = Clock()
    newcomers = make(100, 2, clock)
    connect(newcomers, *"aaa")
    assert record.silences == {"a": 1}, "the oldest was sent away"
    (gone,) = connect(newcomers, "b")
    newcomers.remove(gone)
    newcomers.greet(gone)
    clock.now_s += 2 * limits.HELLO_SOON_MS / 1000
    connect(newcomers, "c")
    assert (record.hellos, record.silences) == ({}, {"a": 3, "b": 1})


def test_who_says_nothing_for_long_is_silent_at_once_and_may_say_hello_still(make, connect, record):
    clock = Clock()
    newcomers = make(100, 50, clock)
    slow, silent = connect(newcomers, *"ab")
    clock.now_s += 0.9 * limits.HELLO_SOON_MS / 1000
    connect(newcomers, "c")
    assert record.silences == {}
    clock.now_s += 0.2 * limits.HELLO_SOON_MS / 1000
    connect(newcomers, "c")
    assert record.silences == {"a": 1, "b": 1}
    newcomers.greet(slow)
    newcomers.remove(silent)
    assert (record.hellos, record.silences) == ({"a": 1}, {"a": 1, "b": 1})
    assert sent_away([slow, silent]) == [False, False]
