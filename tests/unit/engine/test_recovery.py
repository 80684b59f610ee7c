"""Back from stored records. That it holds for every game is a law in test_laws.py."""

import pytest

from engine import recovery
from engine.events import AnswerAccepted, Joined, Skipped
from engine.phases import Phase, Step
from engine.recovery import Digest, Fold, restore, run, snapshot, state_digest
from engine.testing.driver import PLAIN, SELF_PACED, SESSION_ID, SessionDriver
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


@pytest.fixture(params=["live", "self-paced"])
def large(request):
    """Forty people answer six questions; the fold of it, and its answers in order."""
    quiz = make_quiz(*(make_question() for _ in range(6)))
    settings = SELF_PACED if request.param == "self-paced" else PLAIN
    driver = SessionDriver(quiz, settings)
    for number in range(40):
        driver.join(f"Person {number}")
    driver.move(Step.START)
    for opening_no in range(1, 7):
        for who in range(1, 41):
            driver.answer(who, who % 4, opening_no=opening_no)
        if request.param == "live":
            driver.moves(Step.CLOSE, Step.NEXT)
            if not driver.state.phase.is_over:
                driver.move(Step.NEXT)
    return driver


def fold_of(driver, digest=None):
    events = [e for e in driver.events if not isinstance(e, AnswerAccepted | Joined)]
    fold = Fold(SESSION_ID, driver.state.quiz, driver.state.settings, events, digest)
    run(fold.join(e for e in driver.events if isinstance(e, Joined)))
    return fold


def test_no_step_of_a_fold_is_long(large, monkeypatch):
    monkeypatch.setattr(recovery, "_STEP_RECORDS", 10)
    fold = fold_of(large)
    answers = sorted(
        (e for e in large.events if isinstance(e, AnswerAccepted)),
        key=lambda e: (e.opening_no, e.participant_id),
    )
    before = 0
    for _ in fold.answer(answers):
        assert fold._state.answers_total - before <= 10
        before = fold._state.answers_total
    assert before == 240
    assert snapshot(run(fold.end())) == snapshot(large.state)


def test_a_fold_for_a_digest_keeps_no_more_answers_than_one_opening(large, monkeypatch):
    monkeypatch.setattr(recovery, "_STEP_RECORDS", 10)
    digest = Digest()
    fold = fold_of(large, digest)
    answers = [e for e in large.events if isinstance(e, AnswerAccepted)]
    for first in range(0, 240, 30):
        for _ in fold.answer(answers[first : first + 30]):
            kept = [len(opening.answers) for opening in fold._state.openings.values()]
            assert sum(kept) <= 40
    assert digest.of(run(fold.end())) == state_digest(large.state)


@pytest.mark.parametrize("large", ["live"], indirect=True)
def test_a_page_out_of_order_is_our_own_mistake(large):
    fold = fold_of(large)
    answers = [e for e in large.events if isinstance(e, AnswerAccepted)]
    run(fold.answer(answers[40:80]))
    with pytest.raises(AssertionError, match="without an opening"):
        run(fold.answer(answers[:40]))


def test_a_digest_tells_states_apart(played):
    before = state_digest(played.state)
    assert before == state_digest(restored(played))
    assert len(before) == 16
    played.answer(1, 0)
    assert state_digest(played.state) != before


def test_a_note_of_a_later_version_changes_nothing_but_that_its_command_is_done(played):
    before = restored(played)
    played.events.insert(3, Skipped(at_ms=played.now_ms, command_id="a note"))
    played.events.append(Skipped(at_ms=played.now_ms))
    state = restored(played)
    done = state.commands_done.pop("a note")
    assert done.phase is Phase.QUESTION_OPEN
    assert snapshot(state) == snapshot(before)
