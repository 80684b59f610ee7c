"""Pages with a websocket: they do what the real ones do, and are loaded anew, cut and slow.

Of the real page's ways to notice that something is missing only those are here without which nobody
could go on: what the server promises must hold for pages that do not look.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from engine import limits
from engine.ids import ParticipantId
from engine.view import Delta, Result, View, apply
from engine.wire import (
    Answer,
    AnswerItem,
    Ask,
    DeltaFrame,
    DoneMessage,
    Fault,
    Hello,
    HostMove,
    MoveItem,
    Ping,
    Receipt,
    ResultMessage,
    ServerMessage,
    Snapshot,
    Welcome,
    choices_of,
    decode_server_message,
    encode_json,
)
from serve_app.errors import CLOSE_CODES
from tests.simulation.cluster import Cluster, Replica
from tests.simulation.loop import Process
from tests.simulation.sockets import Socket
from tests.simulation.witness import Witness

_ENDS = {close.code: name for name, close in CLOSE_CODES.items() if not close.reconnect}
#: As in the real page: how often it pings, and after which silence it leaves, seconds.
_PING_S, _SILENCE_S = 5.0, 12.0
#: The longest pause before it comes back, and how long it waits for a result, seconds.
_BACK_S_MAX = 2.0
_RESULT_S = 4.0
_TICK_S = 1.0


class Page:
    """One page, of a participant or the host.

    Attributes:
        who: the participant; 0 for the host.
        view: what it shows; a page that is loaded anew shows nothing.
        is_welcome: whether its socket lives and has heard the welcome.
        ended: the name of the close after which it does not come back.
        result: the last own result that it was told.
    """

    def __init__(
        self,
        cluster: Cluster,
        process: Process,
        witness: Witness,
        note: Callable[[str], None],
        token: str,
        who: ParticipantId,
    ) -> None:
        self._cluster = cluster
        self.process = process
        self._witness = witness
        self._note = note
        self._token = token
        self.who = who
        self.view: View | None = None
        self.is_welcome = False
        self.ended = ""
        self.result: Result | None = None
        self._socket: Socket | None = None
        self._heard_s = 0.0
        self._closed_s = -1.0
        self._changed = asyncio.Event()
        self._cut = asyncio.Event()
        #: What is on its way; True: done, False: refused, None: send it again.
        self._asked: dict[str, asyncio.Future[bool | None]] = {}
        self._witness.opened(self)

    # --- what its person does -------------------------------------------------------------------

    @property
    def is_out(self) -> bool:
        """Whether it was removed."""
        return self.ended == "removed"

    async def changed(self, at_most_s: float) -> None:
        """Return when there is something new to see, or after a while."""
        try:
            await asyncio.wait_for(self._changed.wait(), at_most_s)
        except TimeoutError:
            return

    def look(self, opening_no: int) -> None:
        """Self-paced play: have a question shown."""
        self._say(Ask(opening_no))

    async def submit(self, item: AnswerItem | MoveItem) -> bool:
        """Send it until it is stored (true) or refused for good, or the page has no way back."""
        key, payload = _message_of(item)
        while not self.ended:
            future = self._asked[key] = self._cluster.loop.create_future()
            if self.is_welcome and self._socket is not None:
                self._socket.say(payload)
            try:
                outcome = await asyncio.wait_for(future, self._cluster.options.impatient_s)
            except TimeoutError:
                continue
            if outcome is not None:
                return outcome
        return False

    async def again(self, item: AnswerItem | MoveItem, share: float) -> None:
        """Perhaps send something again that was answered, as a page does that was loaded anew."""
        rng = self._cluster.rng
        if rng.random() < share:
            await asyncio.sleep(rng.random() * 3.0)
            if rng.random() < 0.5:
                self._leave(is_told=rng.random() < 0.5)
                self.view = None
            await self.submit(item)

    # --- its life -------------------------------------------------------------------------------

    async def run(self) -> None:
        """Be connected, until a close says that there is no way back."""
        rng = self._cluster.rng
        while not self.ended:
            if self._cluster.replicas:
                await self._live(rng.choice(self._cluster.replicas))
            await asyncio.sleep(_BACK_S_MAX * (0.1 + 0.9 * rng.random()))

    async def _live(self, replica: Replica) -> None:
        now_s = self._cluster.loop.time()
        self._cut.clear()
        self._heard_s = pinged_s = now_s
        self._socket = self._cluster.open_socket(replica, self)
        while True:
            try:
                await asyncio.wait_for(self._cut.wait(), _TICK_S)
            except TimeoutError:
                pass
            else:
                return
            now_s = self._cluster.loop.time()
            if now_s - self._heard_s > _SILENCE_S or self._lacks_result(now_s):
                self._leave(is_told=True)
            elif not self._suffers() and now_s - pinged_s >= _PING_S:
                pinged_s = now_s
                self._say(Ping())

    def _lacks_result(self, now_s: float) -> bool:
        view = self.view
        if not self.who or view is None or view.reveal is None:
            self._closed_s = -1.0
            return False
        if self.result is not None and self.result.opening_no == view.opening_no:
            return False
        if self._closed_s < 0:
            self._closed_s = now_s
        if now_s - self._closed_s < _RESULT_S:
            return False
        self._closed_s = now_s
        return True

    def _suffers(self) -> bool:
        """Whether a misfortune of its own has come over it."""
        sockets, rng, socket = self._cluster.options.sockets, self._cluster.rng, self._socket
        if self._cluster.network.is_healed or sockets is None or socket is None:
            return False
        if rng.random() < sockets.stall_share:
            self._note(f"page {self.who} reads nothing")
            socket.stall()
            at_s = self._cluster.loop.time() + rng.random() * sockets.stall_s_max
            self.process.call_at(at_s, socket.read_on)
        elif rng.random() < sockets.cut_share:
            self._note(f"page {self.who} is cut off")
            socket.cut()
        elif rng.random() < sockets.reload_share:
            self._note(f"page {self.who} is loaded anew")
            self._leave(is_told=rng.random() < 0.5)
            self.view = None
        else:
            return False
        return True

    def _leave(self, *, is_told: bool) -> None:
        socket, self._socket = self._socket, None
        if socket is not None:
            socket.leave(is_told=is_told)
        self._end_socket()

    def _end_socket(self) -> None:
        self.is_welcome = False
        self._cut.set()

    def _say(self, message: Ask | Ping) -> None:
        if self.is_welcome and self._socket is not None:
            self._socket.say(encode_json(message))

    # --- what its socket tells ------------------------------------------------------------------

    def opened(self, socket: Socket) -> None:
        """See :class:`tests.simulation.sockets.Reader`."""
        if socket is self._socket:
            stamp = (self.view.epoch, self.view.version) if self.view is not None else (0, 0)
            self._witness.said_hello(self)
            socket.say(encode_json(Hello(self._token, *stamp)))

    def closed(self, socket: Socket, code: int) -> None:
        """See :class:`tests.simulation.sockets.Reader`."""
        if socket is not self._socket:
            return
        self._note(f"page {self.who} is closed with {code}")
        self._socket = None
        self.ended = _ENDS.get(code, "")
        self._end_socket()
        self._show(self.view)
        if self.ended:
            self._settle_all(outcome=False)

    def hear(self, socket: Socket, payload: bytes) -> None:
        """See :class:`tests.simulation.sockets.Reader`."""
        if socket is not self._socket:
            return
        self._heard_s = self._cluster.loop.time()
        message = decode_server_message(payload)
        self._witness.heard(self, payload, message)
        self._take(message)

    def _take(self, message: ServerMessage) -> None:
        if isinstance(message, Welcome):
            self.is_welcome = True
            if message.you is not None and message.you.result is not None:
                self.result = message.you.result
            self._show(message.view or self.view)
            self._settle_all(outcome=None)
        elif isinstance(message, Snapshot):
            self._show(message.view)
        elif isinstance(message, DeltaFrame):
            assert self.view is not None
            delta = Delta(message.epoch, message.version, message.changes)
            self._show(apply(delta, self.view))
        elif isinstance(message, ResultMessage):
            self.result = message.result
        elif isinstance(message, Receipt):
            self._settle(f"answer {message.opening}", outcome=True)
        elif isinstance(message, DoneMessage):
            self._settle(message.command_id, outcome=True)
        elif isinstance(message, Fault):
            key = message.command_id or f"answer {message.opening}"
            if message.retryable:
                at_s = self._cluster.loop.time() + limits.RETRY_AFTER_MS / 1000
                self.process.call_at(at_s, lambda: self._settle(key, outcome=None))
            else:
                self._settle(key, outcome=False)

    def _show(self, view: View | None) -> None:
        self.view = view
        self._changed.set()
        self._changed.clear()

    def _settle(self, key: str, *, outcome: bool | None) -> None:
        future = self._asked.get(key)
        if future is not None and not future.done():
            future.set_result(outcome)

    def _settle_all(self, *, outcome: bool | None) -> None:
        for key in self._asked:
            self._settle(key, outcome=outcome)


def _message_of(item: AnswerItem | MoveItem) -> tuple[str, bytes]:
    """The key of a reply, and what a page says that wants this."""
    message: msgspec.Struct
    if isinstance(item, AnswerItem):
        message = Answer(item.opening_no, choices_of(item.choice_mask))
        return f"answer {item.opening_no}", encode_json(message)
    message = HostMove(
        item.command_id,
        item.step,
        item.phase,
        item.opening_no,
        item.extra_ms,
        item.participant_id,
        item.participants,
    )
    return item.command_id, encode_json(message)
