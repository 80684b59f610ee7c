"""One socket of the Notificator: what it says, what it is told. Callbacks only, no coroutine waits.

Order of a life: hello -> welcome -> answers, moves, pings and their replies, frames in between ->
a close with a named code. Frames begin with the welcome, whose view makes up for earlier ones.

A slow socket, whose peer does not read, is told the outcome of what it has submitted (receipts, moves
carried out, refusals of either) and nothing else; what it asks for is not even looked up.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any, Final

import msgspec

from engine import limits
from engine.errors import Conflict, Malformed, QuizError, TooMany, Unauthorized, Unavailable
from engine.ids import OpeningNo, ParticipantId
from engine.model import Mode
from engine.view import PublicQuestion
from engine.wire import (
    PROTOCOL_VERSION,
    Answer,
    AnswerItem,
    Ask,
    BatchItem,
    BatchReply,
    ClientMessage,
    DoneMessage,
    DoneReply,
    Fault,
    FaultReply,
    Hello,
    HelloItem,
    HelloReply,
    HostMove,
    MoveItem,
    Ping,
    Pong,
    QuestionMessage,
    ReceiptReply,
    ResultMessage,
    ServerMessage,
    Welcome,
    You,
    decode_client_message,
    encode_json,
    fault_of,
    mask_of,
    receipt_of,
)
from serve_app.auth import Claims, Role, Tokens
from serve_app.batcher import Gateway
from serve_app.errors import CLOSE_CODES, TooOften
from serve_app.hub import Hub, Room
from serve_app.rate import Rate, TokenBucket
from serve_app.websocket.connection import Connection

log = logging.getLogger(__name__)

_HELLO_ROLES = (Role.PARTICIPANT, Role.HOST, Role.VIEWER)
#: Errors that end the socket whenever they come, with the close code of the same name.
_FINAL: Final = ("hello_expected", "removed")
#: Close codes of errors on the way in; after every other one the client is to come back.
_CLOSE_NAMES: Final = {
    "unauthorized": "unauthorized",
    "not_found": "unauthorized",
    "session_over": "session_over",
    "removed": "removed",
    "quarantined": "quarantined",
    "internal": "failed",
}


def message_rate(per_s: int) -> Rate:
    """How many messages a socket may send, of the setting ``messages_per_s``."""
    return Rate(per_s, per_s * limits.MESSAGES_BURST_S)


class Viewer:
    """Implements :class:`serve_app.websocket.connection.ConnectionListener` and ``hub.Viewer``.

    Args:
        rate: how many messages the client may send.
        said_hello: told when a hello came whose token is good.
        counted: told the code of everything that is refused, and of the close.
    """

    def __init__(
        self,
        hub: Hub,
        gateway: Gateway,
        tokens: Tokens,
        rate: Rate,
        said_hello: Callable[[Viewer], None],
        counted: Callable[[str], None],
    ) -> None:
        self._hub = hub
        self._gateway = gateway
        self._tokens = tokens
        self._said_hello = said_hello
        self._counted = counted
        self._connection: Connection | None = None
        self._claims: Claims | None = None
        self._room: Room | None = None
        self._entering: asyncio.Task[None] | None = None
        self._hello_timer: asyncio.TimerHandle | None = None
        self._faults = 0
        #: Answers and moves that wait for their reply.
        self._pending = 0
        #: Self-paced play: when each question was written to this socket, as long as it is unanswered.
        self._asked_ns: dict[OpeningNo, int] = {}
        #: The question that this socket asked for last while it was slow.
        self._late_question: PublicQuestion | None = None
        self._ticket_due = 0.0
        self._rate = rate
        self._bucket = TokenBucket(rate)
        self._is_welcome = False
        self._is_slow = False
        #: Whether frames are written: welcome, and not slow.
        self._follows = False
        self.participant_id = ParticipantId(0)
        #: Which of its devices it is, see :attr:`engine.session.Participant.returns`.
        self.returns = 0
        self.opened_ns = self.attached_ns = 0

    # --- the connection's callbacks -----------------------------------------------------------------

    def on_open(self, connection: Connection) -> None:
        """Wait for hello, but not for ever."""
        self._connection = connection
        self.opened_ns = time.monotonic_ns()
        self._hello_timer = asyncio.get_running_loop().call_later(
            limits.HELLO_MS_MAX / 1000, self.close_as, "hello_late"
        )

    def on_text(self, connection: Connection, payload: bytes) -> None:
        """Handle one message; a fault is told and, when there are too many, ends the socket."""
        message: ClientMessage | None = None
        try:
            if not self._bucket.take():
                connection.rest(limits.MESSAGES_REST_MS)
                raise TooOften(f"messages: at most {self._rate.per_s:.0f} a second are allowed")
            message = decode_client_message(payload)
            if type(message) is Answer:
                self._answer(message)
            else:
                self._other(message)
        except QuizError as error:
            self._refuse(error, **_about(message))

    def on_close(self, _connection: Connection, code: int) -> None:
        """Leave the room; what was submitted goes on without the client."""
        if self._hello_timer is not None:
            self._hello_timer.cancel()
        if self._entering is not None:
            self._entering.cancel()
        if self._room is not None:
            self._hub.leave(self._room, self)
            self._room = None
        self._connection = None
        self._follows = False
        self._counted(f"closed_{code}")

    def on_unwritable(self, _connection: Connection) -> None:
        """Much waits for it: from now on it is written what it is owed, and nothing else."""
        self._is_slow = True
        self._follows = False

    def on_writable(self, _connection: Connection) -> None:
        """It has caught up: the newest of everything, instead of all that it missed."""
        self._is_slow = False
        if self._room is None or not self._is_welcome:
            return
        self._follows = True
        self.send_text(self._room.snapshot())
        result = self._room.result_of(self.participant_id)
        if result is not None:
            self._reply(ResultMessage(result))
        question, self._late_question = self._late_question, None
        if question is not None:
            self._show(question)

    # --- writing ------------------------------------------------------------------------------------

    def send_text(self, payload: bytes) -> None:
        """See :class:`serve_app.hub.Viewer`."""
        if self._follows:
            assert self._connection is not None
            self._connection.send_text(payload)

    def _owe(self, message: ServerMessage) -> None:
        """Write the outcome of something that was submitted, to a slow socket, too."""
        if self._connection is not None:
            self._connection.send_text(encode_json(message))

    def _reply(self, message: ServerMessage) -> None:
        """Write a reply that a slow socket does without."""
        if not self._is_slow:
            self._owe(message)

    def close_as(self, name: str) -> None:
        """Close with a named code of :data:`serve_app.errors.CLOSE_CODES`."""
        if self._connection is not None:
            self._connection.close(CLOSE_CODES[name].code, name)

    def close_if_revoked(self) -> None:
        """See :class:`serve_app.hub.Viewer`."""
        if self._claims is not None and self._tokens.is_revoked(self._claims):
            self._refuse(Unauthorized("token: it was revoked; ask for a new link"))
            self.close_as("unauthorized")

    # --- what the client says -----------------------------------------------------------------------

    def _refuse(self, error: QuizError, **about: Any) -> None:
        """Refuse a message."""
        if not self._is_slow:
            self._owe(_fault_of(error, **about))
        self._note_refusal(error)
        if not isinstance(error, Malformed | TooMany | Unauthorized):
            return
        self._faults += 1
        if self._faults >= limits.FAULTS_PER_SOCKET_MAX:
            self.close_as("too_many_faults")

    def _owe_refusal(self, reply: BatchReply, **about: Any) -> None:
        """Tell that something which was submitted is refused, or that its outcome is unknown."""
        assert isinstance(reply, FaultReply)
        error = error_of(reply)
        self._owe(_fault_of(error, **about))
        self._note_refusal(error)

    def _note_refusal(self, error: QuizError) -> None:
        self._counted(error.code)
        if error.code in _FINAL:
            self.close_as(error.code)

    def _other(self, message: ClientMessage) -> None:
        if isinstance(message, Ping):
            if not self._is_slow:
                self._owe(Pong(message.n, self._next_ticket()))
        elif isinstance(message, Hello):
            self._hello(message)
        elif isinstance(message, HostMove):
            self._move(message)
        elif isinstance(message, Ask):
            self._ask(message)

    def _next_ticket(self) -> str:
        """What the next hello may be said with, when it is time for a new one.

        So a page that is cut off needs nothing but the websocket to come back, however many come.
        """
        if not self._is_welcome or time.monotonic() < self._ticket_due:
            return ""
        claims = self._claims
        if claims is None or claims.ends_s < time.time() or self._tokens.is_revoked(claims):
            return ""
        self._ticket_due = time.monotonic() + limits.TICKET_RENEW_S
        return self._tokens.ticket(claims)

    def _hello(self, message: Hello) -> None:
        if self._claims is not None:
            raise Conflict("hello was already said on this websocket", "hello_twice")
        try:
            self._claims = self._tokens.check_hello(message.token, *_HELLO_ROLES)
        except Unauthorized as error:
            self._refuse(error)
            self.close_as("unauthorized")
            return
        if self._hello_timer is not None:
            self._hello_timer.cancel()
        self._said_hello(self)
        if self._claims.role is Role.PARTICIPANT:
            self.participant_id = self._claims.participant_id
            self.returns = self._claims.returns
        self._entering = asyncio.get_running_loop().create_task(self._enter(message, self._claims))

    async def _enter(self, message: Hello, claims: Claims) -> None:
        try:
            # The room first: a result that is told while the place is on its way is heard there.
            self._room = await self._hub.enter(claims.session_id, self)
            you = await self._place(claims)
        except QuizError as error:
            self._refuse(error)
            self.close_as(_CLOSE_NAMES.get(error.code, "restart"))
        except Exception:
            log.exception("action=enter_failed session=%s", claims.session_id)
            self._refuse(QuizError("the hello failed; see the server's log", "internal"))
            self.close_as("failed")
        else:
            self._welcome(self._room, message, claims, you)
            # It may have been revoked while the socket was on its way into the room.
            self.close_if_revoked()

    def _welcome(self, room: Room, message: Hello, claims: Claims, you: You | None) -> None:
        view = room.view
        assert view is not None
        result = room.result_of(self.participant_id)
        if you is not None and you.result is None and result is not None:
            you = msgspec.structs.replace(
                you, result=result, points=result.points, rank=result.rank
            )
        is_known = (message.epoch, message.version) == (view.epoch, view.version)
        if self._is_slow:  # all that it can have asked for until now is pongs
            self.close_as("slow_consumer")
            return
        welcome = Welcome(
            PROTOCOL_VERSION,
            claims.role.value,
            room.now_ms(),
            view=None if is_known else view,
            you=you,
            code=self._tokens.return_code(claims.session_id, you.participant_id) if you else "",
        )
        self._is_welcome = self._follows = True
        self._ticket_due = time.monotonic() + limits.TICKET_RENEW_S
        self.attached_ns = time.monotonic_ns()
        self._reply(welcome)

    async def _place(self, claims: Claims) -> You | None:
        if claims.role is not Role.PARTICIPANT:
            return None
        reply = await self._gateway.ask(
            claims.session_id, HelloItem(claims.participant_id, claims.returns)
        )
        if isinstance(reply, FaultReply):
            raise error_of(reply)
        assert isinstance(reply, HelloReply)
        return reply.you

    def _entered(self, *roles: Role) -> Room:
        if self._claims is None:
            raise Malformed("the first message on a websocket must be hello", "hello_expected")
        if self._claims.role not in roles:
            raise Unauthorized(
                f"token: its role is {self._claims.role}; allowed here: {', '.join(roles)}"
            )
        if self._room is None or not self._is_welcome:
            raise Unavailable("welcome has not come yet; send the same after it")
        return self._room

    def _submit(self, room: Room, item: BatchItem, done: Callable[[BatchReply], None]) -> None:
        if self._pending >= limits.SOCKET_PENDING_MAX:
            raise TooOften(f"messages: {limits.SOCKET_PENDING_MAX} of them wait for their reply")
        self._pending += 1

        def counted(reply: BatchReply) -> None:
            self._pending -= 1
            done(reply)

        self._gateway.submit(room.session_id, item, counted)

    def _answer(self, message: Answer) -> None:
        room = self._entered(Role.PARTICIPANT)
        opening_no = OpeningNo(message.opening)
        key = (opening_no, self.participant_id)
        elapsed_ms = room.first_elapsed_ms.get(key)
        if elapsed_ms is None:
            elapsed_ms = self._elapsed_ms(room, opening_no)
            if elapsed_ms >= 0 and len(room.first_elapsed_ms) < limits.BATCHER_ITEMS_MAX:
                room.first_elapsed_ms[key] = elapsed_ms
        item = AnswerItem(
            self.participant_id,
            opening_no,
            mask_of(message.choices),
            message.text,
            elapsed_ms,
            self._claims.returns if self._claims is not None else -1,
        )

        def done(reply: BatchReply) -> None:
            if type(reply) is ReceiptReply:
                room.first_elapsed_ms.pop(key, None)
                assert room.view is not None
                # A slow socket is owed the receipt, and does without what explains it.
                right = None if self._is_slow else room.keys.get(opening_no)
                self._owe(receipt_of(reply, room.view.mode, right))
                return
            assert isinstance(reply, FaultReply)
            if not reply.retryable:
                room.first_elapsed_ms.pop(key, None)
            self._owe_refusal(reply, opening=opening_no)

        self._submit(room, item, done)

    def _elapsed_ms(self, room: Room, opening_no: OpeningNo) -> int:
        if room.view is not None and room.view.mode is Mode.SELF_PACED:
            asked_ns = self._asked_ns.pop(opening_no, None)
            return -1 if asked_ns is None else (time.monotonic_ns() - asked_ns) // 1_000_000
        return room.elapsed_ms(self, opening_no)

    def _ask(self, message: Ask) -> None:
        room = self._entered(Role.PARTICIPANT, Role.HOST, Role.VIEWER)
        question = room.questions.get(OpeningNo(message.opening))
        if question is None:
            detail = f"opening: {message.opening} cannot be asked for; self-paced play has "
            detail += f"1 to {len(room.questions)}" if room.questions else "not begun"
            raise Conflict(detail, "not_open")
        if self._is_slow:
            self._late_question = question
        else:
            self._show(question)

    def _show(self, question: PublicQuestion) -> None:
        self._reply(QuestionMessage(question))
        opening_no = question.opening_no
        if not self.participant_id or opening_no in self._asked_ns:
            return
        if len(self._asked_ns) >= limits.SOCKET_ASKED_MAX:
            del self._asked_ns[next(iter(self._asked_ns))]
        self._asked_ns[opening_no] = time.monotonic_ns()

    def _move(self, message: HostMove) -> None:
        room = self._entered(Role.HOST)
        item = move_item(message)

        def done(reply: BatchReply) -> None:
            if isinstance(reply, DoneReply):
                self._owe(DoneMessage(reply.command_id, reply.phase, reply.opening_no))
            else:
                self._owe_refusal(reply, command_id=message.command_id)

        self._submit(room, item, done)


def _fault_of(error: QuizError, **about: Any) -> Fault:
    return fault_of(error.code, error.told, retryable=error.retryable, **about)


def _about(message: ClientMessage | None) -> dict[str, Any]:
    """What an error says of the message that it refuses, so that the client knows what to do again."""
    if isinstance(message, Answer | Ask):
        return {"opening": message.opening}
    if isinstance(message, HostMove):
        return {"command_id": message.command_id}
    return {}


def move_item(message: HostMove) -> MoveItem:
    """A host's message as the actor takes it."""
    return MoveItem(
        message.step,
        message.phase,
        OpeningNo(message.opening),
        message.command_id,
        message.extra_ms,
        ParticipantId(message.participant),
        tuple(map(ParticipantId, message.participants)),
    )


def error_of(reply: FaultReply) -> QuizError:
    """The error that an actor's refusal stands for."""
    kind = _Retryable if reply.retryable else QuizError
    return kind(reply.detail, reply.code)


class _Retryable(QuizError):
    retryable = True
