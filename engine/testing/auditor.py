"""An independent, naive scorer: what the scoreboard must be, from what was answered.

It shares no code with :mod:`engine.session` and :mod:`engine.scoring`, and takes plain data as the
API's results give it, so that a mistake there is not repeated here. Fractions and quadratic loops
are welcome: it is for comparing, not for playing.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any

_POINTS = {"normal": 1_000, "double": 2_000, "none": 0}
_HALF = Fraction(1, 2)


def audit(
    quiz: Mapping[str, Any],
    settings: Mapping[str, Any],
    participants: Iterable[int],
    answers: Iterable[Mapping[str, Any]],
    removed: Iterable[int] = (),
) -> list[tuple[int, int, int]]:
    """The scoreboard as (participant_id, points, rank), best first, ties in the order of joining.

    Args:
        quiz: the project's own JSON form, with its key.
        settings: a session's settings as JSON; what is missing has its default.
        participants: the ids of everybody who ever joined.
        answers: stored answers, with ``participant_id``, ``opening``, ``question_index``,
            ``choices`` (indices), ``text`` and ``elapsed_ms``. Points and correctness that were
            stored beside them are not looked at.
        removed: the ids of those whom the host removed.

    Raises:
        ValueError: two answers under one key, or an answer of nobody; storage is broken then.
    """
    played: dict[int, dict[int, Mapping[str, Any]]] = {who: {} for who in participants}
    for answer in answers:
        who, opening = answer["participant_id"], answer["opening"]
        if who not in played:
            raise ValueError(f"participant {who} has answered, but never joined")
        if opening in played[who]:
            raise ValueError(f"participant {who} has two answers to opening {opening}")
        played[who][opening] = answer
    gone = set(removed)
    totals = {who: _total(quiz, settings, mine) for who, mine in played.items() if who not in gone}
    board = [
        (who, points, 1 + sum(other > points for other in totals.values()))
        for who, points in totals.items()
    ]
    return sorted(board, key=lambda row: (-row[1], row[0]))


def _total(
    quiz: Mapping[str, Any], settings: Mapping[str, Any], mine: Mapping[int, Mapping[str, Any]]
) -> int:
    """Points of one participant's answers, by opening."""
    total = Fraction(0)
    streak, last_opening = 0, 0
    for opening in sorted(mine):
        if opening != last_opening + 1:
            streak = 0  # an opening without an answer ends a row of right ones
        last_opening = opening
        answer = mine[opening]
        question = quiz["questions"][answer["question_index"]]
        if not _is_right(question, answer):
            streak = 0
            continue
        streak += 1
        points_max = _POINTS[question.get("points", "normal")]
        if not points_max:
            continue
        share = Fraction(1)
        if settings.get("scoring", "speed_half_floor.v1") == "speed_half_floor.v1":
            share = _speed_share(answer["elapsed_ms"], question.get("time_limit_ms", 20_000))
        total += (points_max * share + _HALF) // 1
        if settings.get("streak_bonus", False):
            total += min(100 * (streak - 1), 500)
    return int(total)


def _speed_share(elapsed_ms: int, limit_ms: int) -> Fraction:
    if elapsed_ms < 500:  # noqa: PLR2004 - written out, because engine.limits must not be asked
        return Fraction(1)
    return max(1 - Fraction(elapsed_ms, limit_ms) / 2, _HALF)


def _is_right(question: Mapping[str, Any], answer: Mapping[str, Any]) -> bool:
    if question["kind"] == "typed":
        return _plain(answer["text"]) in {_plain(text) for text in question["accepted"]}
    return set(answer["choices"]) == set(question["correct"])


def _plain(text: str) -> str:
    return re.sub(r"\s+", " ", unicodedata.normalize("NFKC", text).casefold()).strip()
