"""However many read a session, its actor is asked a few times a second, and nobody is told old news."""

import asyncio

import pytest

from actors.results import ResultRow
from engine import limits
from engine.errors import Conflict, Unavailable
from engine.testing.driver import SESSION_ID
from engine.wire import Snapshot, decode_server_message
from serve_app.session_reads import Score, SessionReads


class FakeActors:
    """One session's actor behind its calls.

    Attributes:
        calls: the methods that were called, with their arguments.
        lacks: methods that the actor's version does not have.
        error: what calls raise.
    """

    def __init__(self, actor):
        self.actor = actor
        self.people = 250
        self.calls = []
        self.lacks = ()
        self.error = None

    async def call(self, session_id, method, *args):
        assert session_id == SESSION_ID
        if method in self.lacks:
            raise AttributeError(method)
        self.calls.append((method, *args))
        if self.error is not None:
            raise self.error
        if method in ("view", "snapshot"):
            return self.actor.snapshot()
        offset, rows = args
        return [(n, f"P{n}", 1_000 - n, n) for n in range(1, self.people + 1)][
            offset : offset + rows
        ]


@pytest.fixture
def actors(actor):
    return FakeActors(actor)


@pytest.fixture
def reads(actors):
    return SessionReads(actors)


async def nothing_stored():
    raise Conflict("the session is not finished yet")


async def pages(reads, stored=nothing_stored):
    """All rows, page by page."""
    rows = []
    while page := (
        await reads.scoreboard(SESSION_ID, len(rows), limits.SCOREBOARD_PAGE_ROWS_MAX, stored)
    ).rows:
        rows += page
    return rows


async def test_a_thousand_who_look_at_once_are_one_call(reads, actors):
    got = await asyncio.gather(*(reads.view(SESSION_ID) for _ in range(1_000)))
    assert len(set(got)) == 1
    snapshot = decode_server_message(got[0])
    assert isinstance(snapshot, Snapshot)
    assert snapshot.view == actors.actor.view
    assert actors.calls == [("view",)]


async def test_nobody_is_shown_what_was_before_they_asked(reads, actors):
    await reads.view(SESSION_ID)
    actors.actor.joined("Zoe")
    assert decode_server_message(await reads.view(SESSION_ID)).view.participants_count == 3


async def test_an_actor_of_the_version_before_is_asked_as_it_knows_it(reads, actors):
    actors.lacks = ("view",)
    assert decode_server_message(await reads.view(SESSION_ID)).view == actors.actor.view
    assert actors.calls == [("snapshot",)]


async def test_who_pages_through_a_scoreboard_misses_nobody_and_costs_one_call(reads, actors):
    found = await pages(reads)
    assert [row.participant_id for row in found] == list(range(1, 251))
    assert actors.calls == [("scoreboard", 0, limits.PARTICIPANTS_MAX)]


async def test_pages_anywhere_by_anybody_are_few_calls(reads, actors):
    await asyncio.gather(
        *(reads.scoreboard(SESSION_ID, offset, 100, nothing_stored) for offset in range(1_000))
    )
    assert len(actors.calls) <= 2


async def test_the_first_page_is_always_new_and_old_ones_are_read_again(reads, actors, monkeypatch):
    await pages(reads)
    actors.people = 260
    assert len(await pages(reads)) == 260
    monkeypatch.setattr(limits, "SCOREBOARD_KEPT_MS", 0)
    actors.people = 270
    found = await reads.scoreboard(SESSION_ID, 200, 100, nothing_stored)
    assert len(found.rows) == 70


async def test_what_is_over_is_read_where_it_is_stored_once(reads, actors):
    actors.error = Conflict("over", "session_over")
    looks = []

    async def stored():
        looks.append(1)
        return [ResultRow(n, f"P{n}", 5, n, 1, 1, 0) for n in range(1, 151)]

    assert len(await pages(reads, stored)) == 150
    assert len(looks) == 1
    found = await reads.scoreboard(SESSION_ID, 0, 100, stored)
    assert (found.source, found.rows[0]) == ("database", Score(1, "P1", 5, 1))


async def test_who_cannot_be_told_is_told_so(reads, actors):
    actors.error = Unavailable("away")
    with pytest.raises(Unavailable):
        await reads.view(SESSION_ID)
    with pytest.raises(Unavailable):
        await pages(reads)
    actors.error = Conflict("over", "session_over")
    with pytest.raises(Conflict, match="not finished"):
        await pages(reads)


async def test_so_many_scoreboards_are_kept(actors, monkeypatch):
    monkeypatch.setattr(limits, "SCOREBOARDS_KEPT_MAX", 3)
    reads = SessionReads(actors)

    async def call(_session_id, *_args):
        return []

    monkeypatch.setattr(actors, "call", call)
    for number in range(10):
        await reads.scoreboard(str(number), 0, 100, nothing_stored)
    assert len(reads._last) == 3
