"""What every importer returns."""

from __future__ import annotations

from typing import NamedTuple

from engine.model import Quiz

#: Characters of an item that a report quotes.
_ITEM_CHARS = 80


class Skipped(NamedTuple):
    """An item that was not carried over. Lines count from 1 (of JSON: the question's number)."""

    line: int
    item: str
    reason: str


class Warned(NamedTuple):
    """An item that was carried over, but not as it stood; ``reason`` says what has changed."""

    line: int
    item: str
    reason: str


class ImportReport(NamedTuple):
    """The questions that can be used, what was left out, and what was changed; in file order."""

    quiz: Quiz
    skipped: list[Skipped]
    warnings: list[Warned]


def quote(text: str) -> str:
    """The beginning of an item on one line, for a report."""
    line = " ".join(text.split())
    return line if len(line) <= _ITEM_CHARS else line[: _ITEM_CHARS - 1] + "…"
