"""What has happened in a session: the facts that are stored, and from which all else follows.

Every time is Unix milliseconds of the SessionActor's clock. Answers and joins have tables of their
own; the other facts (:data:`PhaseEvent`) are stored as JSON behind their tag. A tag also says whether
a reader that does not know it may skip the event (docs/adr/0029-events-of-the-next-version.md).
"""

from __future__ import annotations

from typing import Final, get_args

import msgspec

from engine.errors import LaterVersion
from engine.ids import OpeningNo, ParticipantId, QuestionIndex


class AnswerAccepted(msgspec.Struct, frozen=True, gc=False):
    """The first answer of a participant to an opening: the receipt's content, and its score."""

    participant_id: ParticipantId
    opening_no: OpeningNo
    question_index: QuestionIndex
    choice_mask: int
    text: str
    #: Clamped time from the opening to the answer, milliseconds.
    elapsed_ms: int
    correct: bool
    points: int
    at_ms: int


class Joined(msgspec.Struct, frozen=True):
    """A participant is in."""

    participant_id: ParticipantId
    join_key: str
    nickname: str
    at_ms: int
    #: See :class:`engine.commands.Join`.
    device: str = ""


class _PhaseEvent(msgspec.Struct, frozen=True, tag_field="type", kw_only=True, omit_defaults=True):
    at_ms: int
    #: The host's command that caused it; empty when the clock did.
    command_id: str = ""


class Previewed(_PhaseEvent, frozen=True, tag="previewed"):
    """A question stands alone; its answers open at ``opens_ms``."""

    opening_no: OpeningNo
    question_index: QuestionIndex
    opens_ms: int


class Opened(_PhaseEvent, frozen=True, tag="opened"):
    """A question takes answers from ``at_ms`` until ``closes_ms``."""

    opening_no: OpeningNo
    question_index: QuestionIndex
    closes_ms: int


class Extended(_PhaseEvent, frozen=True, tag="extended"):
    """The deadline of an opening, or of a preview, has moved."""

    opening_no: OpeningNo
    closes_ms: int


class Closed(_PhaseEvent, frozen=True, tag="closed"):
    """An opening takes no more answers; its points count now."""

    opening_no: OpeningNo


class ScoreboardShown(_PhaseEvent, frozen=True, tag="scoreboard_shown"):
    """The ranks are shown between two questions."""


class SelfPacedOpened(_PhaseEvent, frozen=True, tag="self_paced_opened"):
    """Every question is open: opening n is question n - 1."""


class DeadlineSet(_PhaseEvent, frozen=True, tag="deadline_set"):
    """Self-paced play ends at ``closes_ms``, whatever was said before."""

    closes_ms: int


class Finished(_PhaseEvent, frozen=True, tag="finished"):
    """The session is over and its scoreboard final."""


class Cancelled(_PhaseEvent, frozen=True, tag="cancelled"):
    """The session is over without a result."""


class Removed(_PhaseEvent, frozen=True, tag="removed"):
    """The host has removed a participant."""

    participant_id: ParticipantId


class Returned(_PhaseEvent, frozen=True, tag="returned"):
    """A participant has come back on another device; the tokens of the one before end."""

    participant_id: ParticipantId
    join_key: str


class Locked(_PhaseEvent, frozen=True, tag="locked"):
    """Nobody new may join, until it is unlocked. ``flood``: the session did so by itself."""

    flood: bool = False


class Unlocked(_PhaseEvent, frozen=True, tag="unlocked"):
    """The host lets people join again. After a lock of the session's own, for good."""


PhaseEvent = (
    Previewed
    | Opened
    | Extended
    | Closed
    | ScoreboardShown
    | SelfPacedOpened
    | DeadlineSet
    | Finished
    | Cancelled
    | Removed
    | Returned
    | Locked
    | Unlocked
)
Event = AnswerAccepted | Joined | PhaseEvent

#: How the tags of events begin that a reader may skip when it does not know them.
NOTE_PREFIX: Final = "note:"


class Skipped(msgspec.Struct, frozen=True, kw_only=True):
    """A note of a later version, as far as this version reads it: its command counts as carried out."""

    at_ms: int
    command_id: str = ""


class _Tag(msgspec.Struct):
    type: str


#: What stands in the log: the events that this version writes, and notes of later ones.
StoredEvent = PhaseEvent | Skipped

_tag_decoder = msgspec.json.Decoder(_Tag)
_phase_event_decoder = msgspec.json.Decoder(PhaseEvent)
_note_decoder = msgspec.json.Decoder(Skipped)
_TAGS: Final = {event.__struct_config__.tag for event in get_args(PhaseEvent)}

#: The stored form of a phase event: JSON behind its tag.
encode_phase_event = msgspec.json.Encoder().encode


def decode_phase_event(data: bytes | str) -> StoredEvent:
    """Read the stored form of a phase event, also one that a later version has stored.

    Raises:
        LaterVersion: its tag is unknown and does not begin with :data:`NOTE_PREFIX`.
        msgspec.DecodeError: it is damaged.
    """
    try:
        event: PhaseEvent = _phase_event_decoder.decode(data)
    except msgspec.ValidationError:
        tag = _tag_decoder.decode(data).type
        if tag in _TAGS:
            raise
        if tag.startswith(NOTE_PREFIX):
            return _note_decoder.decode(data)
        raise LaterVersion(f"events of type {tag[:100]!r} are of a later version") from None
    return event
