"""picows inside uvicorn: frames reach callbacks, with no coroutine and no queue per socket.

uvicorn parses the handshake and starts the ASGI application as ever, so Serve's accounting, routing
and draining hold. When the application has attached a listener and accepts, picows' protocol takes
the transport over; uvicorn keeps the connection in its books until it is lost, and its
``shutdown()`` sends 1012. An application that attaches nothing gets uvicorn's own websockets.

All settings of websockets stand here: no compression (64 KiB a connection), small messages, pings
to idle peers. Subprotocols are not spoken.

What waits for peers is bounded here, too: for each socket and for the process. The transport calls
``pause_writing`` as soon as one byte waits; from then until all has left, every write is weighed. A
socket whose peer reads is never weighed.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import Any, Final, cast

import picows
import uvicorn.config
from picows.picows import WSProtocol  # type: ignore[attr-defined]
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

from engine import limits
from engine.errors import Unavailable
from serve_app.client_address import ClientAddresses
from serve_app.errors import CLOSE_CODES, TooOften
from serve_app.rate import Rate, TokenBucket
from serve_app.safe_headers import raw_response
from serve_app.websocket.connection import EXTENSION, ConnectionListener
from serve_app.websocket.entrance import ENTRANCE
from serve_app.websocket.waiting import WaitingBytes

log = logging.getLogger(__name__)

#: A peer that has been silent so long is asked whether it is there, and cut when it does not reply.
PING_IDLE_S = 20.0
PING_REPLY_S = 20.0
#: How long a peer may take to echo a close, and to read what was written before it, seconds.
CLOSE_WAIT_S = 1.0
#: What waits for the peers of this process.
WAITING = WaitingBytes(limits.REPLICA_WAITING_BYTES_MAX)
_SMALL_FRAME_RATE = Rate(limits.SMALL_FRAMES_PER_S_MAX, limits.SMALL_FRAMES_BURST_MAX)
_SLOW, _TOO_MANY = CLOSE_CODES["slow_consumer"].code, CLOSE_CODES["too_many_faults"].code
_TEXT = picows.WSMsgType.TEXT
_NO_CODE = 1005
_CUT = 1006
#: Close codes that never stand on the wire. Source: RFC 6455, section 7.4.1.
_INTERNAL_CODES = (0, _NO_CODE, _CUT)

# picows tells every connection at INFO, every slow reader at WARNING and every fault of a client at
# ERROR: a client could fill the log. Our metrics count them, and our callbacks log their own errors.
_picows_log = logging.getLogger("picows.server")
_picows_log.setLevel(logging.CRITICAL)


class PicowsConnection(picows.WSListener):
    """One socket: implements ``Connection`` and turns picows' callbacks into the listener's.

    Attributes:
        code: once the connection is gone, its close code: the peer's, ours, or 1006 for a cut.
    """

    def __init__(self, listener: ConnectionListener) -> None:
        self._listener = listener
        self._transport: picows.WSTransport | None = None
        #: The fragments of an unfinished message, None between messages.
        self._fragments: bytearray | None = None
        #: Something waits for the peer; it has to leave until the timer ends.
        self._holds = False
        self._slow_timer: asyncio.TimerHandle | None = None
        #: So much waits that the listener was told.
        self._is_slow = False
        #: For frames that are no whole message; made when the first one comes.
        self._small_frames: TokenBucket | None = None
        #: Nothing is read from the peer until the timer ends.
        self._rest_timer: asyncio.TimerHandle | None = None
        self.code = _CUT

    # --- Connection ---------------------------------------------------------------------------------

    def send_text(self, payload: bytes) -> None:
        """See :class:`serve_app.websocket.connection.Connection`."""
        if self._transport is not None:
            self._transport.send(_TEXT, payload)
            if self._holds:
                self._weigh()

    def close(self, code: int, reason: str = "") -> None:
        """See :class:`serve_app.websocket.connection.Connection`."""
        transport = self._transport
        if transport is None or transport.is_close_frame_sent:
            return
        transport.send_close(cast("picows.WSCloseCode", code), reason)
        _abort_later(transport)

    def rest(self, ms: int) -> None:
        """See :class:`serve_app.websocket.connection.Connection`."""
        if self._transport is None or self._rest_timer is not None:
            return
        self._transport.underlying_transport.pause_reading()
        self._rest_timer = asyncio.get_running_loop().call_later(ms / 1000, self._read_on)

    def _read_on(self) -> None:
        self._rest_timer = None
        transport = self._transport
        if transport is not None and not transport.underlying_transport.is_closing():
            transport.underlying_transport.resume_reading()

    # --- picows -------------------------------------------------------------------------------------

    def on_ws_connected(self, transport: picows.WSTransport) -> None:
        """Handshake done."""
        self._transport = transport
        try:
            self._listener.on_open(self)
        except Exception:
            log.exception("action=listener_failed")
            self.close(picows.WSCloseCode.INTERNAL_ERROR.value)

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        """One frame; control frames are handled here, messages go on."""
        if transport.is_close_frame_sent and frame.msg_type != picows.WSMsgType.CLOSE:
            return
        if frame.msg_type == _TEXT and frame.fin and self._fragments is None:
            self._deliver(frame.get_payload_as_bytes())
        elif frame.msg_type == picows.WSMsgType.CLOSE:
            self._peer_closes(transport, frame)
        elif not self._takes_small_frame():
            self.close(_TOO_MANY, "too_many_faults")
        elif frame.msg_type == picows.WSMsgType.PING:
            # Not to a peer that does not read. It may do so: RFC 6455, section 5.5.3, lets the newest
            # ping alone be answered.
            if not self._holds:
                transport.send_pong(frame.get_payload_as_bytes())
        elif frame.msg_type in (_TEXT, picows.WSMsgType.CONTINUATION):
            self._fragment(frame)
        elif frame.msg_type == picows.WSMsgType.BINARY:
            self.close(picows.WSCloseCode.UNSUPPORTED_DATA.value, "text only")

    def _takes_small_frame(self) -> bool:
        """Whether the peer may send one more frame that is no whole message."""
        if self._small_frames is None:
            self._small_frames = TokenBucket(_SMALL_FRAME_RATE)
        return self._small_frames.take()

    def _fragment(self, frame: picows.WSFrame) -> None:
        is_first = frame.msg_type == _TEXT
        if is_first != (self._fragments is None):
            self.close(picows.WSCloseCode.PROTOCOL_ERROR.value, "fragments out of order")
            return
        whole = bytearray() if self._fragments is None else self._fragments
        whole += frame.get_payload_as_memoryview()
        self._fragments = None if frame.fin else whole
        if len(whole) > limits.MESSAGE_BYTES_MAX:
            self.close(picows.WSCloseCode.MESSAGE_TOO_BIG.value, "message too big")
        elif frame.fin:
            self._deliver(bytes(whole))

    def _deliver(self, payload: bytes) -> None:
        try:
            self._listener.on_text(self, payload)
        except Exception:
            log.exception("action=listener_failed")
            self.close(picows.WSCloseCode.INTERNAL_ERROR.value)

    def _peer_closes(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        if not transport.is_close_frame_sent:
            code: Any = frame.get_close_code()
            transport.send_close(picows.WSCloseCode.OK if code in _INTERNAL_CODES else code)
        transport.disconnect()
        _abort_later(transport)

    def on_ws_disconnected(self, transport: picows.WSTransport) -> None:
        """The transport is gone."""
        self._transport = None
        self._holds_nothing()
        if self._rest_timer is not None:
            self._rest_timer.cancel()
        self.code = _close_code(transport)
        try:
            self._listener.on_close(self, self.code)
        except Exception:
            log.exception("action=listener_failed")

    # --- what waits for the peer ----------------------------------------------------------------------

    def pause_writing(self) -> None:
        """Something waits: the system takes no more for this peer."""
        self._holds = True
        self._slow_timer = asyncio.get_running_loop().call_later(
            limits.SLOW_MS_MAX / 1000, self._end_slow
        )

    def resume_writing(self) -> None:
        """Nothing waits any more."""
        self._holds_nothing()
        if self._is_slow:
            self._is_slow = False
            self._listener.on_writable(self)

    def _holds_nothing(self) -> None:
        self._holds = False
        WAITING.forget(self)
        if self._slow_timer is not None:
            self._slow_timer.cancel()
            self._slow_timer = None

    def _weigh(self) -> None:
        """Look at what waits after a write: tell the listener, or close."""
        held = self.held_bytes()
        WAITING.note(self, held)
        if held > limits.SOCKET_WAITING_BYTES_MAX:
            self._end_slow()
        elif held > limits.SOCKET_BUFFER_BYTES_MAX and not self._is_slow:
            self._is_slow = True
            self._listener.on_unwritable(self)

    def _end_slow(self) -> None:
        self.close(_SLOW, "slow_consumer")

    def held_bytes(self) -> int:
        """See :class:`serve_app.websocket.waiting.Holder`."""
        if self._transport is None:
            return 0
        return self._transport.underlying_transport.get_write_buffer_size()

    def drop(self) -> None:
        """See :class:`serve_app.websocket.waiting.Holder`."""
        self._end_slow()
        if self._transport is not None:
            self._transport.disconnect(False)


def _abort_later(transport: picows.WSTransport) -> None:
    """End a connection whose close was written, even when the peer reads nothing any more."""
    asyncio.get_running_loop().call_later(CLOSE_WAIT_S, transport.disconnect, False)


def _close_code(transport: picows.WSTransport) -> int:
    """Who closed first, and with which code; picows notes both frames."""
    handshake = transport.close_handshake
    if handshake is None:
        return _CUT
    first = handshake.recv if handshake.recv_then_sent else handshake.sent
    return int(cast("int", first.code)) or _NO_CODE if first is not None else _CUT


class _TakenOver(WSProtocol):  # type: ignore[misc]
    """picows' protocol, telling uvicorn's when the connection is lost."""

    books: CallbackProtocol

    def connection_lost(self, exc: Exception | None) -> None:
        """Close picows' side, then uvicorn's books."""
        super().connection_lost(exc)
        self.books.connection_lost(exc)


class CallbackProtocol(WebSocketsSansIOProtocol):
    """uvicorn's websocket protocol that can hand a connection over to picows."""

    _listener: ConnectionListener | None = None
    _taken: PicowsConnection | None = None
    #: What came behind the handshake while the application has not accepted yet.
    _behind = b""

    def data_received(self, data: bytes) -> None:
        """Keep what comes before the application has accepted, for whoever reads the socket then."""
        if not self.handshake_initiated or self.handshake_complete:
            super().data_received(data)
            return
        self._behind += data
        if len(self._behind) > limits.MESSAGE_BYTES_MAX:
            self.transport.pause_reading()

    def handle_connect(self, event: Request) -> None:
        """Start the application as ever, and offer it callbacks."""
        super().handle_connect(event)
        if hasattr(self, "scope"):  # not when the handshake was refused
            cast("dict[str, Any]", self.scope["extensions"])[EXTENSION] = self

    def attach(self, listener: ConnectionListener) -> None:
        """See :class:`serve_app.websocket.connection.CallbackUpgrade`."""
        self._listener = listener

    async def send(self, message: Any) -> None:
        """Hand over to picows at ``websocket.accept``; afterwards the application may only close."""
        if self._taken is not None:
            if message["type"] != "websocket.close":
                raise RuntimeError("the listener's connection sends, not the application")
            self._taken.close(message.get("code", 1000), message.get("reason") or "")
            return
        is_accept = message["type"] == "websocket.accept" and not self.handshake_complete
        if is_accept and self._listener is not None and not self.disconnected:
            self._hand_over(self._listener)
            return
        await super().send(message)
        if is_accept and self.handshake_complete and self._behind:
            behind, self._behind = self._behind, b""
            self.transport.resume_reading()
            super().data_received(behind)

    def _hand_over(self, listener: ConnectionListener) -> None:
        if self.transport.is_closing():
            return
        connection = PicowsConnection(listener)
        protocol = _TakenOver(
            None,
            None,
            False,
            lambda _request: connection,
            _picows_log,
            True,
            None,
            True,
            PING_IDLE_S,
            PING_REPLY_S,
            picows.WSAutoPingStrategy.PING_WHEN_IDLE,
            False,  # pongs are ours: see on_ws_frame
            limits.MESSAGE_BYTES_MAX,
            None,
            1024,
        )
        protocol.books = self
        self.handshake_complete = True
        self._taken = connection
        self.transport.set_write_buffer_limits(high=0)
        protocol.connection_made(self.transport)
        self.transport.set_protocol(protocol)
        _feed(protocol, _request_bytes(self.request) + self._behind)
        self._behind = b""
        self.transport.resume_reading()
        self._forget_handshake()

    def _forget_handshake(self) -> None:
        """Drop what only the handshake needed, and what would keep this object alive after its end.

        That is half of what a socket holds, and all of its reference cycles: while they are there,
        collections take as long as there are sockets, and hold the loop for that time.
        """
        del self.conn, self.request, self.response
        del cast("dict[str, Any]", self.scope["extensions"])[EXTENSION]

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the application, once, with the code that the connection really ended with."""
        if self._taken is None:
            super().connection_lost(exc)
            return
        self.connections.remove(self)
        self.disconnected = True
        self.queue.put_nowait({"type": "websocket.disconnect", "code": self._taken.code})

    def shutdown(self) -> None:
        """The server goes away: 1012, which our protocol reads as "reconnect at once, with jitter"."""
        if self._taken is None:
            super().shutdown()
        else:
            # The application is told when the connection is lost: told now it would end, and the
            # socket with it, before the peer has read why.
            self._taken.close(CLOSE_CODES["restart"].code, "restart")


def _request_bytes(request: Request) -> bytes:
    """The least that picows needs of the handshake, which uvicorn has checked already.

    Rebuilt rather than kept: it must fit picows' first read buffer whatever headers a proxy added.
    """
    key = request.headers["Sec-WebSocket-Key"]
    lines = ["GET / HTTP/1.1", "Host: rayquiz", "Upgrade: websocket", "Connection: Upgrade"]
    lines += ["Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {key}", "", ""]
    return "\r\n".join(lines).encode()


def _feed(protocol: WSProtocol, data: bytes) -> None:
    """Give picows bytes as if the event loop had read them: no more at once than it has room for."""
    while data:
        room = protocol.get_buffer(len(data))
        size = min(len(room), len(data))
        room[:size] = data[:size]
        protocol.buffer_updated(size)
        data = data[size:]


class PacedHttpProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol, whose websockets wait for their turns at :data:`ENTRANCE`.

    A crowd that connects in one instant would otherwise hold the loop until the last handshake is
    done, and with it the answers of everybody who is connected.

    It also hands on what came in one read with a websocket's handshake, which uvicorn drops: a client
    should wait for the server's part of the handshake, but a proxy between them may have joined what
    it sent one after the other.
    """

    #: Tells where handshakes came from; set by :func:`install`.
    addresses = ClientAddresses()
    _read = b""
    #: What came behind a handshake that waits for its turn; None while none does.
    _behind: bytes | None = None

    def data_received(self, data: bytes) -> None:
        """Remember a read for as long as it is parsed; keep what comes behind a handshake that waits."""
        if self._behind is not None:
            self._behind += data
            if len(self._behind) > limits.MESSAGE_BYTES_MAX:
                self.transport.pause_reading()
            return
        self._read = data
        super().data_received(data)
        self._read = b""

    def handle_websocket_upgrade(self) -> None:
        """Have the handshake wait for its turn."""
        # uvicorn calls this while it handles httptools' exception, which says where parsing stopped.
        upgrade = sys.exception()
        assert upgrade is not None
        self._behind = self._read[upgrade.args[0] :]
        ENTRANCE.queue(self, self.addresses.of(self.scope))

    def enter(self) -> None:
        """Start the websocket's protocol, and give it what came behind the handshake."""
        behind, self._behind = self._behind, None
        if self.transport.is_closing():
            return
        self.transport.resume_reading()
        super().handle_websocket_upgrade()
        # It refers to this object, which nobody needs any more.
        del self.parser
        if behind and not self.transport.is_closing():
            protocol = self.transport.get_protocol()
            assert isinstance(protocol, asyncio.Protocol)
            protocol.data_received(behind)

    def refuse(self, *, as_stranger: bool) -> None:
        """Answer the handshake with 429 or 503; nothing was made for it yet."""
        self.transport.write(_STRANGER if as_stranger else _CROWDED)
        self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Give the turn up."""
        ENTRANCE.leave(self)
        super().connection_lost(exc)


_STRANGER: Final = raw_response(
    TooOften("websockets: too many of your address said no hello; wait a moment"),
    connection="close",
)
_CROWDED: Final = raw_response(
    Unavailable("websockets: too many wait to be let in; wait a moment", "overloaded"),
    connection="close",
)


def install(addresses: ClientAddresses) -> None:
    """Make uvicorn servers of this process that are started from now on use this layer.

    Args:
        addresses: tells where handshakes come from.
    """
    PacedHttpProtocol.addresses = addresses
    uvicorn.config.WS_PROTOCOLS["auto"] = f"{__name__}:{CallbackProtocol.__name__}"
    uvicorn.config.HTTP_PROTOCOLS["auto"] = f"{__name__}:{PacedHttpProtocol.__name__}"
