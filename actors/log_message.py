"""What travels through the broker: one message for each batch, or a barrier behind batches.

MessagePack, with a version, so that writers and actors of neighbouring releases understand each
other while both run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from actors.ports import Record
from engine.errors import Malformed
from engine.events import AnswerAccepted, Joined, encode_phase_event
from engine.ids import Epoch, SessionId

#: Raised when a message changes its meaning.
LOG_VERSION: Final = 1

#: opening_no, participant_id, question_index, choice_mask, text, elapsed_ms, correct, points, seq,
#: at_ms: the columns of ``answers`` behind its session and epoch.
AnswerRow = tuple[int, int, int, int, str, int, bool, int, int, int]
#: participant_id, join_key, nickname, seq, at_ms, device: likewise of ``participants``.
JoinRow = tuple[int, str, str, int, int, str]
#: The same without the device, as it travels: writers of the version before know no more.
_ShortJoinRow = tuple[int, str, str, int, int]
#: seq, event as JSON: likewise of ``session_events``.
EventRow = tuple[int, str]


class _LogMessage(msgspec.Struct, frozen=True, array_like=True):
    """Base of what is in a partition's queue."""

    version: int
    session_id: str
    epoch: int


class BatchMessage(_LogMessage, frozen=True, tag=1):
    """Rows that were decided together, each once, in the order of their keys."""

    answers: list[AnswerRow]
    joins: list[_ShortJoinRow]
    events: list[EventRow]
    #: One for each join; none at all from actors of the version before.
    devices: list[str] = []

    @property
    def join_rows(self) -> list[JoinRow]:
        """The joins with their devices."""
        devices = self.devices or [""] * len(self.joins)
        return [(*row, device) for row, device in zip(self.joins, devices, strict=True)]

    @property
    def rows_count(self) -> int:
        """How many rows it brings."""
        return len(self.answers) + len(self.joins) + len(self.events)


class BarrierMessage(_LogMessage, frozen=True, tag=2):
    """Once it is stored, so is everything of its session that was confirmed before it.

    ``number`` rises within an epoch.
    """

    number: int


LogMessage = BatchMessage | BarrierMessage

_decoder = msgspec.msgpack.Decoder(LogMessage)
encode_log_message: Final = msgspec.msgpack.Encoder().encode


def decode_log_message(data: bytes) -> LogMessage:
    """Read a message of a partition's queue.

    Raises:
        Malformed: it is none, or one of a version that this program does not know.
    """
    try:
        message: LogMessage = _decoder.decode(data)
    except msgspec.MsgspecError as error:
        raise Malformed(f"log message: {error}") from None
    if message.version != LOG_VERSION:
        raise Malformed(f"log message: version {message.version}; {LOG_VERSION} is known")
    return message


def batch_of(session_id: SessionId, epoch: Epoch, records: Sequence[Record]) -> BatchMessage:
    """The message of some records."""
    answers, joins, events = rows_of(records)
    devices = [row[5] for row in joins]
    short = [row[:5] for row in joins]
    return BatchMessage(LOG_VERSION, session_id, epoch, answers, short, events, devices)


def rows_of(records: Sequence[Record]) -> tuple[list[AnswerRow], list[JoinRow], list[EventRow]]:
    """Records as rows of their tables, sorted by key so that no two writers wait in a circle."""
    answers: list[AnswerRow] = []
    joins: list[JoinRow] = []
    events: list[EventRow] = []
    for seq, event in records:
        if isinstance(event, AnswerAccepted):
            answers.append(
                (
                    event.opening_no,
                    event.participant_id,
                    event.question_index,
                    event.choice_mask,
                    event.text,
                    event.elapsed_ms,
                    event.correct,
                    event.points,
                    seq,
                    event.at_ms,
                )
            )
        elif isinstance(event, Joined):
            joins.append(
                (
                    event.participant_id,
                    event.join_key,
                    event.nickname,
                    seq,
                    event.at_ms,
                    event.device,
                )
            )
        else:
            events.append((seq, encode_phase_event(event).decode()))
    # By key alone: of two rows under one key the first must stay the first.
    answers.sort(key=lambda row: row[:2])
    joins.sort(key=lambda row: row[0])
    return answers, joins, events


def columns_of(rows: Sequence[tuple[Any, ...]]) -> list[list[Any]]:
    """Rows as columns, which PostgreSQL's ``unnest`` takes."""
    return [list(column) for column in zip(*rows, strict=True)]
