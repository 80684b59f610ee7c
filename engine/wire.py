"""Every message of the system, grouped by direction.

What a client may say, what it is told, and what replicas and SessionActors say to each other.

Client messages are JSON text frames with a ``type``; unknown types and unknown fields are refused.
``docs/PROTOCOL.md`` is made from this module (each example below is decoded by a test). The
internal ones are MessagePack arrays; they never leave the cluster. Replicas and actors of
neighbouring versions understand each other while both run: a new field goes to the end, with a
default, and is ignored by those who do not know it; what has an unknown tag fails alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final

import msgspec

from engine import limits
from engine.errors import CODES, Malformed, ServerFault
from engine.events import AnswerAccepted
from engine.ids import Epoch, FrameVersion, OpeningNo, ParticipantId
from engine.model import Mode
from engine.phases import Phase, Step
from engine.view import PublicQuestion, Result, Reveal, View, ViewChanges

#: Raised when a message changes its meaning; told in ``welcome``.
PROTOCOL_VERSION: Final = 1

_Text = Annotated[str, msgspec.Meta(max_length=limits.TYPED_CHARS_MAX)]
_Choice = Annotated[int, msgspec.Meta(ge=0, lt=limits.CHOICES_MAX)]
_Choices = Annotated[tuple[_Choice, ...], msgspec.Meta(max_length=limits.CHOICES_MAX)]
_Number = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
_Key = Annotated[
    str, msgspec.Meta(min_length=limits.KEY_CHARS_MIN, max_length=limits.KEY_CHARS_MAX)
]


# --- client -> server -----------------------------------------------------------------------------


class FromClient(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type"):
    """Base of what a client may say."""


class Hello(FromClient, frozen=True, tag="hello"):
    """The first message on a websocket: who is there, and which view it has seen last.

    Answered with ``welcome``; sent again after every reconnect. ``epoch`` and ``version`` are 0
    when nothing was seen yet; when they are the newest, ``welcome`` carries no view. ``token`` is a
    ticket (from a join, ``POST /sessions/{id}/tickets`` or ``pong``), or the token itself.

    Example: {"type":"hello","token":"eyJhbGciOiJIUzI1NiJ9.e30.x","epoch":3,"version":17}
    """

    token: Annotated[str, msgspec.Meta(max_length=2_048)]
    epoch: _Number = 0
    version: _Number = 0


class Answer(FromClient, frozen=True, tag="answer", gc=False):
    """A participant's answer: ``choices`` (indices from 0) or ``text``, never both.

    Answered with ``receipt`` once it is stored, or ``error`` with the same ``opening``. The first
    answer of a participant to an opening stands; a repeat gets the first one's receipt again.

    Example: {"type":"answer","opening":3,"choices":[1]}
    """

    opening: _Number
    choices: _Choices = ()
    text: _Text = ""


class Ask(FromClient, frozen=True, tag="ask"):
    """In self-paced play: show me this opening's question. Answered with ``question``.

    Example: {"type":"ask","opening":4}
    """

    opening: _Number


class HostMove(FromClient, frozen=True, tag="move"):
    """The host moves the session, as far as finish or cancel; or looks after who is in.

    ``phase`` and ``opening`` name what the host was looking at; a session that has moved on
    answers ``stale_command``. ``extra_ms`` belongs to extend, and to deadline: self-paced play
    ends so long from now. Remove, lock and unlock are possible in every phase: remove names one
    ``participant`` or several ``participants``, of whom those are passed over who are out
    already; after lock nobody new may join (``locked``), until unlock. A repeated
    ``command_id`` moves nothing and gets the same ``done``.

    Example: {"type":"move","command_id":"6c0e4b6a-5a0f","step":"next","phase":"scoreboard","opening":2}
    """

    command_id: _Key
    step: Step
    phase: Phase
    opening: _Number
    extra_ms: _Number = 0
    participant: _Number = 0
    participants: Annotated[
        tuple[_Number, ...], msgspec.Meta(max_length=limits.REMOVED_AT_ONCE_MAX)
    ] = ()


class Ping(FromClient, frozen=True, tag="ping"):
    """Is the connection alive? Answered with ``pong`` and the same ``n``.

    Example: {"type":"ping","n":7}
    """

    n: _Number = 0


ClientMessage = Hello | Answer | Ask | HostMove | Ping

# --- server -> client -----------------------------------------------------------------------------


class ToClient(msgspec.Struct, frozen=True, tag_field="type", omit_defaults=True):
    """Base of what a client is told."""


class Receipt(ToClient, frozen=True, tag="receipt", gc=False):
    """An answer is stored, for good.

    In self-paced play it says at once what it was worth, and on a websocket what was right.

    Example: {"type":"receipt","opening":3,"elapsed_ms":2140,"choices":[1]}
    """

    opening: int
    elapsed_ms: int
    choices: tuple[int, ...] = ()
    text: str = ""
    correct: bool | None = None
    points: int | None = None
    reveal: Reveal | None = None


class You(msgspec.Struct, frozen=True, omit_defaults=True):
    """A participant's own place.

    ``receipt`` is the answer given to the current opening, ``result`` the last closed opening's;
    ``next_opening`` the first unanswered one in self-paced play (0: none left).
    """

    participant_id: ParticipantId
    nickname: str
    points: int
    rank: int
    receipt: Receipt | None = None
    result: Result | None = None
    next_opening: int = 0


class Welcome(ToClient, frozen=True, tag="welcome"):
    """Hello is accepted. ``now_ms`` is the actor's clock: deadlines are counted down from it.

    ``code`` is a participant's own: with it the place is found again on another device
    (``POST /pins/{pin}/returns``), and the device before loses it.

    Example: {"type":"welcome","protocol":1,"role":"viewer","now_ms":1764000000000}
    """

    protocol: int
    role: str
    now_ms: int
    view: View | None = None
    you: You | None = None
    code: str = ""


class Snapshot(ToClient, frozen=True, tag="snapshot"):
    """The whole view, instead of a delta: after a gap, or when a slow reader has caught up."""

    now_ms: int
    view: View


class DeltaFrame(ToClient, frozen=True, tag="delta"):
    """The changed fields of the view. Follows ``version - 1`` of the same epoch.

    Example: {"type":"delta","epoch":3,"version":18,"now_ms":1764000000000,"changes":{"answers_count":41}}
    """

    epoch: Epoch
    version: FrameVersion
    now_ms: int
    changes: ViewChanges


class ResultMessage(ToClient, frozen=True, tag="result"):
    """A participant's own result of the opening that has just closed.

    Example: {"type":"result","result":{"opening_no":3,"answered":true,"correct":true,"gained":967,"points":1900,"rank":2,"streak":2,"ahead":["Mia",80]}}
    """  # noqa: E501 - an example is one line

    result: Result


class QuestionMessage(ToClient, frozen=True, tag="question"):
    """Self-paced play: the question that was asked for."""

    question: PublicQuestion


class DoneMessage(ToClient, frozen=True, tag="done"):
    """A host's command is carried out and stored; the session stands at this phase.

    Example: {"type":"done","command_id":"6c0e4b6a-5a0f","phase":"question_open","opening":3}
    """

    command_id: str
    phase: Phase
    opening: int


class Fault(ToClient, frozen=True, tag="error"):
    """Something was refused, or its outcome is unknown (``retryable``: send the very same again).

    ``opening`` or ``command_id`` name what it belongs to, where it belongs to something.

    Example: {"type":"error","code":"late","detail":"opening 3 is closed","opening":3}
    """

    code: str
    detail: str
    retryable: bool = False
    retry_after_ms: int = 0
    opening: int = 0
    command_id: str = ""


class Pong(ToClient, frozen=True, tag="pong"):
    """The answer to ``ping``.

    Now and then it carries a ``ticket``: what the next hello should be said with.

    Example: {"type":"pong","n":7}
    """

    n: int = 0
    ticket: str = ""


ServerMessage = (
    Welcome
    | Snapshot
    | DeltaFrame
    | Receipt
    | ResultMessage
    | QuestionMessage
    | DoneMessage
    | Fault
    | Pong
)

# --- replica -> SessionActor and back ---------------------------------------------------------------


class _Item(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Base of what a batch holds."""


class AnswerItem(_Item, frozen=True, tag=1):
    """See :class:`engine.commands.SubmitAnswer`."""

    participant_id: ParticipantId
    opening_no: OpeningNo
    choice_mask: int
    text: str
    elapsed_ms: int
    #: Replicas of the version before do not tell it.
    returns: int = -1


class JoinItem(_Item, frozen=True, tag=2):
    """See :class:`engine.commands.Join`. Replicas of the version before send no device."""

    join_key: str
    nickname: str
    device: str = ""


class HelloItem(_Item, frozen=True, tag=3):
    """A participant came (back): where does it stand? See :class:`AnswerItem` for ``returns``."""

    participant_id: ParticipantId
    returns: int = -1


class MoveItem(_Item, frozen=True, tag=4):
    """See :class:`engine.commands.Move`. Replicas of the version before name one participant only."""

    step: Step
    phase: Phase
    opening_no: OpeningNo
    command_id: str
    extra_ms: int
    participant_id: ParticipantId
    participants: tuple[ParticipantId, ...] = ()


class ReturnItem(_Item, frozen=True, tag=5):
    """See :class:`engine.commands.Return`. Actors of the version before cannot read it."""

    participant_id: ParticipantId
    join_key: str
    device: str


BatchItem = AnswerItem | JoinItem | HelloItem | MoveItem | ReturnItem


class UnreadableItem(msgspec.Struct, frozen=True):
    """Stands for an item that a replica of another version has sent. Never encoded."""

    reason: str


class _Reply(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Base of the answers to a batch, one for each item in its order."""


class ReceiptReply(_Reply, frozen=True, tag=1):
    """The stored answer, from stored fields only.

    ``tells_worth`` says whether the session is self-paced, so that the participant may be told at once
    what the answer was worth. An actor of the version before leaves it out: then nothing is told.
    """

    opening_no: OpeningNo
    choice_mask: int
    text: str
    elapsed_ms: int
    correct: bool
    points: int
    tells_worth: bool = False


class JoinedReply(_Reply, frozen=True, tag=2):
    """The stored participant. Actors of the version before tell no ``returns``."""

    participant_id: ParticipantId
    nickname: str
    returns: int = 0


class HelloReply(_Reply, frozen=True, tag=3):
    """A participant's own place."""

    you: You


class DoneReply(_Reply, frozen=True, tag=4):
    """The stored command."""

    command_id: str
    phase: Phase
    opening_no: OpeningNo


class FaultReply(_Reply, frozen=True, tag=5):
    """A refusal, or an unknown outcome.

    ``again``: the replica itself sends this item again, in a batch of its own, and tells the client
    nothing yet: the refusal waits for a look at the epoch that the rest of the batch does not need.
    """

    code: str
    detail: str
    retryable: bool
    again: bool = False


BatchReply = ReceiptReply | JoinedReply | HelloReply | DoneReply | FaultReply


class BatchAnswer(msgspec.Struct, frozen=True, array_like=True):
    """All replies to a batch, with the epoch of the actor that gave them."""

    epoch: Epoch
    replies: list[BatchReply]


class _RawBatchAnswer(msgspec.Struct, frozen=True, array_like=True):
    """A BatchAnswer whose replies are not decoded yet."""

    epoch: Epoch
    replies: list[msgspec.Raw]


# --- SessionActor -> replicas, on the session's channel ---------------------------------------------


class _Publication(msgspec.Struct, frozen=True, array_like=True):
    """Base of what is published; ``(epoch, version)`` is the view that it leads to."""

    epoch: Epoch
    version: FrameVersion


class FramePublication(_Publication, frozen=True, tag=1):
    """A delta frame, encoded once: these very bytes are written to every socket.

    ``removed`` is whom the host has removed with it, for the replicas alone: they close those
    sockets. Actors of the version before do not tell it, and replicas of that version pass it over.
    """

    frame: bytes
    removed: tuple[ParticipantId, ...] = ()


class ResultsPublication(_Publication, frozen=True, tag=2):
    """Everybody's own result; a replica picks those of its own participants."""

    results: dict[ParticipantId, Result]


class BeatPublication(_Publication, frozen=True, tag=3):
    """Nothing new; so that a lost last frame is noticed."""


class GonePublication(_Publication, frozen=True, tag=4):
    """The actor leaves; the session is over."""


class _AnyPublication(msgspec.Struct, frozen=True, array_like=True):
    """What publications of all versions begin with."""

    tag: int | str
    epoch: Epoch
    version: FrameVersion


Publication = FramePublication | ResultsPublication | BeatPublication | GonePublication


class SnapshotAnswer(msgspec.Struct, frozen=True, array_like=True):
    """What a replica needs to serve a session: its view, and in self-paced play its questions."""

    now_ms: int
    view: View
    #: Public questions by opening, self-paced sessions only.
    questions: list[PublicQuestion]
    #: Everybody whom the host has removed, for replicas that missed the frame which said so; at most
    #: ``PARTICIPANT_ID_MAX``.
    removed: frozenset[ParticipantId] = frozenset()
    #: Self-paced sessions: what was right, by opening from 1. Replicas tell it to those who have
    #: answered. Actors of the version before do not send it.
    keys: tuple[Reveal, ...] = ()


# --- codecs -----------------------------------------------------------------------------------------

_client_decoder = msgspec.json.Decoder(ClientMessage)
_server_decoder = msgspec.json.Decoder(ServerMessage)
_json_encoder = msgspec.json.Encoder()
_pack_encoder = msgspec.msgpack.Encoder()
_batch_decoder = msgspec.msgpack.Decoder(list[BatchItem])
_answer_decoder = msgspec.msgpack.Decoder(BatchAnswer)
_publication_decoder = msgspec.msgpack.Decoder(Publication)
_snapshot_decoder = msgspec.msgpack.Decoder(SnapshotAnswer)
# For messages of another version: each item by itself, and of a publication what all have.
_raw_batch_decoder = msgspec.msgpack.Decoder(list[msgspec.Raw])
_item_decoder = msgspec.msgpack.Decoder(BatchItem)
_raw_answer_decoder = msgspec.msgpack.Decoder(_RawBatchAnswer)
_reply_decoder = msgspec.msgpack.Decoder(BatchReply)
_any_publication_decoder = msgspec.msgpack.Decoder(_AnyPublication)

#: JSON of a message to a client.
encode_json = _json_encoder.encode
#: MessagePack of an internal message.
encode_pack = _pack_encoder.encode
decode_server_message = _server_decoder.decode


def decode_client_message(data: bytes | str) -> ClientMessage:
    """Decode what a client said.

    Raises:
        Malformed: code ``malformed`` or ``too_large``; the detail names the field and the bound.
    """
    if len(data) > limits.MESSAGE_BYTES_MAX:
        raise Malformed(
            f"message: {len(data)} bytes; at most {limits.MESSAGE_BYTES_MAX} are allowed",
            "too_large",
        )
    try:
        message: ClientMessage = _client_decoder.decode(data)
        return message
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"message: {error}") from None


def decode_batch(data: bytes) -> Sequence[BatchItem | UnreadableItem]:
    """Decode a batch of a replica; an item that this version does not know fails alone."""
    try:
        return _batch_decoder.decode(data)
    except msgspec.ValidationError:
        return [_decode_item(raw) for raw in _raw_batch_decoder.decode(data)]


def _decode_item(raw: msgspec.Raw) -> BatchItem | UnreadableItem:
    try:
        item: BatchItem = _item_decoder.decode(raw)
    except msgspec.ValidationError as error:
        return UnreadableItem(str(error))
    return item


def decode_batch_answer(data: bytes) -> BatchAnswer:
    """Decode the answer to a batch; a reply that this version does not know is ``internal``."""
    try:
        return _answer_decoder.decode(data)
    except msgspec.ValidationError:
        answer = _raw_answer_decoder.decode(data)
        return BatchAnswer(answer.epoch, [_decode_reply(raw) for raw in answer.replies])


def _decode_reply(raw: msgspec.Raw) -> BatchReply:
    try:
        reply: BatchReply = _reply_decoder.decode(raw)
    except msgspec.ValidationError as error:
        detail = f"the session's actor is of another version; its reply cannot be read: {error}"
        return FaultReply("internal", detail, False)
    return reply


def decode_publication(data: bytes) -> Publication:
    """Decode a publication; one that this version does not know tells its epoch and version alone."""
    try:
        publication: Publication = _publication_decoder.decode(data)
    except msgspec.ValidationError:
        unknown = _any_publication_decoder.decode(data)
        return BeatPublication(unknown.epoch, unknown.version)
    return publication


def decode_snapshot(data: bytes) -> SnapshotAnswer:
    """Decode an actor's snapshot.

    Raises:
        ServerFault: the actor is of another version, whose view this one cannot show.
    """
    try:
        return _snapshot_decoder.decode(data)
    except msgspec.ValidationError as error:
        detail = f"the session's actor is of another version; its view cannot be read: {error}"
        raise ServerFault(detail) from None


def mask_of(choices: tuple[int, ...]) -> int:
    """The bit mask of choice indices. A choice named twice counts once.

    >>> mask_of((0, 2))
    5
    """
    mask = 0
    for index in choices:
        mask |= 1 << index
    return mask


def choices_of(mask: int) -> tuple[int, ...]:
    """The choice indices of a bit mask.

    >>> choices_of(5)
    (0, 2)
    """
    return _CHOICES[mask]


_CHOICES: Final = tuple(
    tuple(index for index in range(limits.CHOICES_MAX) if mask >> index & 1)
    for mask in range(1 << limits.CHOICES_MAX)
)


def receipt_of(
    answer: AnswerAccepted | ReceiptReply, mode: Mode, key: Reveal | None = None
) -> Receipt:
    """The receipt of a stored answer; computed from stored fields only, so a repeat gets the same.

    ``key`` is told in self-paced play alone.
    """
    receipt = (
        answer.opening_no,
        answer.elapsed_ms,
        choices_of(answer.choice_mask),
        answer.text,
    )
    if mode is Mode.SELF_PACED:
        return Receipt(*receipt, answer.correct, answer.points, key)
    return Receipt(*receipt)


def fault_of(code: str, detail: str, *, retryable: bool, **about: Any) -> Fault:
    """The message that tells an error; ``about`` may name ``opening`` or ``command_id``."""
    assert code in CODES, code
    return Fault(
        code,
        detail,
        retryable=retryable,
        retry_after_ms=limits.RETRY_AFTER_MS if retryable else 0,
        **about,
    )
