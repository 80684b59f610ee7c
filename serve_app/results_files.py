"""A played session as files for people and programs, made page by page.

All are generators of pieces, each of one page of answers (``READ_PAGE_ROWS``); nothing is read ahead.
They raise what reading raises: a file that ends that way is not whole.
"""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import AsyncGenerator, Iterable
from typing import Final

import msgspec

from actors.played import AnswerRow, OpeningSummary, Overview, PersonAnswers, PlayedSession
from engine.model import Question
from serve_app.xlsx import Cell, Workbook

_encoder = msgspec.json.Encoder()
#: Tells spreadsheets that the file is UTF-8.
_MARK: Final = "\ufeff"
_LETTERS: Final = "ABCDEFGH"
#: In characters.
_QUESTION_WIDTHS: Final = (8, 60, 40, 10, 10, 16)
_PLAYER_WIDTHS: Final = (6, 28, 9, 10, 9, 9)


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


async def xlsx_file(session: PlayedSession) -> AsyncGenerator[bytes, None]:
    """A workbook: each question with its key and how it was answered; then a row for each player.

    Pieces are made beside the event loop.
    """
    overview = await session.overview()
    book = Workbook(["Questions", "Players"])
    head = ["number", "question", "correct answer", "answered", "correct", "percent correct"]
    yield book.begin(head, _QUESTION_WIDTHS)
    yield await asyncio.to_thread(book.rows, map(_question_row, *_asked(overview)))
    head = ["rank", "name", "points", "answered", "correct", "too fast"]
    for summary, question in zip(*_asked(overview), strict=True):
        number = summary.opening
        head += (f"{number}. {question.text}", f"{number}. points", f"{number}. seconds")
    yield book.begin(head, _PLAYER_WIDTHS)
    async for people in session.by_person(overview):
        yield await asyncio.to_thread(
            book.rows, (_player_row(overview, person) for person in people)
        )
    yield book.end()


def _asked(overview: Overview) -> tuple[list[OpeningSummary], list[Question]]:
    questions = overview.quiz.questions
    return overview.openings, [questions[summary.question_index] for summary in overview.openings]


def _question_row(summary: OpeningSummary, question: Question) -> Iterable[Cell]:
    key = question.accepted or [
        f"{_LETTERS[index]}: {question.choices[index]}" for index in question.correct
    ]
    share = round(100 * summary.correct / summary.answered) if summary.answered else None
    number = summary.question_index + 1
    return (number, question.text, "; ".join(key), summary.answered, summary.correct, share)


def _player_row(overview: Overview, person: PersonAnswers) -> Iterable[Cell]:
    row = person.row
    yield from (row.rank, row.nickname, row.points, row.answered, row.correct, row.too_fast)
    for summary in overview.openings:
        answer = person.answers.get(summary.opening)
        if answer is None:
            yield from (None, None, None)
        else:
            yield from (_text_of(answer), answer.points, answer.elapsed_ms / 1000)


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
    seconds = f"{answer.elapsed_ms / 1000:.3f}".rstrip("0").rstrip(".")
    return harmless(_text_of(answer)), answer.points, seconds


def _text_of(answer: AnswerRow) -> str:
    return answer.text or " ".join(_LETTERS[index] for index in answer.choices)


def _lines(rows: Iterable[Iterable[object]]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue()
