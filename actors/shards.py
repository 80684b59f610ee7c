"""Several primaries: which one has a session, and what the first one knows of the others' sessions.

The first primary is the catalogue: the library, and an entry for every session, which holds its PIN.
A session's own row and its log are on one primary, its shard, from the beginning to the end. The
session's id says which, so nothing has to be looked up (docs/adr/0016-sharding.md).
"""

from __future__ import annotations

import uuid
import zlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Generic, TypeVar

from actors.postgres import Database
from actors.sql import queries
from engine import limits
from engine.errors import NotFound
from engine.ids import SessionId

_D_co = TypeVar("_D_co", bound=Database, covariant=True)

#: An id of this version (RFC 9562: for uses of one's own) ends in the number of its shard, one byte;
#: any other id belongs to the catalogue.
_VERSION = 8
_VERSION_BITS = 76


def new_session_id(shard: int) -> SessionId:
    """An id for a session on a shard; random but for that."""
    chosen = uuid.uuid4()
    if shard:
        number = chosen.int & ~(0xF << _VERSION_BITS) & ~0xFF
        chosen = uuid.UUID(int=number | _VERSION << _VERSION_BITS | shard)
    return SessionId(str(chosen))


def shard_of(session_id: SessionId) -> int:
    """The shard of a session: 0, the catalogue, also for what is no session's id.

    >>> shard_of(SessionId("6f1cfb62-50a5-4d8e-93a6-d5a5c3c2a703"))
    0
    >>> shard_of(SessionId("6f1cfb62-50a5-8d8e-93a6-d5a5c3c2a703"))
    3
    """
    try:
        number = uuid.UUID(session_id).int
    except ValueError:
        return 0
    return number & 0xFF if number >> _VERSION_BITS & 0xF == _VERSION else 0


def partition_of(session_id: SessionId) -> int:
    """The partition of a session, one of ``PARTITIONS`` that its shard alone has: by CRC-32 of its id.

    Named and fixed, because Python's own ``hash`` differs from process to process; stored with the
    session, because the number of partitions may change while it lives.

    >>> partition_of(SessionId("00000000-0000-4000-8000-000000000001"))
    1
    """
    partition = zlib.crc32(session_id.encode()) % limits.PARTITIONS
    return shard_of(session_id) * limits.PARTITIONS + partition


class Shards(Generic[_D_co]):
    """The primaries, in their order: ``databases[0]`` is the catalogue."""

    def __init__(self, databases: Sequence[_D_co]) -> None:
        self.databases = databases

    @property
    def catalogue(self) -> _D_co:
        """The primary of the library, and of the entries of all sessions."""
        return self.databases[0]

    def of(self, session_id: SessionId) -> _D_co:
        """The primary of a session.

        Raises:
            NotFound: there is no such primary, so there is no such session.
        """
        shard = shard_of(session_id)
        if shard >= len(self.databases):
            raise NotFound(f"session: {session_id} does not exist")
        return self.databases[shard]


async def tell_ends(catalogue: Database, shard: Database, session_ids: Sequence[SessionId]) -> None:
    """Bring the catalogue's entries of a shard's sessions to where the sessions themselves are.

    An entry is made after its session; one without a session is what is left of an opening that
    failed and was withdrawn, and ends.

    Raises:
        AWAY, Unavailable: a database is away; call again.
    """
    found = {
        str(row["session_id"]): (row["finished_at"], row["ended_at"], row["cancelled"])
        for row in await shard.fetch(queries["ends_of"], session_ids)
    }
    now = datetime.now(UTC)
    ends = [found.get(session_id, (now, now, True)) for session_id in session_ids]
    await catalogue.fetch(queries["tell_ends"], session_ids, *map(list, zip(*ends, strict=True)))
