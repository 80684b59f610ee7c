"""Opens sessions: a row with a free PIN, and an actor that runs it."""

from __future__ import annotations

import secrets
import uuid
from typing import NamedTuple

import asyncpg
import msgspec

from actors.directory import Directory
from actors.log_message import partition_of
from actors.postgres import AWAY
from actors.sql import queries
from engine import limits
from engine.errors import NotFound, TooMany, Unavailable
from engine.ids import Pin, QuizId, SessionId
from engine.model import SessionSettings, check_settings

#: PINs tried before giving up; with a thousandth of them in use, ten all taken is 1 in 10^30.
_PIN_TRIES = 10


class OpenedSession(NamedTuple):
    """A session that people can join."""

    session_id: SessionId
    pin: Pin


async def open_session(
    pool: asyncpg.Pool[asyncpg.Record],
    directory: Directory,
    quiz_id: QuizId,
    settings: SessionSettings,
) -> OpenedSession:
    """Create a session of a quiz's newest version and give it an actor.

    Raises:
        Malformed: the settings do not fit together.
        NotFound: there is no such quiz.
        TooMany: as many sessions are live as may be.
        Unavailable: the database or Ray is away.
    """
    check_settings(settings)
    session_id = SessionId(str(uuid.uuid4()))
    body, partition = msgspec.json.encode(settings).decode(), partition_of(session_id)
    try:
        live = await pool.fetchval(queries["live_sessions_count"])
        if live >= limits.SESSIONS_LIVE_MAX:
            raise TooMany(f"sessions: {live} are live; at most {limits.SESSIONS_LIVE_MAX} may be")
        if await pool.fetchrow(queries["get_quiz"], quiz_id) is None:
            raise NotFound(f"quiz: {quiz_id} does not exist")
        for _ in range(_PIN_TRIES):
            pin = Pin(f"{secrets.randbelow(10**limits.PIN_DIGITS):0{limits.PIN_DIGITS}}")
            row = (session_id, quiz_id, pin, body, partition)
            if await pool.fetchrow(queries["create_session"], *row):
                await directory.forget_pin(pin)  # another session may have had it a moment ago
                await _assign(pool, directory, session_id)
                return OpenedSession(session_id, pin)
    except AWAY as error:
        raise Unavailable(f"the database is away: {error!r}") from error
    except asyncpg.DataError:
        raise NotFound(f"quiz: {quiz_id} does not exist") from None
    raise Unavailable("no free PIN was found; try again")


async def _assign(
    pool: asyncpg.Pool[asyncpg.Record], directory: Directory, session_id: SessionId
) -> None:
    try:
        await directory.assign(session_id, None)
    except Unavailable:
        # The reply alone may have been lost; only the row tells. Without an actor it would hold
        # its PIN for hours, and its caller opens another one.
        if await pool.fetchrow(queries["withdraw_session"], session_id):
            raise
