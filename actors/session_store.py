"""Sessions in PostgreSQL: who may act for one, and what is stored of it."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from actors.postgres import LoneConnection
from actors.sql import queries
from engine.events import AnswerAccepted, Joined, decode_phase_event
from engine.ids import Epoch, OpeningNo, ParticipantId, QuestionIndex, SessionId
from engine.model import Quiz, SessionSettings
from engine.recovery import restore
from engine.session import SessionState

_quiz_decoder = msgspec.json.Decoder(Quiz)
_settings_decoder = msgspec.json.Decoder(SessionSettings)


class Takeover(NamedTuple):
    """A session that this actor now owns, as the tables tell it."""

    state: SessionState
    epoch: Epoch
    next_seq: int


async def take_over(connection: LoneConnection, actor_name: str) -> Takeover | None:
    """Own the session that is assigned to this actor: raise its epoch, then fold what is stored.

    The raise waits for a statement of the earlier owner that is under way, and fences all later
    ones; so what is read afterwards is all that was ever acknowledged.

    Returns:
        None when no live session is assigned to the name (a blank actor of the warm pool).

    Raises:
        Unavailable: the database is away; call again.
    """
    rows = await connection.fetch(queries["take_over"], actor_name)
    if not rows:
        return None
    row = rows[0]
    session_id = SessionId(str(row["session_id"]))
    joined, last_join = await _joins(connection, session_id)
    answers, last_answer = await _answers(connection, session_id)
    events = await connection.fetch(queries["stored_events"], session_id)
    state = restore(
        session_id,
        _quiz_decoder.decode(row["body"]),
        _settings_decoder.decode(row["settings"]),
        joined,
        [decode_phase_event(event["event"]) for event in events],
        answers,
    )
    last_event = events[-1]["seq"] if events else 0
    return Takeover(state, Epoch(row["epoch"]), max(last_join, last_answer, last_event) + 1)


async def _joins(connection: LoneConnection, session_id: SessionId) -> tuple[list[Joined], int]:
    rows = await connection.fetch(queries["stored_joins"], session_id)
    joins = [
        Joined(ParticipantId(r["participant_id"]), r["join_key"], r["nickname"], r["at_ms"])
        for r in rows
    ]
    return joins, max((r["seq"] for r in rows), default=0)


async def _answers(
    connection: LoneConnection, session_id: SessionId
) -> tuple[list[AnswerAccepted], int]:
    rows = await connection.fetch(queries["stored_answers"], session_id)
    answers = [
        AnswerAccepted(
            ParticipantId(r["participant_id"]),
            OpeningNo(r["opening_no"]),
            QuestionIndex(r["question_index"]),
            r["choice_mask"],
            r["text"],
            r["elapsed_ms"],
            r["correct"],
            r["points"],
            r["at_ms"],
        )
        for r in rows
    ]
    return answers, max((r["seq"] for r in rows), default=0)
