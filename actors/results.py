"""Lists and scoreboards from the tables alone. A whole session is read in :mod:`actors.played`."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

import asyncpg
import msgspec

from actors.library import make_cursor, parse_cursor
from actors.postgres import AWAY, Database
from actors.sql import queries
from engine import limits
from engine.errors import Conflict, NotFound, Unavailable
from engine.ids import QuizId, SessionId


class ResultRow(msgspec.Struct, frozen=True):
    """One line of the scoreboard."""

    participant_id: int
    nickname: str
    points: int
    rank: int
    answered: int
    correct: int
    #: Answers that came within less than ``HUMAN_MS_MIN``, whether they count or were left out.
    too_fast: int


class FastRow(msgspec.Struct, frozen=True):
    """Somebody whose answers came sooner than anybody reads, and how many did."""

    participant_id: int
    nickname: str
    answers: int


class SessionRow(NamedTuple):
    """A session in a listing."""

    session_id: SessionId
    quiz_id: QuizId
    pin: str
    title: str
    created_at: datetime
    finished_at: datetime | None
    ended_at: datetime | None


class ResultsReader:
    """Every method raises Unavailable while the database is away, NotFound for an unusable id."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def scoreboard(self, session_id: SessionId, offset: int, rows: int) -> list[ResultRow]:
        """Rows of the scoreboard, best first; of a session that nobody joined, none.

        Every stored answer counts, so it agrees with the session's memory once no question is open.
        """
        found = await self._fetch(
            "result_scoreboard", session_id, offset, rows, limits.HUMAN_MS_MIN, False
        )
        return [ResultRow(*row.values()) for row in found]

    async def too_fast(self, session_id: SessionId) -> list[FastRow]:
        """Whose answers came within less than ``HUMAN_MS_MIN``, most often first; at most a page."""
        found = await self._fetch(
            "result_too_fast", session_id, limits.HUMAN_MS_MIN, limits.LISTING_ROWS_MAX
        )
        return [FastRow(**dict(row)) for row in found]

    async def quiz(self, session_id: SessionId) -> bytes:
        """The quiz that a session pins, key included, as JSON; see :class:`engine.model.Quiz`.

        Raises:
            NotFound: there is no such session.
        """
        found = await self._fetch("session_quiz", session_id)
        if not found:
            raise NotFound(f"session: {session_id} does not exist")
        body = found[0]["body"]
        return body.encode() if isinstance(body, str) else bytes(body)

    async def require_finished(self, session_id: SessionId) -> None:
        """Return when all that was stored of a finished session can be read from this database.

        The end is noted after everything else is stored, and a replica replays in the order of the
        commits: where the end is seen, nothing before it is missing.

        Raises:
            NotFound: there is no such session.
            Conflict: it is not finished, as far as this database knows.
        """
        found = await self._fetch("is_finished", session_id)
        if not found:
            raise NotFound(f"session: {session_id} does not exist")
        if not found[0]["finished"]:
            raise Conflict("the session is not finished yet")

    async def page(self, rows: int, cursor: str | None) -> tuple[list[SessionRow], str | None]:
        """One page of the sessions, newest first, and the cursor of the next one."""
        found = await self._fetch("list_sessions", rows + 1, *parse_cursor(cursor))
        page = [
            SessionRow(
                SessionId(str(row["session_id"])),
                QuizId(str(row["quiz_id"])),
                row["pin"],
                row["title"],
                row["created_at"],
                row["finished_at"],
                row["ended_at"],
            )
            for row in found[:rows]
        ]
        more = len(found) > rows
        return page, make_cursor(page[-1].created_at, page[-1].session_id) if more else None

    async def _fetch(self, query: str, *args: object) -> list[asyncpg.Record]:
        return await fetch_stored(self._database, queries[query], *args)


async def fetch_stored(database: Database, sql: str, *args: object) -> list[asyncpg.Record]:
    """Rows of a statement about what is stored of one session, whose id is its first argument.

    Raises:
        Unavailable: the database is away.
        NotFound: the id is not one.
    """
    try:
        return await database.fetch(sql, *args)
    except AWAY as error:
        raise Unavailable(f"the database is away: {error!r}") from error
    except asyncpg.DataError:
        raise NotFound(f"session: {args[0]} does not exist") from None
