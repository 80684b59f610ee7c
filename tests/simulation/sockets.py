"""Websockets between pages and replicas: the real PicowsConnection over a simulated network.

Bytes arrive in order and late. A page that reads nothing lets the network fill up, then the replica's
buffer; a connection that breaks is noticed by each end in its own time, by the page's perhaps never.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, Protocol

import picows

from engine import limits
from serve_app.websocket.connection import ConnectionListener
from serve_app.websocket.uvicorn_picows import PicowsConnection
from serve_app.websocket.waiting import Holder, WaitingBytes
from tests.simulation.loop import Process, current
from tests.simulation.network import Network


class Reader(Protocol):
    """A page, as its socket sees it."""

    process: Process

    def opened(self, socket: Socket) -> None:
        """The handshake is done."""

    def hear(self, socket: Socket, payload: bytes) -> None:
        """A message has come."""

    def closed(self, socket: Socket, code: int) -> None:
        """The socket is over; 1006 when it was cut."""


class Waiting:
    """Stands in for ``WAITING``: each simulated replica has one of its own."""

    def __init__(self, violate: Callable[[str, str], None]) -> None:
        self._violate = violate
        self._by_process: dict[Process, WaitingBytes] = {}

    def note(self, holder: Holder, held: int) -> None:
        """See :meth:`WaitingBytes.note`."""
        waiting = self._mine()
        waiting.note(holder, held)
        if waiting.total > limits.REPLICA_WAITING_BYTES_MAX:
            self._violate("what waits is bounded", f"{waiting.total} bytes at a replica")

    def forget(self, holder: Holder) -> None:
        """See :meth:`WaitingBytes.forget`."""
        self._mine().forget(holder)

    def _mine(self) -> WaitingBytes:
        process = current()
        if process not in self._by_process:
            self._by_process[process] = WaitingBytes(limits.REPLICA_WAITING_BYTES_MAX)
        return self._by_process[process]


class Frame:
    """As much of ``picows.WSFrame`` as is used."""

    fin = True

    def __init__(self, msg_type: picows.WSMsgType, payload: bytes, code: int = 0) -> None:
        self.msg_type = msg_type
        self.code = code
        self._payload = payload

    def get_payload_as_bytes(self) -> bytes:
        """The message."""
        return self._payload

    def get_close_code(self) -> int:
        """Why it closes."""
        return self.code


class Socket:
    """One websocket: the network, and the transport that picows would have at the replica.

    Args:
        wire_bytes: what is taken up by the network and the page before the replica's buffer fills.
    """

    #: It has none that a fault could look for.
    server = None

    def __init__(
        self,
        network: Network,
        reader: Reader,
        replica: Process,
        make_listener: Callable[[], ConnectionListener],
        wire_bytes: int,
        violate: Callable[[str, str], None],
    ) -> None:
        self._network = network
        self._reader = reader
        self._replica = replica
        self._make_listener = make_listener
        self._wire_bytes = wire_bytes
        self._violate = violate
        self._out_s = self._back_s = 0.0
        self._is_cut = False
        # --- at the page
        self._is_over_here = False
        self._reads = True
        self._unread: deque[Frame] = deque()
        # --- at the replica
        self._connection: Any = None
        self._is_over_there = False
        self._ends = False
        self._buffer: deque[Frame] = deque()
        self._on_wire = 0
        self._is_paused = False
        self.is_close_frame_sent = False
        self._sent_close: Frame | None = None
        self._got_close: Frame | None = None
        self._replied_close = False
        replica.links[self] = None
        self._bring(self._accept)

    # --- at the page ----------------------------------------------------------------------------

    def say(self, payload: bytes) -> None:
        """Send a message."""
        self._bring(self._receive, Frame(picows.WSMsgType.TEXT, payload))

    def leave(self, *, is_told: bool) -> None:
        """End it from the page; a phone that is switched off tells nobody."""
        self._is_over_here = True
        if is_told:
            self._bring(self._receive, Frame(picows.WSMsgType.CLOSE, b"", 1001))
            self.read_on()  # its system takes what still comes
        else:
            self.cut()

    def stall(self) -> None:
        """Read nothing from now on."""
        self._reads = False

    def read_on(self) -> None:
        """Read again, first of all what has come meanwhile."""
        self._reads = True
        while self._unread and self._reads:
            self._read(self._unread.popleft())

    def cut(self) -> None:
        """Break the connection in between; what is under way is lost."""
        if self._is_cut:
            return
        self._is_cut = True
        now_s = self._replica.loop.time()
        self._replica.call_at(now_s + self._network.unnoticed_s(), self._lose)
        if self._network.coin():
            self._reader.process.call_at(now_s + self._network.unnoticed_s(), self._end_here, 1006)

    def hang_up(self) -> None:
        """The replica's process has died: its system closes the connection."""
        if not self._is_cut:
            self._is_cut = True
            at_s = self._replica.loop.time() + self._network.delay_s()
            self._reader.process.call_at(at_s, self._end_here, 1006)

    def _bring(self, work: Callable[..., object], *args: object) -> None:
        """Have something arrive at the replica, behind what was sent before."""
        if not self._is_cut:
            self._out_s = max(self._out_s, self._replica.loop.time() + self._network.delay_s())
            self._replica.call_at(self._out_s, self._arrive, work, args)

    def _arrive(self, work: Callable[..., object], args: tuple[object, ...]) -> None:
        if not self._is_cut and not self._is_over_there:
            work(*args)

    def _opened(self) -> None:
        if not self._is_cut and not self._is_over_here:
            self._reader.opened(self)

    def _come(self, frame: Frame) -> None:
        if self._is_cut:
            return
        if self._reads:
            self._read(frame)
        else:
            self._unread.append(frame)

    def _read(self, frame: Frame) -> None:
        self._bring(self._taken, _size(frame))
        if self._is_over_here:
            return
        if frame.msg_type == picows.WSMsgType.CLOSE:
            self._bring(self._receive, Frame(picows.WSMsgType.CLOSE, b"", frame.code))
            self._end_here(frame.code)
        else:
            self._reader.hear(self, frame.get_payload_as_bytes())

    def _end_here(self, code: int) -> None:
        if not self._is_over_here:
            self._is_over_here = True
            self._reader.closed(self, code)

    # --- at the replica -------------------------------------------------------------------------

    def _accept(self) -> None:
        self._connection = PicowsConnection(self._make_listener())
        self._connection.on_ws_connected(self)
        self._back_s = self._replica.loop.time() + self._network.delay_s()
        self._reader.process.call_at(self._back_s, self._opened)

    def _receive(self, frame: Frame) -> None:
        if frame.msg_type == picows.WSMsgType.CLOSE and self._got_close is None:
            self._got_close = frame
            self._replied_close = not self.is_close_frame_sent
        self._connection.on_ws_frame(self, frame)

    def _taken(self, size: int) -> None:
        """The page has read so many bytes."""
        self._on_wire -= size
        self._flush()
        if self._is_paused and not self._buffer:
            self._is_paused = False
            self._connection.resume_writing()
        self._end_when_flushed()

    def _flush(self) -> None:
        while self._buffer and (
            not self._on_wire or self._on_wire + _size(self._buffer[0]) <= self._wire_bytes
        ):
            frame = self._buffer.popleft()
            self._on_wire += _size(frame)
            if not self._is_cut:
                now_s = self._replica.loop.time()
                self._back_s = max(self._back_s, now_s + self._network.delay_s())
                self._reader.process.call_at(self._back_s, self._come, frame)

    def _put(self, frame: Frame) -> None:
        if self._is_over_there or self._ends:
            return
        held = self.get_write_buffer_size()
        if held > limits.SOCKET_WAITING_BYTES_MAX and frame.msg_type != picows.WSMsgType.CLOSE:
            self._violate(
                "what waits is bounded", f"{held} bytes at a socket, and one more message"
            )
        self._buffer.append(frame)
        self._flush()
        if self._buffer and not self._is_paused:
            self._is_paused = True
            self._connection.pause_writing()

    def _lose(self) -> None:
        """The connection is over, as the replica sees it."""
        if not self._is_over_there:
            self._is_over_there = True
            self._replica.links.pop(self, None)
            self._buffer.clear()
            if self._connection is not None:
                self._connection.on_ws_disconnected(self)
            at_s = max(self._back_s, self._replica.loop.time() + self._network.delay_s())
            self._reader.process.call_at(at_s, self._end_here, 1006)

    def _end_when_flushed(self) -> None:
        if self._ends and not self._buffer:
            # Behind what is under way: the system sends that before it says that this was the end.
            self._replica.call_at(self._replica.loop.time(), self._lose)

    # --- what picows' transport is asked for ------------------------------------------------------

    def send(self, _msg_type: picows.WSMsgType, payload: bytes) -> None:
        """See picows."""
        if not self.is_close_frame_sent:
            self._put(Frame(picows.WSMsgType.TEXT, payload))

    def send_close(self, code: int, _reason: str = "") -> None:
        """See picows."""
        if not self.is_close_frame_sent:
            self._sent_close = Frame(picows.WSMsgType.CLOSE, b"", int(code))
            self.is_close_frame_sent = True
            self._put(self._sent_close)

    def disconnect(self, graceful: bool = True) -> None:
        """See picows."""
        if graceful:
            self._ends = True
            self._end_when_flushed()
        else:
            self._replica.call_at(self._replica.loop.time(), self._lose)

    @property
    def close_handshake(self) -> SimpleNamespace | None:
        """See picows."""
        if self._sent_close is None and self._got_close is None:
            return None
        return SimpleNamespace(
            recv=self._got_close, sent=self._sent_close, recv_then_sent=self._replied_close
        )

    @property
    def underlying_transport(self) -> Socket:
        """See picows; this is both."""
        return self

    def get_write_buffer_size(self) -> int:
        """See asyncio."""
        return sum(map(_size, self._buffer))


def _size(frame: Frame) -> int:
    return len(frame.get_payload_as_bytes()) + 4
