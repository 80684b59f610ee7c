"""What is shown when, and to whom. The law of deltas stands in test_laws.py."""

import msgspec
import pytest

from engine import limits
from engine.ids import Epoch, FrameVersion
from engine.model import QuestionKind, SessionSettings
from engine.phases import Phase, Step
from engine.testing.driver import PLAIN, SELF_PACED, SessionDriver
from engine.testing.factories import make_question, make_quiz
from engine.view import (
    Delta,
    Result,
    ViewChanges,
    apply,
    build_view,
    diff,
    public_question,
    results,
)


def view_of(driver, version=1):
    return build_view(driver.state, Epoch(1), FrameVersion(version))


def joined(*questions, settings=PLAIN, people=("Mia", "Noah", "Lea", "Finn")):
    driver = SessionDriver(make_quiz(*questions or (make_question(), make_question())), settings)
    for nickname in people:
        driver.join(nickname)
    return driver


def test_the_lobby_shows_who_came_newest_first():
    view = view_of(joined())
    assert (view.phase, view.participants_count, view.question) == (Phase.LOBBY, 4, None)
    assert [row.nickname for row in view.roster] == ["Finn", "Lea", "Noah", "Mia"]
    assert view.scoreboard == ()


def test_a_long_roster_is_cut_and_the_removed_are_gone():
    driver = joined(people=[f"name {n}" for n in range(limits.ROSTER_ROWS_MAX + 5)])
    driver.move(Step.REMOVE, who=limits.ROSTER_ROWS_MAX + 5)
    view = view_of(driver)
    assert view.participants_count == limits.ROSTER_ROWS_MAX + 4
    assert len(view.roster) == limits.ROSTER_ROWS_MAX
    assert view.roster[0].nickname == f"name {limits.ROSTER_ROWS_MAX + 3}"


def test_a_preview_shows_the_question_and_no_choices():
    driver = joined(settings=SessionSettings(preview_ms=4_000))
    driver.move(Step.START)
    question = view_of(driver).question
    assert (question.text, question.choices, question.opened_ms) == ("A single question?", (), 0)
    assert question.closes_ms == driver.now_ms + 4_000
    driver.move(Step.NEXT)
    question = view_of(driver).question
    assert (question.choices, question.opened_ms) == (("a", "b", "c", "d"), driver.now_ms)


@pytest.mark.parametrize("kind", [QuestionKind.SINGLE, QuestionKind.TYPED])
def test_answers_of_the_removed_count_nowhere(kind):
    driver = joined(make_question(kind), settings=SessionSettings(preview_ms=0))
    driver.move(Step.START)
    right = {"text": "Canberra"} if kind is QuestionKind.TYPED else {}
    for who in (1, 2, 3):
        driver.answer(who, *([1] if not right else []), **right)
    driver.move(Step.REMOVE, who=1)
    view = view_of(driver)
    assert (view.answers_count, view.participants_count) == (2, 3)
    driver.move(Step.CLOSE)
    shown = view_of(driver).reveal.distribution
    assert shown == ((2, 0) if right else (0, 2, 0, 0))
    driver.move(Step.REMOVE, who=2)
    assert view_of(driver).answers_count == 1
    assert sum(view_of(driver).reveal.distribution) == 1


def test_scores_and_the_key_are_hidden_until_the_close_and_shown_after_it():
    driver = joined()
    driver.move(Step.START)
    driver.answer(1, 1)
    driver.answer(2, 0)
    view = view_of(driver)
    assert (view.answers_count, view.scoreboard, view.reveal) == (2, (), None)
    driver.move(Step.CLOSE)
    view = view_of(driver)
    assert (view.reveal.correct, view.reveal.distribution) == ((1,), (1, 1, 0, 0))
    first, second = view.scoreboard[:2]
    assert (first.nickname, first.points, first.rank, first.gained) == ("Mia", 1_000, 1, 1_000)
    assert (second.rank, second.rank_before) == (2, 1)
    driver.moves(Step.NEXT, Step.NEXT)
    assert (view_of(driver).scoreboard, view_of(driver).reveal) == ((), None)


def test_a_question_that_was_never_asked_is_not_revealed():
    driver = joined(settings=SessionSettings(preview_ms=4_000))
    driver.moves(Step.START, Step.FINISH)
    assert view_of(driver).reveal is None


def test_the_distribution_of_a_multiple_and_a_typed_question():
    driver = joined(make_question(QuestionKind.MULTIPLE), make_question(QuestionKind.TYPED))
    driver.move(Step.START)
    driver.answer(1, 0, 2)
    driver.answer(2, 0, 3)
    driver.move(Step.CLOSE)
    assert view_of(driver).reveal.distribution == (2, 0, 1, 1)
    driver.moves(Step.NEXT, Step.NEXT)
    driver.answer(1, text="CANBERRA")
    driver.answer(2, text="Sydney")
    driver.answer(3, text="Perth")
    driver.move(Step.CLOSE)
    assert view_of(driver).reveal.distribution == (1, 2)
    assert view_of(driver).reveal.accepted == ("Canberra",)


def test_self_paced_play_shows_the_scoreboard_and_no_question():
    driver = joined(settings=SELF_PACED)
    driver.move(Step.START)
    driver.answer(2, 1, opening_no=1)
    view = view_of(driver)
    assert (view.question, view.reveal, view.opening_no) == (None, None, 0)
    assert view.scoreboard[0].nickname == "Noah"
    question = public_question(driver.state, driver.state.openings[2])
    assert (question.opening_no, question.choices, question.closes_ms) == (2, tuple("abcd"), 0)


def test_a_scoreboard_is_as_long_as_a_projector_can_show():
    driver = joined(people=[f"name {n}" for n in range(limits.SCOREBOARD_ROWS_MAX + 3)])
    driver.moves(Step.START, Step.CLOSE)
    assert len(view_of(driver).scoreboard) == limits.SCOREBOARD_ROWS_MAX


def test_no_change_is_no_delta():
    driver = joined()
    assert diff(view_of(driver, 1), view_of(driver, 2)) is None


def test_a_delta_holds_what_has_changed_and_nothing_else():
    driver = joined()
    driver.move(Step.START)
    before = view_of(driver)
    driver.answer(1, 1)
    changes = diff(before, view_of(driver, 2))
    assert msgspec.to_builtins(changes) == {"answers_count": 1}


@pytest.mark.parametrize(("epoch", "version"), [(1, 1), (1, 3), (2, 2)])
def test_a_delta_that_does_not_follow_is_refused(epoch, version):
    with pytest.raises(ValueError, match="does not follow"):
        apply(Delta(Epoch(epoch), FrameVersion(version), ViewChanges()), view_of(joined()))


def test_everybody_gets_the_own_result_and_who_is_just_ahead():
    driver = joined()
    driver.move(Step.START)
    driver.answer(1, 1)
    driver.wait(10_000)
    driver.answer(2, 1)
    driver.answer(3, 1)
    found = (driver.move(Step.CLOSE), results(driver.state, driver.state.current))[1]
    assert found == {
        1: Result(1, True, True, 1_000, 1_000, 1, 1, None),
        2: Result(1, True, True, 750, 750, 2, 1, ("Mia", 250)),
        3: Result(1, True, True, 750, 750, 2, 1, ("Mia", 250)),
        4: Result(1, False, False, 0, 0, 4, 0, ("Lea", 750)),
    }


def test_who_was_right_first_and_who_is_on_a_streak_is_told_after_the_close():
    driver = joined()
    driver.move(Step.START)
    driver.answer(4, 1)  # in no time: a program
    driver.now_ms += 800
    driver.answer(3, 0)  # first, and wrong
    driver.now_ms += 500
    driver.answer(2, 1)
    driver.now_ms += 100
    driver.answer(1, 1)
    driver.move(Step.CLOSE)
    view = view_of(driver)
    assert view.reveal.fastest == ("Noah", 1_300)
    assert {row.nickname: row.streak for row in view.scoreboard}["Lea"] == 0
    assert {row.nickname: row.streak for row in view.scoreboard}["Noah"] == 1
    driver.move(Step.REMOVE, who=2)
    assert view_of(driver).reveal.fastest == ("Mia", 1_400)


def test_nobody_was_fastest_where_nobody_was_right():
    driver = joined()
    driver.move(Step.START)
    driver.now_ms += 800
    driver.answer(1, 0)
    driver.move(Step.CLOSE)
    assert view_of(driver).reveal.fastest is None
