"""The naive scorer by itself; that the session agrees with it is a law in test_laws.py."""

import inspect
import re

import pytest

from engine.testing import auditor
from engine.testing.auditor import audit

QUIZ = {
    "title": "t",
    "questions": [
        {"kind": "single", "text": "?", "choices": ["a", "b"], "correct": [1]},
        {"kind": "multiple", "text": "?", "choices": ["a", "b", "c"], "correct": [0, 2]},
        {"kind": "typed", "text": "?", "accepted": ["New York"], "points": "double"},
        {"kind": "true_false", "text": "?", "choices": ["True", "False"], "correct": [0]},
    ],
}
STREAK = {"scoring": "accuracy.v1", "streak_bonus": True}


def answer(who, opening, choices=(), text="", elapsed_ms=0):
    return {
        "participant_id": who,
        "opening": opening,
        "question_index": opening - 1,
        "choices": list(choices),
        "text": text,
        "elapsed_ms": elapsed_ms,
        "points": 123_456,
        "correct": False,
    }


def test_points_and_ranks_are_worked_out_anew():
    answers = [
        answer(1, 1, [1], elapsed_ms=2_000),
        answer(1, 3, text=" new  YORK", elapsed_ms=20_400),
        answer(2, 1, [0]),
        answer(3, 1, [1], elapsed_ms=2_000),
        answer(3, 2, [2, 0], elapsed_ms=10_000),
        answer(3, 3, text="Boston"),
    ]
    assert audit(QUIZ, {}, [1, 2, 3, 4], answers) == [
        (1, 950 + 1_000, 1), (3, 950 + 750, 2), (2, 0, 3), (4, 0, 3)
    ]  # fmt: skip


def test_the_removed_are_left_out():
    assert audit(QUIZ, {}, [1, 2], [answer(1, 1, [1])], removed=[1]) == [(2, 0, 1)]


def test_a_row_of_right_answers_pays_and_a_gap_ends_it():
    first, second = answer(1, 1, [1]), answer(1, 2, [0, 2])
    fourth = answer(1, 4, [0])
    assert audit(QUIZ, STREAK, [1], [second, first])[0][1] == 1_000 + 1_100
    assert audit(QUIZ, STREAK, [1], [first, second, fourth])[0][1] == 1_000 + 1_100 + 1_000
    third = answer(1, 3, text="new york")
    assert audit(QUIZ, STREAK, [1], [third, first, second])[0][1] == 1_000 + 1_100 + 2_200


def test_broken_storage_is_named():
    with pytest.raises(ValueError, match="two answers"):
        audit(QUIZ, {}, [1], [answer(1, 1, [1]), answer(1, 1, [0])])
    with pytest.raises(ValueError, match="never joined"):
        audit(QUIZ, {}, [], [answer(1, 1, [1])])


def test_it_shares_no_code_with_what_it_checks():
    source = inspect.getsource(auditor)
    assert not re.search(r"^(from|import) engine", source, re.MULTILINE)
