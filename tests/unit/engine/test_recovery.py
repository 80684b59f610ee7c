"""Back from stored records. That it holds for every game is a law in test_laws.py."""

import pytest

from engine.events import AnswerAccepted, Joined
from engine.phases import Phase, Step
from engine.recovery import restore, snapshot, state_digest
from engine.testing.driver import SESSION_ID, SessionDriver
from engine.testing.factories import make_question, make_quiz


@pytest.fixture
def played():
    driver = SessionDriver(make_quiz(make_question(), make_question()))
    for nickname in ("Mia", "Noah"):
        driver.join(nickname)
    driver.move(Step.START)
    driver.answer(1, 1)
    driver.moves(Step.CLOSE, Step.NEXT, Step.NEXT)
    driver.join("Lea")
    driver.answer(3, 1)
    return driver


def restored(driver, answers=None):
    events = driver.events
    if answers is None:
        answers = [e for e in events if isinstance(e, AnswerAccepted)]
    return restore(
        SESSION_ID,
        driver.state.quiz,
        driver.state.settings,
        [e for e in events if isinstance(e, Joined)],
        [e for e in events if not isinstance(e, AnswerAccepted | Joined)],
        answers,
    )


def test_a_session_comes_back_in_the_middle_of_a_question(played):
    state = restored(played)
    assert (state.phase, state.current_no) == (Phase.QUESTION_OPEN, 2)
    assert list(state.current.answers) == [3]
    assert snapshot(state) == snapshot(played.state)


def test_nothing_stored_is_a_lobby():
    state = restore(SESSION_ID, make_quiz(), SessionDriver().state.settings, [], [], [])
    assert state.phase is Phase.LOBBY
    assert state.next_participant_id == 1


def test_an_answer_without_an_opening_is_our_own_mistake(played):
    stray = AnswerAccepted(1, 7, 0, 0b10, "", 0, True, 1_000, 0)
    with pytest.raises(AssertionError, match="without an opening"):
        restored(played, [stray])


def test_a_digest_tells_states_apart(played):
    before = state_digest(played.state)
    assert before == state_digest(restored(played))
    assert len(before) == 16
    played.answer(1, 0)
    assert state_digest(played.state) != before
