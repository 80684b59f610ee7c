"""The embedded profile's log: an event is durable when PostgreSQL has committed it.

Fence and insert are one statement: ``FOR SHARE`` waits for a take-over that is under way and then
sees its epoch, and a take-over waits for the statement; so an actor that has been replaced writes
nothing, and its successor misses nothing (docs/adr/0003-fencing.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from actors.ports import Record
from actors.postgres import LoneConnection
from actors.sql import queries
from engine.errors import Fenced
from engine.events import AnswerAccepted, Joined, encode_phase_event
from engine.ids import Epoch, SessionId


class DirectLog:
    """:class:`actors.ports.CheckpointLog` over one PostgreSQL connection."""

    def __init__(self, connection: LoneConnection, session_id: SessionId, epoch: Epoch) -> None:
        self._connection = connection
        self._session_id = session_id
        self._epoch = epoch

    async def append(self, records: Sequence[Record]) -> None:
        """See :meth:`actors.ports.CheckpointLog.append`; one statement for each kind of record."""
        answers = [r for r in records if type(r.event) is AnswerAccepted]
        if answers:
            await self._run(queries["append_answers"], _answer_columns(answers))
        if len(answers) == len(records):
            return
        joins = [r for r in records if type(r.event) is Joined]
        if joins:
            await self._run(queries["append_joins"], _join_columns(joins))
        rest = [r for r in records if type(r.event) not in (AnswerAccepted, Joined)]
        if rest:
            await self._run(queries["append_events"], _event_columns(rest))

    async def _run(self, query: str, columns: list[list[Any]]) -> None:
        rows = await self._connection.fetch(query, self._session_id, self._epoch, *columns)
        if not rows[0]["fence"]:
            raise Fenced(f"session {self._session_id}: epoch {self._epoch} is over")

    async def close(self) -> None:
        """Close the connection."""
        await self._connection.close()


def _answer_columns(records: list[Record]) -> list[list[Any]]:
    rows = [
        (
            e.opening_no,
            e.participant_id,
            e.question_index,
            e.choice_mask,
            e.text,
            e.elapsed_ms,
            e.correct,
            e.points,
            seq,
            e.at_ms,
        )
        for seq, e in records
        if isinstance(e, AnswerAccepted)
    ]
    return [list(column) for column in zip(*rows, strict=True)]


def _join_columns(records: list[Record]) -> list[list[Any]]:
    rows = [
        (e.participant_id, e.join_key, e.nickname, seq, e.at_ms)
        for seq, e in records
        if isinstance(e, Joined)
    ]
    return [list(column) for column in zip(*rows, strict=True)]


def _event_columns(records: list[Record]) -> list[list[Any]]:
    return [
        [seq for seq, _ in records],
        [encode_phase_event(event).decode() for _, event in records],
    ]
