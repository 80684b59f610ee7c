"""How an actor knows that it still is its session's own: a young reading of the epoch.

An actor that was paused and wakes up is a second one, and nobody has told it. PostgreSQL's epoch is
the only judge; a reading of it is good for a while, on a clock that a suspended machine does not
stop (docs/adr/0003-fencing.md).
"""

from __future__ import annotations

import asyncio
import logging

from actors.clock import boottime_ns
from actors.postgres import LoneConnection
from actors.sql import queries
from actors.tasks import cancel
from engine import limits
from engine.errors import Fenced, Unavailable
from engine.ids import Epoch, SessionId

log = logging.getLogger(__name__)


async def check_epoch(connection: LoneConnection, session_id: SessionId, epoch: Epoch) -> None:
    """Return when nobody has taken the session over since this epoch began.

    Raises:
        Fenced: somebody has.
        Unavailable: the database is away.
    """
    rows = await connection.fetch(queries["session_epoch"], session_id)
    if not rows or rows[0]["epoch"] != epoch:
        raise Fenced(f"session {session_id}: epoch {epoch} is over")


class EpochLease:
    """Reads a session's epoch every second, and at need.

    A successor raises the epoch and then waits for as long as a reading is good before it lets
    anything be decided; so whoever holds a lease is the only one that acknowledges.
    """

    def __init__(self, connection: LoneConnection, session_id: SessionId, epoch: Epoch) -> None:
        self._connection = connection
        self._session_id = session_id
        self._epoch = epoch
        self._read_ns = 0
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def hold(self) -> None:
        """Return when the epoch is ours by a reading that is young enough.

        Raises:
            Fenced: another actor has taken the session over.
            Unavailable: the database is away, and the last reading too old.
        """
        if boottime_ns() - self._read_ns > limits.LEASE_MS * 1_000_000:
            await self.renew()

    async def renew(self) -> None:
        """Read the epoch now; otherwise as :meth:`hold`."""
        # The reading is as old as its question.
        asked_ns = boottime_ns()
        await check_epoch(self._connection, self._session_id, self._epoch)
        self._read_ns = asked_ns

    async def _run(self) -> None:
        while True:
            try:
                await self.renew()
            except Unavailable as error:
                log.debug("action=epoch_unread session=%s reason=%s", self._session_id, error)
            except Fenced:
                self._read_ns = 0  # the next hold() asks again, and tells whoever needs to know
                return
            await asyncio.sleep(limits.EPOCH_READ_INTERVAL_MS / 1000)

    async def close(self) -> None:
        """Stop reading."""
        await cancel([self._task])
