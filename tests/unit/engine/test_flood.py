"""A hall, however large and quick, is no flood; a program that joins and never connects is one."""

import pytest

from engine import limits
from engine.flood import FloodWatch

#: Just more than is borne.
BOTS = limits.FLOOD_UNSEEN_MAX + 1
GRACE = limits.FLOOD_GRACE_MS


def watched(*, bots=0, people=0, slow=0, at_ms=0):
    """So many who never connect, who connect at once, and who connect in the last moment."""
    watch = FloodWatch()
    for who in range(bots + people + slow):
        watch.joined(who, at_ms)
    for who in range(bots, bots + people):
        watch.seen(who)
    watch.is_flood(at_ms + GRACE - 1)
    for who in range(bots + people, bots + people + slow):
        watch.seen(who)
    return watch


@pytest.mark.parametrize("people", [1, 30, 5_000])
def test_a_hall_that_scans_the_code_in_one_instant_is_no_flood(people):
    watch = watched(people=people, slow=people)
    assert not watch.is_flood(GRACE)


def test_a_program_that_joins_and_never_connects_is_a_flood_once_it_had_the_time():
    watch = watched(bots=BOTS, people=30)
    assert not watch.is_flood(GRACE - 1)
    assert watch.is_flood(GRACE)


def test_a_few_who_never_connect_are_none():
    assert not watched(bots=BOTS - 1).is_flood(GRACE)


def test_a_hall_of_which_less_than_half_never_connects_is_none():
    assert not watched(bots=BOTS, people=BOTS).is_flood(GRACE)
    assert watched(bots=BOTS, people=BOTS - 1).is_flood(GRACE)


def test_those_who_connect_late_are_no_bots_any_more():
    watch = watched(bots=BOTS)
    assert watch.is_flood(GRACE)
    watch.seen(0)
    assert not watch.is_flood(GRACE)
    assert len(watch.unseen) == BOTS - 1


def test_what_is_long_ago_is_no_flood_but_is_remembered():
    watch = watched(bots=BOTS)
    assert not watch.is_flood(limits.FLOOD_WINDOW_MS)
    assert len(watch.unseen) == BOTS


def test_a_flood_that_comes_slowly_is_seen_when_there_are_too_many_within_the_window():
    watch = FloodWatch()
    apart_ms = (limits.FLOOD_WINDOW_MS - GRACE) // (BOTS + 5)
    seen_at = 0
    for who in range(2 * BOTS):
        watch.joined(who, who * apart_ms)
        if not seen_at and watch.is_flood(who * apart_ms):
            seen_at = who
    assert BOTS <= seen_at < 2 * BOTS
    slowly = FloodWatch()
    for who in range(5 * BOTS):
        at_ms = who * limits.FLOOD_WINDOW_MS // (BOTS - 1)
        slowly.joined(who, at_ms)
        assert not slowly.is_flood(at_ms)


def test_a_watch_holds_no_more_than_those_of_its_window_and_who_never_connected():
    watch = FloodWatch()
    for who in range(10_000):
        watch.joined(who, 10 * who)
        watch.seen(who)
        watch.is_flood(10 * who)
    assert len(watch._due) + len(watch._judged) <= limits.FLOOD_WINDOW_MS // 10 + 1
    assert not watch.unseen
    assert not watch._unseen_judged
