"""The embedded profile's log: an event is durable when PostgreSQL has committed it.

Fence and insert are one statement: ``FOR SHARE`` waits for a take-over that is under way and then
sees its epoch, and a take-over waits for the statement; so an actor that has been replaced writes
nothing, and its successor misses nothing (docs/adr/0003-fencing.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from actors.lease import check_epoch
from actors.log_message import columns_of, rows_of
from actors.ports import Record
from actors.postgres import LoneConnection
from actors.readings import Readings
from actors.sql import queries
from engine.errors import Fenced
from engine.ids import Epoch, SessionId


class DirectLog:
    """:class:`actors.ports.CheckpointLog` over one PostgreSQL connection."""

    def __init__(self, connection: LoneConnection, session_id: SessionId, epoch: Epoch) -> None:
        self._connection = connection
        self._session_id = session_id
        self._epoch = epoch
        self._readings = Readings(self._read)

    async def append(self, records: Sequence[Record]) -> None:
        """See :meth:`actors.ports.CheckpointLog.append`; one statement for each kind of record."""
        answers, joins, events = rows_of(records)
        with self._readings.append():
            if answers:
                await self._run(queries["append_answers"], columns_of(answers))
            if joins:
                await self._run(queries["append_joins"], columns_of(joins))
            if events:
                await self._run(queries["append_events"], columns_of(events))

    async def _run(self, query: str, columns: list[list[Any]]) -> None:
        rows = await self._connection.fetch(query, self._session_id, self._epoch, *columns)
        if not rows[0]["fence"]:
            raise Fenced(f"session {self._session_id}: epoch {self._epoch} is over")

    def moment(self) -> int:
        """See :meth:`actors.ports.CheckpointLog.moment`."""
        return self._readings.moment()

    def is_held_since(self, moment: int) -> bool:
        """See :meth:`actors.ports.CheckpointLog.is_held_since`."""
        return self._readings.have_passed(moment)

    async def hold(self, moment: int) -> None:
        """See :meth:`actors.ports.CheckpointLog.hold`; the next append will do, if there is one."""
        await self._readings.hold(moment)

    async def _read(self) -> None:
        await check_epoch(self._connection, self._session_id, self._epoch)

    async def settle(self) -> None:
        """See :meth:`actors.ports.CheckpointLog.settle`: an append ends in the tables."""

    async def close(self) -> None:
        """Close the connection."""
        await self._connection.close()
