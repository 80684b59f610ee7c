"""How an actor knows that it still is its session's own: a young reading of the epoch.

An actor that was paused and wakes up is a second one, and nobody has told it. PostgreSQL's epoch is
the only judge; a reading of it is good for a while, on a clock that a suspended machine does not
stop (docs/adr/0003-fencing.md).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

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


class Owner(Protocol):
    """What is known at the broker of who runs the session (:class:`actors.rabbitmq.SessionPublisher`)."""

    connection_no: int
    #: Called when another actor is known to have the session.
    on_overtaken: Callable[[Fenced], None]

    async def reach(self) -> None:
        """Return when there is a connection that has the session, or raise Unavailable."""

    async def check(self) -> int:
        """Return the number of the connection that has the session just now, or raise Unavailable."""


class EpochLease:
    """Reads a session's epoch every second, and at need; the broker stands in for PostgreSQL.

    Two things say that an actor still is its session's own:

    - A young reading of the epoch. A successor raises the epoch and then waits for as long as a
      reading is good before it lets anything be decided.
    - A connection to the broker that has the session's mailbox, once the epoch was read after it got
      it. A successor raises the epoch, gets the mailbox, which nobody has as long as that connection
      lives, and sends its barrier behind all that came over it.

    The second needs no PostgreSQL, so answers go on while it is away.
    """

    def __init__(
        self, connection: LoneConnection, session_id: SessionId, epoch: Epoch, owner: Owner
    ) -> None:
        self._connection = connection
        self._session_id = session_id
        self._epoch = epoch
        self._owner = owner
        self._read_ns = 0
        #: The last connection to the broker that was there when a reading began.
        self._vouched_no = 0
        #: Whether PostgreSQL left the last question without an answer.
        self._is_silent = False
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def hold(self) -> None:
        """Return when nobody else can have changed the session when this was called.

        Raises:
            Fenced: another actor has taken the session over.
            Unavailable: neither the database nor the broker can tell.
        """
        if self.is_young or await self._is_read():
            return
        self._require_vouched(await self._owner.check())

    async def vouch(self, connection_no: int, *, anew: bool) -> None:
        """Return when what was confirmed over a connection may be acknowledged.

        Args:
            connection_no: of the owner's connections.
            anew: whether only a reading counts that is begun now, as for what opens or closes a
                question: it changes what others may say, and is rare.

        Raises:
            Fenced, Unavailable: as :meth:`hold`.
        """
        if (not anew and self.is_young) or await self._is_read():
            return
        self._require_vouched(connection_no)

    @property
    def is_young(self) -> bool:
        """Whether the last reading is still good."""
        return boottime_ns() - self._read_ns <= limits.LEASE_MS * 1_000_000

    def _require_vouched(self, connection_no: int) -> None:
        if connection_no != self._vouched_no:
            raise Unavailable("the epoch was not read since the broker was reached")

    async def _is_read(self) -> bool:
        """Whether the epoch could be read now. Nobody waits for a database that was just silent."""
        if self._is_silent:
            return False
        try:
            async with asyncio.timeout(limits.EPOCH_ANSWER_MS / 1000):
                await self._read()
        except (TimeoutError, Unavailable) as error:
            log.warning("action=epoch_unread session=%s reason=%r", self._session_id, error)
            self._is_silent = True
            return False
        return True

    async def _read(self) -> None:
        # The reading is as old as its question.
        asked_ns, connection_no = boottime_ns(), self._owner.connection_no
        await check_epoch(self._connection, self._session_id, self._epoch)
        self._read_ns, self._vouched_no, self._is_silent = asked_ns, connection_no, False

    async def _run(self) -> None:
        while True:
            with suppress(Unavailable):
                # Before the reading, so that it vouches for the connection when it is needed.
                await self._owner.reach()
            try:
                await self._read()
            except Unavailable as error:
                log.debug("action=epoch_unread session=%s reason=%s", self._session_id, error)
                self._is_silent = True
            except Fenced as error:
                # Whoever calls from now on asks anew, and is told as well.
                self._read_ns, self._is_silent = 0, False
                self._owner.on_overtaken(error)
                return
            await asyncio.sleep(limits.EPOCH_READ_INTERVAL_MS / 1000)

    async def close(self) -> None:
        """Stop reading."""
        await cancel([self._task])
