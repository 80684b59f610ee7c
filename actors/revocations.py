"""Which tokens are not believed any more, in PostgreSQL: a few rows that every replica remembers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import asyncpg

from actors.postgres import AWAY, Database
from actors.sql import queries
from engine.errors import Unavailable
from engine.ids import SessionId


class Revocation(NamedTuple):
    """Tokens of a session's role that were given before a moment are not believed any more."""

    session_id: SessionId
    role: str
    before_ms: int


async def store_revocation(
    catalogue: Database, session_id: SessionId, roles: Iterable[str], before_ms: int
) -> None:
    """End all tokens of a session's roles that were given before a moment (ms since 1970).

    Raises:
        Unavailable: the catalogue is away; whether it was stored is unknown.
    """
    try:
        await catalogue.fetch(queries["revoke_tokens"], session_id, list(roles), before_ms)
    except AWAY as error:
        raise Unavailable(f"the database is away: {error!r}") from error


async def revocations(catalogue: Database, since_ms: int) -> list[Revocation]:
    """All that were stored with a later moment than ``since_ms``.

    Raises:
        Unavailable: the catalogue is away.
    """
    try:
        rows = await catalogue.fetch(queries["revoked_tokens"], since_ms)
    except (*AWAY, asyncpg.PostgresError) as error:
        raise Unavailable(f"the database is away: {error!r}") from error
    return [Revocation(SessionId(str(r["session_id"])), r["role"], r["before_ms"]) for r in rows]
