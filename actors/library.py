"""The library of quizzes in PostgreSQL. A quiz's versions never change; a session pins one."""

from __future__ import annotations

import asyncio
import uuid
from datetime import UTC, datetime
from typing import NamedTuple

import asyncpg
import msgspec

from actors.postgres import AWAY, Database
from actors.sql import queries
from engine.errors import Malformed, NotFound, Unavailable
from engine.ids import QuizId
from engine.model import Quiz, check_quiz

_decoder = msgspec.json.Decoder(Quiz)


class QuizRow(NamedTuple):
    """A quiz without its questions."""

    quiz_id: QuizId
    title: str
    question_count: int
    version: int
    created_at: datetime


class QuizLibrary:
    """Every method raises Unavailable while the database is away."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, quiz: Quiz) -> QuizRow:
        """Store a new quiz.

        Raises:
            Malformed: code ``invalid_quiz``.
        """
        rows = await self._write("create_quiz", str(uuid.uuid4()), quiz)
        return _row(rows[0])

    async def update(self, quiz_id: QuizId, quiz: Quiz) -> QuizRow:
        """Store a new version of a quiz.

        Raises:
            Malformed: code ``invalid_quiz``.
            NotFound: there is no such quiz.
        """
        rows = await self._write("update_quiz", quiz_id, quiz)
        if not rows:
            raise _missing(quiz_id)
        return _row(rows[0])

    async def get(self, quiz_id: QuizId, version: int | None = None) -> tuple[QuizRow, Quiz]:
        """A quiz's newest version, or the one that is named.

        An older version's row has that version's title and number of questions.

        Raises:
            NotFound: there is no such quiz, or no such version of it.
        """
        if version is None:
            rows = await self._fetch("get_quiz", quiz_id)
        else:
            rows = await self._fetch("get_quiz_version", quiz_id, version)
        if not rows:
            raise _missing(quiz_id)
        quiz = _decoder.decode(rows[0]["body"])
        row = _row(rows[0])
        return row._replace(title=quiz.title, question_count=len(quiz.questions)), quiz

    async def page(self, rows: int, cursor: str | None) -> tuple[list[QuizRow], str | None]:
        """One page of the library, newest first, and the cursor of the next one (None: the last).

        Raises:
            Malformed: the cursor is not one of ours.
        """
        found = await self._fetch("list_quizzes", rows + 1, *parse_cursor(cursor))
        page = [_row(row) for row in found[:rows]]
        more = len(found) > rows
        return page, make_cursor(page[-1].created_at, page[-1].quiz_id) if more else None

    async def delete(self, quiz_id: QuizId) -> None:
        """Take a quiz out of the library; sessions of it go on.

        Raises:
            NotFound: there is no such quiz.
        """
        if not await self._fetch("delete_quiz", quiz_id):
            raise _missing(quiz_id)

    async def _write(self, query: str, quiz_id: str, quiz: Quiz) -> list[asyncpg.Record]:
        # A large quiz takes some 50 ms, in which the caller's loop serves others.
        body = await asyncio.to_thread(_stored_form, quiz)
        return await self._fetch(query, quiz_id, quiz.title, len(quiz.questions), body)

    async def _fetch(self, query: str, *args: object) -> list[asyncpg.Record]:
        try:
            return await self._database.fetch(queries[query], *args)
        except AWAY as error:
            raise Unavailable(f"the database is away: {error!r}") from error
        except asyncpg.DataError:
            # The only arguments that a client names and nobody has checked are ids and versions.
            raise NotFound(f"quiz: {args[0]} does not exist") from None


def _stored_form(quiz: Quiz) -> str:
    return msgspec.json.encode(check_quiz(quiz)).decode()


def _row(row: asyncpg.Record) -> QuizRow:
    return QuizRow(
        QuizId(str(row["quiz_id"])),
        row["title"],
        row["question_count"],
        row["version"],
        row["created_at"],
    )


def _missing(quiz_id: QuizId) -> NotFound:
    return NotFound(f"quiz: {quiz_id} does not exist")


def make_cursor(created_at: datetime, row_id: str) -> str:
    """Where a page ended, as one opaque word for the client."""
    return f"{created_at.isoformat()}~{row_id}"


def parse_cursor(cursor: str | None) -> tuple[datetime | None, str | None]:
    """Undo :func:`make_cursor`; None is the first page.

    Raises:
        Malformed: the cursor is not one of ours.
    """
    if cursor is None:
        return None, None
    try:
        at, _, row_id = cursor.partition("~")
        # Without an offset it would be read in this machine's time zone; ours always have one.
        created_at = datetime.fromisoformat(at).astimezone(UTC)
        return created_at, str(uuid.UUID(row_id))
    except (ValueError, OverflowError):
        raise Malformed("cursor: it is not one that a listing has given") from None
