"""Named, versioned scoring policies: pure integer arithmetic, worked examples in the docstrings."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from engine import limits
from engine.ids import OpeningNo
from engine.model import (
    Question,
    QuestionKind,
    ScoringPolicy,
    SessionSettings,
    normalize_typed,
)

#: Bonus for the n-th right answer in a row, n from 1; the last entry stands for all later ones.
#: Source: older versions of Kahoot support, "How points work"; the present page has no streak.
STREAK_BONUS: Final = (0, 100, 200, 300, 400, 500)


def is_correct(question: Question, choice_mask: int, text: str) -> bool:
    """Tell whether an answer is right: exactly the right choices, or an accepted spelling.

    >>> q = Question(QuestionKind.MULTIPLE, "Even?", ("1", "2", "4"), (1, 2))
    >>> is_correct(q, 0b110, ""), is_correct(q, 0b010, "")
    (True, False)
    """
    if question.kind is QuestionKind.TYPED:
        given = normalize_typed(text)
        return any(normalize_typed(accepted) == given for accepted in question.accepted)
    return choice_mask == question.correct_mask


def is_too_fast(elapsed_ms: int) -> bool:
    """Whether an answer came sooner than any human can have seen its question.

    Judged by the stored time, which is the one that earns points.

    >>> is_too_fast(199), is_too_fast(200)
    (True, False)
    """
    return elapsed_ms < limits.HUMAN_MS_MIN


def points_for_speed(points_max: int, elapsed_ms: int, time_limit_ms: int) -> int:
    """Points of a right answer under ``speed_half_floor.v1``: from all to half, linear in time.

    ``round((1 - (elapsed / time_limit) / 2) * points_max)``, halves rounded up, the whole under
    half a second. Source: Kahoot support, "How points work" (article 115002303908).

    >>> points_for_speed(1_000, 2_000, 30_000)
    967
    >>> points_for_speed(1_000, 499, 30_000), points_for_speed(1_000, 30_000, 30_000)
    (1000, 500)
    """
    if elapsed_ms < limits.FULL_POINTS_MS:
        return points_max
    elapsed = min(elapsed_ms, time_limit_ms)
    return (points_max * (2 * time_limit_ms - elapsed) + time_limit_ms) // (2 * time_limit_ms)


def points_for(
    policy: ScoringPolicy,
    question: Question,
    elapsed_ms: int,
    *,
    correct: bool,
    streak_before: int = 0,
    streak_bonus: bool = False,
) -> int:
    """Points that one answer earns.

    Args:
        policy: the session's policy. ``accuracy.v1`` pays the question's full points for every
            right answer, whenever it came.
        question: its ``points`` mode gives 0, 1000 or 2000; its ``time_limit_ms`` the scale.
        elapsed_ms: time from the opening to the answer, already clamped by the session.
        correct: whether the answer is right; a wrong one earns 0.
        streak_before: right answers in a row before this one.
        streak_bonus: whether the session pays :data:`STREAK_BONUS` on top. A question without
            points counts for the streak and pays nothing.

    >>> q = Question(QuestionKind.SINGLE, "?", ("a", "b"), (0,), time_limit_ms=30_000)
    >>> points_for(ScoringPolicy.SPEED, q, 2_000, correct=True)
    967
    >>> points_for(ScoringPolicy.ACCURACY, q, 29_000, correct=True, streak_before=1, streak_bonus=True)
    1100
    """
    points_max = question.points.points_max
    if not correct or points_max == 0:
        return 0
    if policy is ScoringPolicy.SPEED:
        points = points_for_speed(points_max, elapsed_ms, question.time_limit_ms)
    else:
        points = points_max
    if streak_bonus:
        points += STREAK_BONUS[min(streak_before, len(STREAK_BONUS) - 1)]
    return points


class Given(NamedTuple):
    """One answer of a participant, as it is stored."""

    opening_no: OpeningNo
    question: Question
    elapsed_ms: int
    correct: bool


def points_in_all(settings: SessionSettings, answers: Iterable[Given]) -> int:
    """Points of one participant, from its answers in the order of openings.

    An opening without an answer ends a row of right ones: so when answers are left out, the bonuses
    that were built on them go with them.

    >>> q = Question(QuestionKind.SINGLE, "?", ("a", "b"), (0,))
    >>> given = [Given(OpeningNo(n), q, 0, True) for n in (1, 2, 3)]
    >>> bonus = SessionSettings(scoring=ScoringPolicy.ACCURACY, streak_bonus=True)
    >>> points_in_all(bonus, given), points_in_all(bonus, [given[0], given[2]])
    (3300, 2000)
    """
    total, streak, last_no = 0, 0, 0
    for answer in answers:
        if answer.opening_no != last_no + 1:
            streak = 0
        last_no = answer.opening_no
        total += points_for(
            settings.scoring,
            answer.question,
            answer.elapsed_ms,
            correct=answer.correct,
            streak_before=streak,
            streak_bonus=settings.streak_bonus,
        )
        streak = streak + 1 if answer.correct else 0
    return total
