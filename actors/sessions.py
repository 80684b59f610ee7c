"""Opens sessions: a row with a free PIN, and an actor that runs it."""

from __future__ import annotations

import secrets
from typing import NamedTuple

import asyncpg
import msgspec

from actors.directory import Directory
from actors.postgres import AWAY
from actors.shards import new_session_id, partition_of
from actors.sql import queries
from engine import limits
from engine.errors import NotFound, QuizError, TooMany, Unavailable
from engine.ids import Pin, QuizId, SessionId
from engine.model import SessionSettings, check_settings
from engine.pins import PinStyle, new_pin

#: PINs tried before giving up; with a thousandth of them in use, ten all taken is 1 in 10^30.
_PIN_TRIES = 10


class OpenedSession(NamedTuple):
    """A session that people can join."""

    session_id: SessionId
    pin: Pin


class _ShardAway(Exception):
    """A primary beside the catalogue is away; another one may take the session."""


async def open_session(
    directory: Directory,
    quiz_id: QuizId,
    settings: SessionSettings,
    style: PinStyle = PinStyle.DIGITS6,
) -> OpenedSession:
    """Create a session of a quiz's newest version, with a PIN of a style, and give it an actor.

    Of several primaries the one with the fewest live sessions takes it, if it is there.

    Raises:
        Malformed: the settings do not fit together.
        NotFound: there is no such quiz.
        TooMany: as many sessions are live as may be.
        Unavailable: the database or Ray is away.
    """
    check_settings(settings)
    body = msgspec.json.encode(settings).decode()
    catalogue, count = directory.shards.catalogue, len(directory.shards.databases)
    try:
        counted = await catalogue.fetch(queries["live_sessions"])
        live = dict.fromkeys(range(count), 0) | {r["shard"]: r["live"] for r in counted}
        free = [shard for shard in range(count) if live[shard] < limits.SESSIONS_LIVE_MAX]
        if not free:
            raise TooMany(
                f"sessions: {sum(live.values())} are live; "
                f"at most {limits.SESSIONS_LIVE_MAX * count} may be"
            )
        quizzes = await catalogue.fetch(queries["get_quiz"], quiz_id)
        if not quizzes:
            raise NotFound(f"quiz: {quiz_id} does not exist")
        away: Exception | None = None
        for shard in sorted(free, key=live.__getitem__):
            try:
                return await _open_on(shard, directory, quizzes[0], body, style)
            except _ShardAway as error:
                away = error
    except AWAY as error:
        raise Unavailable(f"the database is away: {error!r}") from error
    except asyncpg.DataError:
        raise NotFound(f"quiz: {quiz_id} does not exist") from None
    raise Unavailable(f"the primaries that have room are away: {away}")


async def _open_on(
    shard: int, directory: Directory, quiz: asyncpg.Record, settings: str, style: PinStyle
) -> OpenedSession:
    """Open a session on a primary.

    On another one than the catalogue the session comes first and its entry in the catalogue second:
    what has an entry is there. A session whose entry was not made has no PIN and no actor, nobody
    knows of it, and the supervisor's sweep ends it.
    """
    catalogue = directory.shards.catalogue
    for _ in range(_PIN_TRIES):
        session_id = new_session_id(shard)
        pin = new_pin(style, secrets.randbelow)
        row = (session_id, quiz["quiz_id"], pin, settings, partition_of(session_id), shard)
        if shard and not await _create_on_shard(directory, row, quiz):
            continue
        if await catalogue.fetch(queries["create_session"], *row):
            await directory.forget_pin(pin)  # another session may have had it a moment ago
            await _assign(directory, session_id)
            return OpenedSession(session_id, pin)
        if shard:
            await directory.shards.of(session_id).fetch(queries["withdraw_session"], session_id)
    raise Unavailable("no free PIN was found; try again")


async def _create_on_shard(
    directory: Directory, row: tuple[SessionId, object, Pin, str, int, int], quiz: asyncpg.Record
) -> bool:
    """Whether the session is there now; not when its PIN is in use there."""
    copied = (quiz["version"], quiz["title"], quiz["question_count"], quiz["body"])
    try:
        shard = directory.shards.of(row[0])
        return bool(await shard.fetch(queries["create_session_on_shard"], *row, *copied))
    except AWAY as error:
        raise _ShardAway(repr(error)) from error


async def _assign(directory: Directory, session_id: SessionId) -> None:
    try:
        await directory.assign(session_id, None)
    except QuizError:
        # The reply alone may have been lost; only the row tells. Without an actor it would hold
        # its PIN for hours, and its caller opens another one.
        shards = directory.shards
        database = shards.of(session_id)
        if await database.fetch(queries["withdraw_session"], session_id):
            if database is not shards.catalogue:
                await shards.catalogue.fetch(queries["withdraw_session"], session_id)
            raise
