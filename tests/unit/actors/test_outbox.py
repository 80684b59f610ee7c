"""Group commit: order, one append in flight, and nobody's failure or departure stops the others."""

import asyncio

import pytest

from actors import outbox as module
from actors.memory import MemoryStore
from actors.outbox import Outbox
from engine import limits
from engine.errors import Fenced, Unavailable
from engine.events import Joined


def people(first, count=1):
    return [Joined(n, f"key-of-{n}", f"Name {n}", 1_000 + n) for n in range(first, first + count)]


class Owner:
    """An outbox over a store in memory, and what it told its owner."""

    def __init__(self, first_seq=1):
        self.store = MemoryStore()
        self.applied = []
        self.failures = []
        self.on_stored = self.applied.extend
        self.outbox = Outbox(self.store.log(), first_seq, self._stored, self.failures.append)

    def _stored(self, events):
        self.on_stored(events)  # a test may have put another one in its place

    @property
    def stored(self):
        return [record.event for record in self.store.records]

    @property
    def appended(self):
        """How many records each append had."""
        return [len(records) for records in self.store.appends]


@pytest.fixture
async def owner():
    owner = Owner()
    yield owner
    await owner.outbox.close()


async def test_what_is_added_is_durable_and_applied_when_its_future_ends(owner):
    await owner.outbox.add(people(1, 3))
    assert owner.stored == owner.applied == people(1, 3)
    assert len(owner.outbox) == 0


async def test_numbers_go_on_from_where_the_log_ended():
    owner = Owner(first_seq=41)
    await owner.outbox.add(people(1, 2))
    await owner.outbox.add(people(3))
    assert [record.seq for record in owner.store.records] == [41, 42, 43]
    await owner.outbox.close()


async def test_what_comes_while_an_append_is_in_flight_goes_together_with_the_next(owner, until):
    owner.store.commits.clear()
    futures = [owner.outbox.add(people(1))]
    await until(lambda: owner.appended == [1])
    futures += [owner.outbox.add(people(n)) for n in range(2, 6)]
    assert len(owner.outbox) == 5
    owner.store.commits.set()
    await asyncio.gather(*futures)
    assert owner.appended == [1, 4]
    assert owner.applied == people(1, 5)


async def test_one_append_is_in_flight_at_a_time(owner, until):
    in_flight, most = 0, 0
    append = owner.outbox._log.append

    async def counted(records):
        nonlocal in_flight, most
        in_flight += 1
        most = max(most, in_flight)
        await append(records)
        in_flight -= 1

    owner.outbox._log.append = counted
    for n in range(1, 20):
        owner.outbox.add(people(n))
        await asyncio.sleep(0)
    await owner.outbox.flushed()
    assert most == 1
    assert owner.stored == people(1, 19)


async def test_nothing_is_seen_before_it_is_durable_and_nobody_is_told_before_it_is_applied(
    owner, until
):
    seen = []
    owner.on_stored = lambda events: seen.append(("applied", list(events) == owner.stored))
    owner.store.commits.clear()
    future = owner.outbox.add(people(1))
    future.add_done_callback(lambda _: seen.append("told"))
    await until(lambda: owner.appended == [1])
    assert seen == []
    owner.store.commits.set()
    await until(lambda: len(seen) == 2)
    assert seen == [("applied", True), "told"]


async def test_chunks_are_never_split_and_an_append_is_bounded(owner, until):
    owner.store.commits.clear()
    owner.outbox.add(people(1))
    await until(lambda: owner.appended == [1])
    big = limits.APPEND_ROWS_MAX // 2 + 1
    for n in range(3):
        owner.outbox.add(people(10_000 * (n + 1), big))
    owner.store.commits.set()
    await owner.outbox.flushed()
    assert owner.appended == [1, big, big, big]


async def test_a_failed_append_is_tried_again_with_the_same_records(owner, until):
    owner.store.away = True
    future = owner.outbox.add(people(1, 2))
    await until(lambda: len(owner.appended) >= 3)
    later = owner.outbox.add(people(3))
    assert not future.done()
    assert owner.applied == []
    owner.store.away = False
    await later
    tries = owner.store.appends
    assert all(records == tries[0] for records in tries[:-1])
    assert owner.stored == owner.applied == people(1, 3)


async def test_a_lost_reply_stores_nothing_twice(owner, until):
    owner.store.swallows_replies = True
    future = owner.outbox.add(people(1))
    await until(lambda: len(owner.appended) >= 2)
    assert owner.stored == people(1)
    assert not future.done()
    owner.store.swallows_replies = False
    await future
    assert owner.stored == owner.applied == people(1)


async def test_a_fault_that_nobody_expected_leaves_the_outcome_unknown_too(owner, until, caplog):
    append = owner.outbox._log.append

    async def broken(records):
        await append(records)
        raise ZeroDivisionError

    owner.outbox._log.append = broken
    future = owner.outbox.add(people(1))
    await until(lambda: "append_failed" in caplog.text)
    assert not future.done()
    owner.outbox._log.append = append
    await future
    assert owner.applied == people(1)


async def test_an_append_that_always_fails_is_given_up_and_the_owner_leaves(owner, monkeypatch):
    monkeypatch.setattr(module, "_BACKOFF_S_MIN", 0.001)
    tried = 0

    async def refused(_records):
        nonlocal tried
        tried += 1
        raise ZeroDivisionError

    owner.outbox._log.append = refused
    first, second = owner.outbox.add(people(1)), owner.outbox.add(people(2))
    for future in (first, second):
        async with asyncio.timeout(20):
            with pytest.raises(Unavailable, match="could not be stored"):
                await future
    assert tried == limits.APPEND_FAILURES_MAX
    assert [type(error) for error in owner.failures] == [ZeroDivisionError]
    assert owner.applied == []


async def test_a_store_that_is_away_is_waited_for_however_long(owner, monkeypatch):
    monkeypatch.setattr(module, "_BACKOFF_S_MAX", 0.001)
    append, failures = owner.outbox._log.append, 5 * limits.APPEND_FAILURES_MAX

    async def away(records):
        nonlocal failures
        failures -= 1
        if failures:
            raise Unavailable("the store is away")
        await append(records)

    owner.outbox._log.append = away
    await owner.outbox.add(people(1))
    assert owner.failures == []
    assert owner.applied == people(1)


async def test_failures_of_appends_that_came_through_are_forgotten(owner, monkeypatch):
    monkeypatch.setattr(module, "_BACKOFF_S_MIN", 0.001)
    append, fails = owner.outbox._log.append, True

    async def every_other_time(records):
        nonlocal fails
        fails = not fails
        if not fails:
            assert not owner.outbox.is_failing
            raise ZeroDivisionError
        assert owner.outbox.is_failing
        await append(records)

    owner.outbox._log.append = every_other_time
    for number in range(1, 2 * limits.APPEND_FAILURES_MAX):
        await owner.outbox.add(people(number))
    assert owner.failures == []
    assert not owner.outbox.is_failing


async def test_a_fenced_outbox_applies_nothing_tells_its_owner_and_takes_nothing_more(owner, until):
    owner.store.commits.clear()
    in_flight = owner.outbox.add(people(1))
    await until(lambda: owner.appended == [1])
    waiting = owner.outbox.add(people(2))
    owner.store.log()  # another actor takes the session over
    owner.store.commits.set()
    for future in (in_flight, waiting):
        with pytest.raises(Fenced):
            await future
    assert len(owner.failures) == 1
    assert isinstance(owner.failures[0], Fenced)
    for late in (owner.outbox.add(people(3)), owner.outbox.flushed()):
        with pytest.raises(Fenced):
            await late
    assert owner.stored == owner.applied == []


async def test_who_has_gone_holds_nobody_up(owner, until):
    owner.store.commits.clear()
    gone = owner.outbox.add(people(1))
    await until(lambda: owner.appended == [1])
    also_gone = owner.outbox.add(people(2))
    stays = owner.outbox.add(people(3))
    gone.cancel()
    also_gone.cancel()
    owner.store.commits.set()
    await stays
    assert owner.applied == people(1, 3)
    await owner.outbox.add(people(4))
    assert owner.stored == people(1, 4)


async def test_who_has_gone_does_not_make_the_outbox_look_flushed(owner, until):
    owner.store.commits.clear()
    owner.outbox.add(people(1)).cancel()
    owner.outbox.flushed().cancel()
    await until(lambda: owner.appended == [1])
    flushed = owner.outbox.flushed()
    assert not flushed.done()
    owner.store.commits.set()
    await flushed
    assert owner.applied == people(1)


async def test_an_outbox_that_never_took_anything_is_flushed(owner):
    await owner.outbox.flushed()
    assert owner.appended == []


async def test_a_stored_event_that_cannot_be_applied_ends_the_outbox(owner, until):
    def fail(events):
        raise ZeroDivisionError

    owner.on_stored = fail
    future = owner.outbox.add(people(1))
    with pytest.raises(Unavailable):
        await future
    assert isinstance(owner.failures[0], ZeroDivisionError)
    with pytest.raises(Unavailable):
        await owner.outbox.add(people(2))
    assert owner.stored == people(1)


async def test_a_close_leaves_nobody_waiting(owner, until):
    owner.store.commits.clear()
    in_flight = owner.outbox.add(people(1))
    await until(lambda: owner.appended == [1])
    waiting = owner.outbox.add(people(2))
    flushed = owner.outbox.flushed()
    await owner.outbox.close()
    for future in (in_flight, waiting, flushed, owner.outbox.add(people(3))):
        with pytest.raises(Unavailable):
            await future
    assert owner.failures == []


async def test_an_outbox_is_full_until_its_events_are_stored(owner, monkeypatch):
    monkeypatch.setattr(limits, "OUTBOX_EVENTS_MAX", 100)
    owner.store.commits.clear()
    owner.outbox.add(people(1, limits.OUTBOX_EVENTS_MAX - 1))
    assert not owner.outbox.is_full
    owner.outbox.add(people(limits.OUTBOX_EVENTS_MAX))
    assert owner.outbox.is_full
    owner.store.commits.set()
    await owner.outbox.flushed()
    assert not owner.outbox.is_full
    assert len(owner.stored) == limits.OUTBOX_EVENTS_MAX
