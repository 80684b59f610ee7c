"""Results from the tables alone, beside the session that was played and the naive scorer."""

import uuid

import msgspec
import pytest

from actors.library import QuizLibrary
from actors.played import PlayedSession
from actors.results import ResultsReader
from actors.sql import queries
from engine import limits
from engine.errors import NotFound
from engine.events import AnswerAccepted, Joined, encode_phase_event
from engine.model import SessionSettings
from engine.phases import Step
from engine.testing.auditor import audit
from engine.testing.driver import SessionDriver
from engine.testing.factories import make_question, make_quiz
from engine.view import distribution

SETTINGS = SessionSettings(preview_ms=0, streak_bonus=True)


class Whole:
    """A session that was read, page by page; what :class:`actors.played.Overview` has, and the answers.

    Attributes:
        pages: the rows of each statement's answer.
    """

    def __init__(self, pool, session_id, **options):
        self.pages = []
        self._pool = pool
        self._session = PlayedSession(session_id, self._read, **options)

    async def _read(self, work):
        found = await work(self._pool)
        self.pages.append(len(found))
        return found

    async def read(self):
        self._overview = await self._session.overview()
        self.answers = [answer async for page in self._session.answers() for answer in page]
        return self

    async def by_person(self):
        return [person async for page in self._session.by_person(self._overview) for person in page]

    def __getattr__(self, name):
        return getattr(self._overview, name)

    def data(self):
        """All of it as JSON has it."""
        return {**msgspec.to_builtins(self._overview), "answers": msgspec.to_builtins(self.answers)}


def whole(pool, session_id, **options):
    return Whole(pool, session_id, **options).read()


@pytest.fixture
def played():
    """Four people, four questions; the third one is removed, the fourth answers nothing."""
    driver = SessionDriver(make_quiz(), SETTINGS)
    for nickname in ("Mia", "Noah", "Lea", "Finn"):
        driver.join(nickname)
    driver.move(Step.START)
    for mia, noah in (((1,), (0,)), ((0, 2), (0, 2)), ((0,), (0,)), ("canberra", "Sydney")):
        driver.wait(3_000)
        for who, given in ((1, mia), (2, noah), (3, mia)):
            if who == 3 and driver.state.participants[3].removed:
                continue
            if isinstance(given, str):
                driver.answer(who, text=given)
            else:
                driver.answer(who, *given)
        driver.move(Step.CLOSE)
        if driver.state.current_no == 2:
            driver.move(Step.REMOVE, who=3)
        driver.move(Step.NEXT)
        if not driver.state.phase.is_over:
            driver.move(Step.NEXT)
    return driver


@pytest.fixture
def store(pool):
    """Write a session that was played into the tables, with the statements of the log."""

    async def store(played):
        return await _store(pool, played)

    return store


@pytest.fixture
async def session_id(played, store):
    return await store(played)


async def _store(pool, played):
    quiz_id = (await QuizLibrary(pool).create(played.state.quiz)).quiz_id
    session_id = str(uuid.uuid4())
    settings = msgspec.json.encode(SETTINGS).decode()
    assert await pool.fetch(
        queries["create_session"], session_id, quiz_id, "123456", settings, 0, 0
    )
    numbered = list(enumerate(played.events, 1))
    joins = [(e, n) for n, e in numbered if isinstance(e, Joined)]
    answers = [(e, n) for n, e in numbered if isinstance(e, AnswerAccepted)]
    others = [(e, n) for n, e in numbered if not isinstance(e, AnswerAccepted | Joined)]

    def columns(rows, *names):
        return [*([getattr(e, name) for e, _ in rows] for name in names), [n for _, n in rows]]

    *fields, seqs = columns(joins, "participant_id", "join_key", "nickname", "at_ms", "device")
    await pool.fetch(queries["append_joins"], session_id, 0, *fields[:3], seqs, *fields[3:])
    *fields, seqs = columns(
        answers, "opening_no", "participant_id", "question_index", "choice_mask", "text",
        "elapsed_ms", "correct", "points", "at_ms",
    )  # fmt: skip
    await pool.fetch(queries["append_answers"], session_id, 0, *fields[:8], seqs, fields[8])
    bodies = [encode_phase_event(e).decode() for e, _ in others]
    await pool.fetch(queries["append_events"], session_id, 0, [n for _, n in others], bodies)
    return session_id


async def test_the_tables_say_what_the_memory_said(pool, played, session_id):
    board = await ResultsReader(pool).scoreboard(session_id, 0, 100)
    found = [(row.participant_id, row.points, row.rank) for row in board]
    assert found == list(played.state.scoreboard.ranked())
    assert [row.nickname for row in board] == ["Mia", "Noah", "Finn"]
    assert [(row.answered, row.correct) for row in board] == [(4, 4), (4, 2), (0, 0)]


async def test_the_auditor_agrees_and_needs_nothing_but_the_results(pool, session_id):
    found = (await whole(pool, session_id)).data()
    people = found["participants"]
    expected = audit(
        found["quiz"],
        found["settings"],
        [person["participant_id"] for person in people],
        found["answers"],
        [person["participant_id"] for person in people if person["removed"]],
    )
    board = found["scoreboard"]
    assert [(row["participant_id"], row["points"], row["rank"]) for row in board] == expected


async def test_results_tell_everything(pool, played, session_id):
    found = await whole(pool, session_id)
    assert (found.title, found.cancelled, found.settings) == ("A quiz", False, SETTINGS)
    assert found.quiz == played.state.quiz
    assert [(p.nickname, p.removed) for p in found.participants] == [
        ("Mia", False), ("Noah", False), ("Lea", True), ("Finn", False)
    ]  # fmt: skip
    assert [(o.opening, o.answered, o.correct, o.distribution) for o in found.openings] == [
        (1, 2, 1, (1, 1, 0, 0)),
        (2, 2, 2, (2, 0, 2, 0)),
        (3, 2, 2, (2, 0)),
        (4, 2, 1, (1, 1)),
    ]
    assert len(found.answers) == 10
    assert found.answers[0].choices == (1,)


async def test_answers_of_the_removed_are_kept_and_count_as_little_as_they_did_live(
    pool, played, session_id
):
    found = await whole(pool, session_id)
    assert [answer.opening for answer in found.answers if answer.participant_id == 3] == [1, 2]
    state = played.state
    for summary, opening in zip(found.openings, state.openings.values(), strict=True):
        assert summary.answered == state.answers_count(opening)
        assert summary.distribution == distribution(state.question(opening), opening, state.removed)


@pytest.fixture
def fast():
    """Three people, four questions; the second one answers three of them at once, as a program does."""
    driver = SessionDriver(make_quiz(*(make_question() for _ in range(4))), SETTINGS)
    for nickname in ("Mia", "Bot", "Lea"):
        driver.join(nickname)
    driver.move(Step.START)
    for number in range(4):
        driver.wait(3_000)
        driver.answer(1, 1, elapsed_ms=2_900)
        driver.state.current.slack_ms = 3_000  # as if each had answered at its own time
        driver.answer(2, 1, elapsed_ms=limits.HUMAN_MS_MIN - (1 if number in (0, 1, 3) else 0))
        driver.answer(3, 0, elapsed_ms=0)
        driver.moves(Step.CLOSE, Step.NEXT)
        if not driver.state.phase.is_over:
            driver.move(Step.NEXT)
    driver.move(Step.REMOVE, who=3)
    return driver


@pytest.fixture
async def fast_id(pool, fast, store):
    return await store(fast)


async def test_answers_that_no_human_gave_are_marked(pool, fast_id):
    found = await whole(pool, fast_id)
    marked = [(a.opening, a.participant_id) for a in found.answers if a.too_fast]
    assert marked == [(1, 2), (1, 3), (2, 2), (2, 3), (3, 3), (4, 2), (4, 3)]
    assert [(row.nickname, row.too_fast) for row in found.scoreboard] == [("Bot", 3), ("Mia", 0)]
    assert [summary.too_fast for summary in found.openings] == [1, 1, 0, 1]
    told = await ResultsReader(pool).too_fast(fast_id)
    assert [(row.nickname, row.answers) for row in told] == [("Bot", 3)], "the removed are out"


async def test_the_host_may_have_them_left_out_as_if_they_had_not_been_given(pool, fast_id):
    everything = await whole(pool, fast_id)
    found = await whole(pool, fast_id, leave_out_too_fast=True)
    assert (everything.leaves_out_too_fast, found.leaves_out_too_fast) == (False, True)
    assert [(a.opening, a.participant_id) for a in found.answers] == [
        (1, 1), (2, 1), (3, 1), (3, 2), (4, 1)
    ]  # fmt: skip
    assert [(o.answered, o.correct, o.distribution) for o in found.openings] == [
        (1, 1, (0, 1, 0, 0)),
        (1, 1, (0, 1, 0, 0)),
        (2, 2, (0, 2, 0, 0)),
        (1, 1, (0, 1, 0, 0)),
    ]
    mia, bot = found.scoreboard
    assert (mia.nickname, mia.points) == ("Mia", everything.scoreboard[1].points), "as it was"
    assert (bot.points, bot.rank, bot.answered, bot.correct) == (1_000, 2, 1, 1), "no bonus left"
    assert bot.too_fast == 3
    data = found.data()
    assert [(row.participant_id, row.points, row.rank) for row in found.scoreboard] == audit(
        data["quiz"], data["settings"], [1, 2, 3], data["answers"], removed=[3]
    )


@pytest.mark.parametrize("leave_out", [False, True])
@pytest.mark.parametrize("rows", [1, 3, 5])
async def test_answers_are_read_in_pages_and_none_is_missing(
    pool, fast_id, monkeypatch, rows, leave_out
):
    everything = await whole(pool, fast_id, leave_out_too_fast=leave_out)
    monkeypatch.setattr(limits, "READ_PAGE_ROWS", rows)
    found = await whole(pool, fast_id, leave_out_too_fast=leave_out)
    assert found.data() == everything.data()
    pages = len(found.pages)
    people = await found.by_person()
    assert max(found.pages[-len(people) :]) <= max(rows, len(found.openings)), (
        "a person at the least"
    )
    assert len(found.pages) - pages == len(people) // max(1, rows // len(found.openings))
    assert [person.row for person in people] == found.scoreboard
    in_the_lines = [answer for person in people for answer in person.answers.values()]
    removed = {person.participant_id for person in found.participants if person.removed}
    assert sorted(in_the_lines, key=lambda a: (a.opening, a.participant_id)) == [
        answer for answer in found.answers if answer.participant_id not in removed
    ]


async def test_a_page_that_lacks_answers_is_noticed(pool, session_id):
    async def read(work):
        rows = await work(pool)
        return rows[1:] if rows and "elapsed_ms" in rows[0] else rows

    with pytest.raises(AssertionError, match="9 answers were read, 10 are there"):
        async for _ in PlayedSession(session_id, read).answers():
            pass


async def test_pages_of_a_scoreboard_keep_the_ranks(pool, session_id):
    reader = ResultsReader(pool)
    board = await reader.scoreboard(session_id, 0, 100)
    assert [(await reader.scoreboard(session_id, n, 1))[0] for n in range(3)] == board
    assert await reader.scoreboard(session_id, 3, 1) == []


async def test_equal_points_share_a_rank_in_the_order_of_joining(pool, session_id):
    await pool.execute("UPDATE answers SET points = 500 WHERE opening_no = 1")
    await pool.execute("UPDATE answers SET points = 0 WHERE opening_no > 1")
    board = await ResultsReader(pool).scoreboard(session_id, 0, 100)
    assert [(r.participant_id, r.rank) for r in board] == [(1, 1), (2, 1), (4, 3)]


async def test_a_session_that_is_not_there(pool):
    reader = ResultsReader(pool)
    nobody = str(uuid.uuid4())
    assert await reader.scoreboard(nobody, 0, 10) == []
    for session_id in (nobody, "x", ""):
        with pytest.raises(NotFound):
            await whole(pool, session_id)


async def test_a_listing_of_sessions(pool, session_id):
    rows, cursor = await ResultsReader(pool).page(10, None)
    assert ([(row.session_id, row.pin) for row in rows], cursor) == ([(session_id, "123456")], None)
