"""The formats by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from engine import limits
from engine.errors import Malformed
from engine.importers import opentriviaqa, rayquiz_json
from engine.importers.report import ImportReport
from engine.model import check_quiz

#: Format name -> its importer.
FORMATS: Final[dict[str, Callable[[bytes, str], ImportReport]]] = {
    "rayquiz": rayquiz_json.parse,
    "opentriviaqa": opentriviaqa.parse,
}


def import_quiz(data: bytes, format_name: str, title: str) -> ImportReport:
    """Make a quiz of a file.

    Args:
        data: the file, at most ``QUIZ_BYTES_MAX`` bytes.
        format_name: a key of :data:`FORMATS`.
        title: the quiz's title; a format that carries one of its own may do without.

    Raises:
        Malformed: ``too_large``; ``malformed`` (no such format, or the file as a whole is not of
            it); ``quiz_empty`` (no question can be used; the detail gives the first reason);
            ``invalid_quiz`` (no title, or a title, description or attribution out of its bounds).
    """
    if len(data) > limits.QUIZ_BYTES_MAX:
        raise Malformed(
            f"file: {len(data)} bytes; at most {limits.QUIZ_BYTES_MAX} are allowed", "too_large"
        )
    if format_name not in FORMATS:
        raise Malformed(f"format: {format_name!r}; allowed: {', '.join(FORMATS)}")
    report = FORMATS[format_name](data, title.strip())
    if not report.quiz.questions:
        why = ""
        if report.skipped:
            why = f"; the first of {len(report.skipped)} skipped: {report.skipped[0].reason}"
        raise Malformed(f"file: it has no question that can be used{why}", "quiz_empty")
    check_quiz(report.quiz)
    return report
