"""Sessions that no actor could take over: how they are told, listed, and tried again.

See docs/adr/0025-quarantine.md.
"""

from __future__ import annotations

from typing import NamedTuple

import asyncpg

from actors.postgres import AWAY, Database
from actors.shards import Shards
from actors.sql import queries
from engine.errors import Conflict, NotFound, ServerFault, Unavailable
from engine.ids import Pin, SessionId


class QuarantinedSession(NamedTuple):
    """A session that is set aside."""

    session_id: SessionId
    pin: Pin
    title: str
    #: ISO 8601.
    quarantined_at: str
    reason: str
    #: Take-overs that were tried one after the other.
    tries: int


def quarantined(session_id: SessionId) -> ServerFault:
    """What whoever asks for such a session is told (code ``quarantined``, not retryable)."""
    return ServerFault(
        f"session {session_id} could not be continued and was set aside; its operator can retry it",
        "quarantined",
    )


async def list_quarantined(shards: Shards[Database]) -> list[QuarantinedSession]:
    """The sessions of all primaries that are set aside, oldest first.

    Raises:
        Unavailable: a primary is away.
    """
    found: list[QuarantinedSession] = []
    for number, database in enumerate(shards.databases):
        try:
            rows = await database.fetch(queries["quarantined"], number)
        except AWAY as error:
            raise Unavailable(f"the database is away: {error!r}") from error
        found += (
            QuarantinedSession(
                SessionId(str(row["session_id"])),
                Pin(row["pin"]),
                row["title"],
                row["quarantined_at"].isoformat(timespec="seconds"),
                row["quarantine_reason"],
                row["take_overs"],
            )
            for row in rows
        )
    return sorted(found, key=lambda session: session.quarantined_at)


async def retry_quarantined(shards: Shards[Database], session_id: SessionId) -> None:
    """Let a session that is set aside be live again, under the PIN that it had.

    Nothing is started: the first who asks for the session has it given an actor.

    Raises:
        NotFound: no such session is set aside.
        Conflict: another live session has its PIN by now.
        Unavailable: a primary is away; call again.
    """
    database, catalogue = shards.of(session_id), shards.catalogue
    try:
        # The catalogue first: it holds the PINs. Should the second step fail, the supervisor's sweep
        # tells the entry that its session has ended.
        if database is not catalogue:
            await catalogue.fetch(queries["reopen_entry"], session_id)
        rows = await database.fetch(queries["retry_quarantined"], session_id)
    except asyncpg.UniqueViolationError:
        raise Conflict(
            f"session {session_id}: another live session has its PIN; retry when that one is over"
        ) from None
    except asyncpg.DataError:
        rows = []
    except AWAY as error:
        raise Unavailable(f"the database is away: {error!r}") from error
    if not rows:
        raise NotFound(f"session {session_id} is not quarantined")
