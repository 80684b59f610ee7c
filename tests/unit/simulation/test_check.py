"""The demo's checks find every kind of damage."""

import time

import msgspec
import pytest

from engine.testing.factories import make_question, make_quiz
from engine.wire import Receipt
from simulation.check import check_answers, check_boards
from simulation.player import Ledger

_QUIZ = msgspec.to_builtins(make_quiz(make_question()))


def _answer(participant_id, *, elapsed_ms=2_000, choices=(1,), points=950):
    return {
        "participant_id": participant_id,
        "opening": 1,
        "question_index": 0,
        "choices": choices,
        "text": "",
        "elapsed_ms": elapsed_ms,
        "correct": True,
        "points": points,
    }


def _results(*answers, scoreboard=()):
    return {
        "quiz": _QUIZ,
        "settings": {},
        "participants": [
            {"participant_id": 1, "removed": False},
            {"participant_id": 2, "removed": False},
        ],
        "answers": list(answers),
        "scoreboard": list(scoreboard),
    }


def _row(participant_id, points, rank):
    return {"participant_id": participant_id, "points": points, "rank": rank}


@pytest.fixture
def ledger():
    ledger = Ledger()
    for who in (1, 2):
        ledger.sent[who, 1] = time.monotonic_ns()
        ledger.note_receipt(who, Receipt(1, 2_000, (1,)))
    return ledger


def test_nothing_is_wrong(ledger):
    assert check_answers(ledger, _results(_answer(1), _answer(2))) == []


def test_a_lost_answer(ledger):
    (problem,) = check_answers(ledger, _results(_answer(1)))
    assert problem == "(2, 1) was acknowledged and is not stored"


def test_an_answer_that_counts_twice(ledger):
    problems = check_answers(ledger, _results(_answer(1), _answer(2), _answer(2)))
    assert problems == ["(2, 1) is stored 2 times"]


@pytest.mark.parametrize("change", [{"elapsed_ms": 1_999}, {"choices": (2,)}])
def test_an_answer_that_is_not_what_its_receipt_says(ledger, change):
    (problem,) = check_answers(ledger, _results(_answer(1), _answer(2, **change)))
    assert problem == "(2, 1) is stored otherwise than its receipt says"


def test_an_answer_that_nobody_sent(ledger):
    del ledger.sent[2, 1], ledger.acknowledged[2, 1]
    (problem,) = check_answers(ledger, _results(_answer(1), _answer(2)))
    assert problem == "(2, 1) is stored and was never sent"


def test_two_receipts_that_contradict_each_other(ledger):
    ledger.note_receipt(1, Receipt(1, 2_001, (1,)))
    assert len(check_answers(ledger, _results(_answer(1), _answer(2)))) == 1
    assert len(ledger.latencies_ms) == 2


def test_boards_agree():
    rows = [_row(1, 950, 1), _row(2, 950, 1)]
    results = _results(_answer(1), _answer(2), scoreboard=rows)
    assert check_boards(rows, results) == []


@pytest.mark.parametrize(
    "wrong",
    [
        [_row(1, 950, 1), _row(2, 949, 2)],
        [_row(1, 950, 1), _row(2, 950, 2)],
        [_row(2, 950, 1), _row(1, 950, 1)],
        [_row(1, 950, 1)],
    ],
)
def test_a_board_that_disagrees_is_found_on_either_side(wrong):
    right = [_row(1, 950, 1), _row(2, 950, 1)]
    answers = (_answer(1), _answer(2))
    assert any(
        p.startswith("memory") for p in check_boards(wrong, _results(*answers, scoreboard=right))
    )
    assert any(
        p.startswith("tables") for p in check_boards(right, _results(*answers, scoreboard=wrong))
    )


def test_only_the_first_problems_are_told(ledger):
    for who in range(3, 20):
        ledger.sent[who, 1] = time.monotonic_ns()
        ledger.note_receipt(who, Receipt(1, 2_000, (1,)))
    problems = check_answers(ledger, _results(_answer(1), _answer(2)))
    assert len(problems) == 6
    assert problems[-1] == "… and 12 more"
