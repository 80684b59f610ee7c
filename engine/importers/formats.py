"""The formats by name."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

import msgspec

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

#: What people call them.
_NAMES: Final = {"rayquiz": "Rayquiz (JSON)", "opentriviaqa": "OpenTriviaQA (text)"}
#: How files begin that others would read, and what those are. A ZIP holds Word, Excel and the like.
_OTHERS: Final = {
    b"%PDF": "a PDF document",
    b"PK\x03\x04": "a ZIP, Excel, Word or OpenDocument file",
    b"\xd0\xcf\x11\xe0": "an old Excel or Word file",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
    b"<": "a web page or XML file",
    b"\xff\xfe": "a text in UTF-16; save it as UTF-8",
    b"\xfe\xff": "a text in UTF-16; save it as UTF-8",
}
_BOM: Final = b"\xef\xbb\xbf"
_ITEM = re.compile(rb"^[ \t]*#Q", re.MULTILINE)


def format_of(data: bytes) -> str:
    """The name of a file's format, by what is in it. O(n).

    Raises:
        Malformed: it is of none that is known; the detail says what it looks like.
    """
    text = data.removeprefix(_BOM).lstrip()
    if text.startswith((b"{", b"[")):
        return "rayquiz"
    if _ITEM.search(text):
        return "opentriviaqa"
    other = next((name for start, name in _OTHERS.items() if text.startswith(start)), "")
    looks = f"it looks like {other}" if other else "its format is not known"
    if not text:
        looks = "it is empty"
    raise Malformed(f"file: {looks}; {' and '.join(_NAMES.values())} can be imported")


def _check_format(data: bytes, format_name: str) -> None:
    """Refuse a file that is clearly of another format than it is said to be."""
    try:
        found = format_of(data)
    except Malformed:
        if any(data.lstrip().startswith(start) for start in _OTHERS):
            raise
        return  # the importer says what it misses
    # A text may begin with a brace: only what is JSON from end to end is surely no text.
    if found == format_name or (found == "rayquiz" and not _is_json(data)):
        return
    raise Malformed(f"file: it is of the format {_NAMES[found]}, not {_NAMES[format_name]}")


def _is_json(data: bytes) -> bool:
    try:
        msgspec.json.decode(data.removeprefix(_BOM), type=msgspec.Raw)
    except msgspec.MsgspecError:
        return False
    return True


def import_quiz(data: bytes, format_name: str, title: str, file_name: str = "") -> ImportReport:
    """Make a quiz of a file.

    Args:
        data: the file, at most ``QUIZ_BYTES_MAX`` bytes.
        format_name: a key of :data:`FORMATS`; empty to find out from the file.
        title: the quiz's title; a format that carries one of its own may do without.
        file_name: the title when there is no other one.

    Raises:
        Malformed: ``too_large``; ``malformed`` (no such format, or the file as a whole is not of
            it, or is of another one); ``quiz_empty`` (no question can be used; the detail gives the
            first reason); ``invalid_quiz`` (no title, or a title, description or attribution out of
            its bounds).
    """
    if len(data) > limits.QUIZ_BYTES_MAX:
        raise Malformed(
            f"file: {len(data)} bytes; at most {limits.QUIZ_BYTES_MAX} are allowed", "too_large"
        )
    if not format_name:
        format_name = format_of(data)
    elif format_name not in FORMATS:
        raise Malformed(f"format: {format_name!r}; allowed: {', '.join(FORMATS)}")
    else:
        _check_format(data, format_name)
    report = FORMATS[format_name](data, title.strip())
    if not report.quiz.title.strip():
        named = msgspec.structs.replace(report.quiz, title=file_name.strip())
        report = report._replace(quiz=named)
    if not report.quiz.questions:
        why = ""
        if report.skipped:
            why = f"; the first of {len(report.skipped)} skipped: {report.skipped[0].reason}"
        raise Malformed(f"file: it has no question that can be used{why}", "quiz_empty")
    check_quiz(report.quiz)
    return report
