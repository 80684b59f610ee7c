"""A played session as files for people and programs, made page by page.

Both are generators of pieces, each of one page of answers (``READ_PAGE_ROWS``); nothing is read ahead.
They raise what reading raises: a file that ends that way is not whole.
"""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncGenerator, Iterable
from typing import Final

import msgspec

from actors.played import AnswerRow, Overview, PersonAnswers, PlayedSession

_encoder = msgspec.json.Encoder()
#: Tells spreadsheets that the file is UTF-8.
_MARK: Final = "\ufeff"
_LETTERS: Final = "ABCDEFGH"


async def json_file(session: PlayedSession) -> AsyncGenerator[bytes, None]:
    """One JSON object: the fields of :class:`actors.played.Overview`, and ``answers``, a line each."""
    overview = await session.overview()
    before = _encoder.encode(overview)[:-1] + b',"answers":[\n'
    async for answers in session.answers():
        if answers:
            yield before + b",\n".join(map(_encoder.encode, answers))
            before = b",\n"
    yield (b"" if before == b",\n" else before) + b"]}\n"


async def csv_file(session: PlayedSession) -> AsyncGenerator[bytes, None]:
    """A line for each player, best first: totals, then what was said to each question, points, seconds."""
    overview = await session.overview()
    head = ["rank", "name", "points", "answered", "right", "too fast"]
    for summary in overview.openings:
        number, question = summary.opening, overview.quiz.questions[summary.question_index]
        head += (f"{number}. {question.text}", f"{number}. points", f"{number}. seconds")
    before = _MARK + _lines([map(harmless, head)])
    async for people in session.by_person(overview):
        yield (before + _lines(_cells(overview, person) for person in people)).encode()
        before = ""
    if before:
        yield before.encode()


def harmless(text: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def _cells(overview: Overview, person: PersonAnswers) -> Iterable[object]:
    row = person.row
    yield from (row.rank, harmless(row.nickname), row.points)
    yield from (row.answered, row.correct, row.too_fast)
    for summary in overview.openings:
        answer = person.answers.get(summary.opening)
        yield from ("", "", "") if answer is None else _said(answer)


def _said(answer: AnswerRow) -> Iterable[object]:
    letters = " ".join(_LETTERS[index] for index in answer.choices)
    seconds = f"{answer.elapsed_ms / 1000:.3f}".rstrip("0").rstrip(".")
    return harmless(answer.text or letters), answer.points, seconds


def _lines(rows: Iterable[Iterable[object]]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue()
