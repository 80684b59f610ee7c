"""Worked examples and bounds of the scoring policies."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import limits
from engine.model import PointsMode, QuestionKind, ScoringPolicy
from engine.scoring import STREAK_BONUS, is_correct, points_for, points_for_speed
from engine.testing.factories import make_question

ELAPSED = st.integers(0, limits.TIME_LIMIT_MS_MAX)
LIMIT = st.integers(limits.TIME_LIMIT_MS_MIN, limits.TIME_LIMIT_MS_MAX)


@pytest.mark.parametrize(
    ("points_max", "elapsed_ms", "time_limit_ms", "points"),
    [
        (1_000, 2_000, 30_000, 967),  # Kahoot's own example
        (1_000, 0, 30_000, 1_000),
        (1_000, 499, 30_000, 1_000),
        (1_000, 500, 30_000, 992),
        (1_000, 15_000, 30_000, 750),
        (1_000, 30_000, 30_000, 500),
        (1_000, 30_400, 30_000, 500),  # within the grace: never less than half
        (2_000, 2_000, 30_000, 1_933),
        (1_000, 500, 1_000, 750),
        (1_000, 1_000, 80_000, 994),  # 993.75
        (1_000, 1_000, 40_000, 988),  # 987.5: halves go up
    ],
)
def test_speed_examples(points_max, elapsed_ms, time_limit_ms, points):
    assert points_for_speed(points_max, elapsed_ms, time_limit_ms) == points


@given(ELAPSED, LIMIT)
def test_speed_pays_between_half_and_all(elapsed_ms, limit_ms):
    assert 500 <= points_for_speed(1_000, elapsed_ms, limit_ms) <= 1_000


@given(ELAPSED, ELAPSED, LIMIT)
def test_being_slower_never_pays_more(one_ms, other_ms, limit_ms):
    fast, slow = sorted((one_ms, other_ms))
    assert points_for_speed(1_000, fast, limit_ms) >= points_for_speed(1_000, slow, limit_ms)


@pytest.mark.parametrize("policy", ScoringPolicy)
@pytest.mark.parametrize("streak_before", [0, 1, 5, 50])
def test_a_wrong_answer_earns_nothing(policy, streak_before):
    question = make_question(points=PointsMode.DOUBLE)
    points = points_for(
        policy, question, 0, correct=False, streak_before=streak_before, streak_bonus=True
    )
    assert points == 0


@pytest.mark.parametrize("policy", ScoringPolicy)
def test_a_question_without_points_pays_nothing_and_no_bonus(policy):
    question = make_question(points=PointsMode.NONE)
    assert points_for(policy, question, 0, correct=True, streak_before=4, streak_bonus=True) == 0


@given(ELAPSED, st.sampled_from(PointsMode))
def test_accuracy_does_not_look_at_time(elapsed_ms, mode):
    question = make_question(points=mode)
    assert points_for(ScoringPolicy.ACCURACY, question, elapsed_ms, correct=True) == mode.points_max


@pytest.mark.parametrize(
    ("streak_before", "bonus"),
    [(0, 0), (1, 100), (2, 200), (4, 400), (5, 500), (6, 500), (99, 500)],
)
def test_streak_bonus(streak_before, bonus):
    points = points_for(
        ScoringPolicy.ACCURACY,
        make_question(),
        0,
        correct=True,
        streak_before=streak_before,
        streak_bonus=True,
    )
    assert points == 1_000 + bonus
    assert bonus in STREAK_BONUS


@pytest.mark.parametrize(
    ("kind", "mask", "right"),
    [
        (QuestionKind.SINGLE, 0b0010, True),
        (QuestionKind.SINGLE, 0b0001, False),
        (QuestionKind.MULTIPLE, 0b0101, True),
        (QuestionKind.MULTIPLE, 0b0001, False),
        (QuestionKind.MULTIPLE, 0b0111, False),
        (QuestionKind.TRUE_FALSE, 0b01, True),
        (QuestionKind.TRUE_FALSE, 0b10, False),
    ],
)
def test_choices_are_right_when_they_are_exactly_the_right_ones(kind, mask, right):
    assert is_correct(make_question(kind), mask, "") is right


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("Canberra", True),
        ("  canBERRA ", True),
        ("\uff23anberra", True),  # a full-width C
        ("Canbera", False),
        ("", False),
    ],
)
def test_typed_answers_are_compared_without_case_and_white_space(text, right):
    assert is_correct(make_question(QuestionKind.TYPED), 0, text) is right
