"""What may be asked of a session. Times are never in a command; they arrive beside it."""

from __future__ import annotations

import msgspec

from engine.ids import OpeningNo, ParticipantId
from engine.phases import Phase, Step


class SubmitAnswer(msgspec.Struct, frozen=True, gc=False):
    """A participant answers an opening.

    ``choice_mask`` has bit i set for choice i (0 for a typed answer, whose words are ``text``).
    ``elapsed_ms`` is the replica's own measurement, or -1 where it has none (HTTP, a socket opened
    after the question): the session then takes its own time since the opening.
    """

    participant_id: ParticipantId
    opening_no: OpeningNo
    choice_mask: int
    text: str = ""
    elapsed_ms: int = -1
    #: See :attr:`engine.session.Participant.returns`; -1 where it is not told.
    returns: int = -1


class Join(msgspec.Struct, frozen=True):
    """Somebody wants to take part. The same ``join_key`` is the same participant, always.

    ``device`` is a fingerprint of the browser's own id within this session, empty where there is
    none; whom the host removes does not come back from the same device.
    """

    join_key: str
    nickname: str
    device: str = ""


class Return(msgspec.Struct, frozen=True):
    """A participant comes back on another device, or without what the page remembered.

    Whoever sends it has shown the personal code. From then on the place belongs to ``join_key``.
    """

    participant_id: ParticipantId
    join_key: str
    device: str = ""


class Move(msgspec.Struct, frozen=True):
    """The host, or the clock (:attr:`Step.DUE`), moves the session on.

    ``phase`` and ``opening_no`` say what the sender was looking at; a session that has moved on
    refuses. A repeated ``command_id`` gets the first answer again. ``extra_ms`` belongs to EXTEND and
    DEADLINE, ``participant_id``, or several ``participants``, to REMOVE.
    """

    step: Step
    phase: Phase
    opening_no: OpeningNo
    command_id: str = ""
    extra_ms: int = 0
    participant_id: ParticipantId = ParticipantId(0)
    participants: tuple[ParticipantId, ...] = ()


Command = SubmitAnswer | Join | Return | Move
