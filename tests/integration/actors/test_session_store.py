"""Taking a session over: everything that was stored comes back, under a higher epoch."""

import asyncio

import pytest

from actors.direct_log import DirectLog
from actors.ports import Record
from actors.postgres import LoneConnection
from actors.session_store import claim, digest_of_tables, fold, take_over
from actors.sql import queries
from engine import limits
from engine.errors import Fenced, LaterVersion
from engine.events import Locked
from engine.model import Mode, QuestionKind, ScoringPolicy, SessionSettings
from engine.phases import Phase, Step
from engine.recovery import state_digest
from engine.session import SessionState
from engine.testing.driver import PLAIN, SELF_PACED, SessionDriver
from engine.testing.factories import make_question, make_quiz
from tests.large_session import fill, quiz_of, settings_of

QUIZ = make_quiz(
    make_question(QuestionKind.SINGLE),
    make_question(QuestionKind.TYPED, accepted=("Zürich",)),
    make_question(QuestionKind.MULTIPLE),
)


@pytest.fixture
async def connection(database_url):
    connection = LoneConnection(database_url)
    yield connection
    await connection.close()


def live_game(driver):
    """Everything that can happen before the end, with somebody who is removed and a late joiner."""
    mia, ben, zoe = (driver.join(name) for name in ("Mia", "Ben 🏔", "Zoë"))
    driver.move(Step.START)
    driver.wait(700)
    driver.answer(mia, 1)
    driver.answer(ben, 0)
    driver.move(Step.EXTEND, extra_ms=5_000)
    driver.answer(zoe, 1)
    driver.move(Step.REMOVE, who=zoe)
    driver.join("Bot", "a-bots-key", "a-device")
    driver.move(Step.REMOVE, several=[driver.join("Bot 2", "another-bot"), 4])
    driver.do_event(Locked(at_ms=driver.now_ms, flood=True))
    driver.moves(Step.UNLOCK, Step.LOCK, Step.UNLOCK)
    driver.moves(Step.CLOSE, Step.NEXT, Step.NEXT)
    late = driver.join("Zoë", "another-key")
    driver.answer(late, text="  ZÜRICH ")
    driver.answer(mia, text="Genf")


def self_paced_game(driver):
    mia, ben = driver.join("Mia"), driver.join("Ben")
    driver.move(Step.START)
    driver.answer(mia, 1, opening_no=1)
    driver.answer(ben, 0, 2, opening_no=3)
    driver.answer(mia, text="zürich", opening_no=2)


@pytest.mark.parametrize(
    ("play", "settings"),
    [
        (live_game, PLAIN),
        (
            live_game,
            SessionSettings(preview_ms=0, streak_bonus=True, close_when_all_answered=False),
        ),
        (self_paced_game, SELF_PACED),
    ],
)
async def test_what_was_stored_comes_back_as_it_was(pool, make_session, connection, play, settings):
    driver = SessionDriver(QUIZ, settings)
    session = await make_session(pool, QUIZ, settings)
    driver.state = SessionState(session.session_id, QUIZ, settings)
    play(driver)
    first = await take_over(connection, session.actor_name)
    assert (first.epoch, first.next_seq, first.state.phase) == (1, 1, Phase.LOBBY)
    records = [Record(seq, event) for seq, event in enumerate(driver.events, 1)]
    log = DirectLog(connection, session.session_id, first.epoch)
    await log.append(records[::2])  # the order of arrival in the tables is none of the state's
    await log.append(records[1::2])
    second = await take_over(connection, session.actor_name)
    assert (second.epoch, second.next_seq) == (2, len(records) + 1)
    assert second.state.settings == settings
    assert state_digest(second.state) == state_digest(driver.state)


async def test_a_session_keeps_the_version_of_its_quiz_that_it_was_opened_with(
    pool, make_session, connection
):
    session = await make_session(pool, QUIZ)
    quiz_id = await pool.fetchval("SELECT quiz_id FROM sessions")
    await pool.fetch(queries["update_quiz"], quiz_id, "New", 1, '{"title":"New","questions":[]}')
    await pool.fetch(queries["delete_quiz"], quiz_id)
    found = await take_over(connection, session.actor_name)
    assert found.state.quiz == QUIZ


async def test_a_blank_actor_and_one_of_an_ended_session_find_nothing(
    pool, make_session, connection
):
    session = await make_session(pool)
    assert await take_over(connection, "session-actor:nobody") is None
    found = await take_over(connection, session.actor_name)
    await connection.fetch(queries["note_ended"], session.actor_name, found.epoch)
    assert await take_over(connection, session.actor_name) is None


async def test_only_the_newest_actor_notes_the_end(pool, make_session, connection):
    session = await make_session(pool)
    earlier = await take_over(connection, session.actor_name)
    newest = await take_over(connection, session.actor_name)
    for query in ("note_finished", "note_ended"):
        await connection.fetch(queries[query], session.actor_name, earlier.epoch)
    ends = "SELECT finished_at, ended_at, cancelled FROM sessions"
    assert tuple(await pool.fetchrow(ends)) == (None, None, False)
    await connection.fetch(queries["note_finished"], session.actor_name, newest.epoch)
    finished_at, ended_at, _ = await pool.fetchrow(ends)
    assert (finished_at is None, ended_at) == (False, None)
    await connection.fetch(queries["note_ended"], session.actor_name, newest.epoch)
    assert (await pool.fetchrow(ends))["finished_at"] == finished_at


@pytest.mark.parametrize(("step", "cancelled"), [(Step.FINISH, False), (Step.CANCEL, True)])
async def test_a_cancelled_session_is_noted_as_such(
    pool, make_session, connection, step, cancelled
):
    session = await make_session(pool)
    driver = SessionDriver(settings=SessionSettings(mode=Mode.LIVE, scoring=ScoringPolicy.SPEED))
    driver.moves(Step.START, step)
    found = await take_over(connection, session.actor_name)
    log = DirectLog(connection, session.session_id, found.epoch)
    await log.append([Record(seq, event) for seq, event in enumerate(driver.events, 1)])
    await connection.fetch(queries["note_finished"], session.actor_name, found.epoch)
    assert await pool.fetchval("SELECT cancelled FROM sessions") is cancelled


async def test_whoever_is_overtaken_while_it_reads_does_not_take_what_it_read_for_whole(
    pool, make_session, connection
):
    session = await make_session(pool, QUIZ, PLAIN)
    first = await claim(connection, session.actor_name)
    second = await claim(connection, session.actor_name)
    with pytest.raises(Fenced):
        await fold(connection, first)
    assert (await fold(connection, second)).epoch == second.epoch


@pytest.mark.parametrize("mode", list(Mode))
async def test_a_large_session_is_read_in_pages_and_the_loop_runs_meanwhile(
    pool, make_session, connection, monkeypatch, mode
):
    people, questions = 500, 120
    quiz, settings = quiz_of(questions), settings_of(mode)
    session = await make_session(pool, quiz, settings)
    await fill(pool, session.session_id, people, questions, mode, finished=True)
    pages = []
    fetch = connection.fetch

    async def counted(query, *args):
        rows = await fetch(query, *args)
        pages.append(len(rows))
        return rows

    turns = 0

    async def turn():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    monkeypatch.setattr(connection, "fetch", counted)
    turning = asyncio.create_task(turn())
    found = await take_over(connection, session.actor_name)
    turning.cancel()
    assert max(pages) <= limits.READ_PAGE_ROWS
    assert turns >= len(pages) >= people * questions / limits.READ_PAGE_ROWS
    state = found.state
    assert (state.answers_total, len(state.participants)) == (people * questions, people)
    assert (
        found.next_seq == people * (questions + 1) + (2 * questions if mode is Mode.LIVE else 1) + 2
    )
    whole = await pool.fetch("SELECT participant_id, sum(points) FROM answers GROUP BY 1")
    assert {who: person.points for who, person in state.participants.items()} == dict(whole)
    assert await digest_of_tables(connection, state, found.epoch) == state_digest(state)
    await pool.execute(
        "UPDATE answers SET elapsed_ms = 1 + elapsed_ms WHERE opening_no = 60 AND participant_id = 7"
    )
    assert await digest_of_tables(connection, state, found.epoch) != state_digest(state)


async def test_who_is_overtaken_while_it_reads_is_fenced_and_not_at_fault(
    pool, make_session, connection, monkeypatch
):
    """Behind the joins that it has read, somebody joins and answers under the next epoch."""
    session = await make_session(pool, quiz_of(2), SELF_PACED)
    await fill(pool, session.session_id, 3, 2, Mode.SELF_PACED)
    first = await claim(connection, session.actor_name)
    fetch = connection.fetch

    async def overtaken(query, *args):
        if query == queries["answers_by_opening"]:
            await pool.execute("UPDATE sessions SET epoch = epoch + 1")
            await pool.execute("UPDATE answers SET participant_id = 4 WHERE participant_id = 3")
        return await fetch(query, *args)

    monkeypatch.setattr(connection, "fetch", overtaken)
    with pytest.raises(Fenced):
        await fold(connection, first)


# --- events of the next version -----------------------------------------------------------------------

STORE = "INSERT INTO session_events (session_id, epoch, seq, event) VALUES ($1, 1, $2, $3)"


async def test_a_note_of_a_later_version_is_skipped_and_keeps_its_number(
    pool, make_session, connection
):
    driver = SessionDriver(QUIZ)
    session = await make_session(pool, QUIZ)
    driver.state = SessionState(session.session_id, QUIZ, PLAIN)
    live_game(driver)
    first = await take_over(connection, session.actor_name)
    log = DirectLog(connection, session.session_id, first.epoch)
    note, last = 4, len(driver.events) + 2
    numbers = (seq for seq in range(1, last) if seq != note)
    await log.append([Record(*record) for record in zip(numbers, driver.events, strict=True)])
    for seq, command in ((note, "a command"), (last, "another")):
        event = f'{{"type":"note:of a later version","at_ms":1,"command_id":"{command}","new":1}}'
        await pool.execute(STORE, session.session_id, seq, event)
    found = await take_over(connection, session.actor_name)
    assert found.next_seq == last + 1, "what is stored next must not fall upon it"
    # Between two take-overs, and at the end, memory and tables are compared.
    digest = await digest_of_tables(connection, found.state, found.epoch)
    assert digest == state_digest(found.state)
    for command in ("a command", "another"):
        del found.state.commands_done[command]
    assert state_digest(found.state) == state_digest(driver.state)


async def test_an_event_that_a_later_version_must_act_on_stops_the_fold(
    pool, make_session, connection
):
    session = await make_session(pool, QUIZ)
    await pool.execute(STORE, session.session_id, 1, '{"type":"of a later version","at_ms":1}')
    with pytest.raises(LaterVersion, match="'of a later version'"):
        await take_over(connection, session.actor_name)
    # Whoever is overtaken by an actor of that version while it reads is told so.
    overtaken = await claim(connection, session.actor_name)
    await claim(connection, session.actor_name)
    with pytest.raises(Fenced):
        await fold(connection, overtaken)
