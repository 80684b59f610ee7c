"""What has happened in a session: the facts that are stored, and from which all else follows.

Every time is Unix milliseconds of the SessionActor's clock. Answers and joins have tables of their
own; the other facts (:data:`PhaseEvent`) are stored as JSON behind their tag.
"""

from __future__ import annotations

import msgspec

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


class Finished(_PhaseEvent, frozen=True, tag="finished"):
    """The session is over and its scoreboard final."""


class Cancelled(_PhaseEvent, frozen=True, tag="cancelled"):
    """The session is over without a result."""


class Removed(_PhaseEvent, frozen=True, tag="removed"):
    """The host has removed a participant."""

    participant_id: ParticipantId


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
    | Finished
    | Cancelled
    | Removed
    | Locked
    | Unlocked
)
Event = AnswerAccepted | Joined | PhaseEvent

_phase_event_decoder = msgspec.json.Decoder(PhaseEvent)

#: The stored form of a phase event: JSON behind its tag.
encode_phase_event = msgspec.json.Encoder().encode
decode_phase_event = _phase_event_decoder.decode
