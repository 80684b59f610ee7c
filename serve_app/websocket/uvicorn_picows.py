"""picows inside uvicorn: frames reach callbacks, with no coroutine and no queue per socket.

uvicorn parses the handshake and starts the ASGI application as ever, so Serve's accounting, routing
and draining hold. When the application has attached a listener and accepts, picows' protocol takes
the transport over; uvicorn keeps the connection in its books until it is lost, and its
``shutdown()`` sends 1012. An application that attaches nothing gets uvicorn's own websockets.

All settings of websockets stand here: no compression (64 KiB a connection), small messages, pings
to idle peers, a bounded buffer for slow ones.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, cast

import picows
import uvicorn.config
from picows.picows import WSProtocol  # type: ignore[attr-defined]
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

from engine import limits
from serve_app.errors import CLOSE_CODES
from serve_app.websocket.connection import EXTENSION, ConnectionListener

log = logging.getLogger(__name__)

#: A peer that has been silent so long is asked whether it is there, and cut when it does not reply.
PING_IDLE_S = 20.0
PING_REPLY_S = 20.0
#: How long a peer may take to echo a close, seconds.
_CLOSE_WAIT_S = 1.0
_TEXT = picows.WSMsgType.TEXT
_CUT = 1006

# picows tells every connection at INFO and every slow reader at WARNING; our metrics count them.
_picows_log = logging.getLogger("picows.server")
_picows_log.setLevel(logging.ERROR)


class PicowsConnection(picows.WSListener):
    """One socket: implements ``Connection`` and turns picows' callbacks into the listener's."""

    def __init__(self, listener: ConnectionListener) -> None:
        self._listener = listener
        self._transport: picows.WSTransport | None = None
        self._fragments: list[bytes] = []
        self._fragments_size = 0
        self._code = _CUT

    # --- Connection ---------------------------------------------------------------------------------

    def send_text(self, payload: bytes) -> None:
        """See :class:`serve_app.websocket.connection.Connection`."""
        if self._transport is not None:
            self._transport.send(_TEXT, payload)

    def close(self, code: int, reason: str = "") -> None:
        """See :class:`serve_app.websocket.connection.Connection`."""
        transport = self._transport
        if transport is None or transport.is_close_frame_sent:
            return
        self._code = code
        transport.send_close(cast("picows.WSCloseCode", code), reason)
        asyncio.get_running_loop().call_later(_CLOSE_WAIT_S, transport.disconnect)

    # --- picows -------------------------------------------------------------------------------------

    def on_ws_connected(self, transport: picows.WSTransport) -> None:
        """Handshake done."""
        self._transport = transport
        self._listener.on_open(self)

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        """One frame; control frames are handled here, messages go on."""
        if transport.is_close_frame_sent and frame.msg_type != picows.WSMsgType.CLOSE:
            return
        if frame.msg_type == _TEXT and frame.fin and not self._fragments:
            self._deliver(frame.get_payload_as_bytes())
        elif frame.msg_type == picows.WSMsgType.CLOSE:
            self._peer_closes(transport, frame)
        elif frame.msg_type in (_TEXT, picows.WSMsgType.CONTINUATION):
            self._fragment(frame)
        elif frame.msg_type == picows.WSMsgType.BINARY:
            self.close(picows.WSCloseCode.UNSUPPORTED_DATA.value, "text only")

    def _fragment(self, frame: picows.WSFrame) -> None:
        is_first = frame.msg_type == _TEXT
        if is_first == bool(self._fragments):
            self.close(picows.WSCloseCode.PROTOCOL_ERROR.value, "fragments out of order")
            return
        self._fragments.append(frame.get_payload_as_bytes())
        self._fragments_size += frame.payload_size
        if self._fragments_size > limits.MESSAGE_BYTES_MAX:
            self.close(picows.WSCloseCode.MESSAGE_TOO_BIG.value, "message too big")
        elif frame.fin:
            whole = b"".join(self._fragments)
            self._fragments, self._fragments_size = [], 0
            self._deliver(whole)

    def _deliver(self, payload: bytes) -> None:
        try:
            self._listener.on_text(self, payload)
        except Exception:
            log.exception("action=listener_failed")
            self.close(picows.WSCloseCode.INTERNAL_ERROR.value)

    def _peer_closes(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        if not transport.is_close_frame_sent:
            code = frame.get_close_code()
            # Only codes that may stand on the wire are echoed (RFC 6455, section 7.4.1).
            self._code = (code if isinstance(code, int) else code.value) or 1005
            if self._code == 1005:  # noqa: PLR2004 - "no code"
                transport.send_close(picows.WSCloseCode.OK)
            else:
                transport.send_close(cast("picows.WSCloseCode", self._code))
        transport.disconnect()

    def on_ws_disconnected(self, _transport: picows.WSTransport) -> None:
        """The transport is gone."""
        self._transport = None
        self._listener.on_close(self, self._code)

    def pause_writing(self) -> None:
        """More than the limit waits in the socket's buffer."""
        self._listener.on_unwritable(self)

    def resume_writing(self) -> None:
        """The buffer has drained."""
        self._listener.on_writable(self)


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

    def handle_connect(self, event: Request) -> None:
        """Start the application as ever, and offer it callbacks."""
        super().handle_connect(event)
        if hasattr(self, "scope"):  # not when the handshake was refused
            cast("dict[str, Any]", self.scope["extensions"])[EXTENSION] = self

    def attach(self, listener: ConnectionListener) -> None:
        """See :class:`serve_app.websocket.connection.CallbackUpgrade`."""
        self._listener = listener

    async def send(self, message: Any) -> None:
        """Hand over to picows at ``websocket.accept``; everything else is uvicorn's."""
        if self._listener is None or self.handshake_complete or self.disconnected:
            await super().send(message)
        elif message["type"] == "websocket.accept":
            self._hand_over(self._listener)
        else:
            await super().send(message)

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
            True,
            limits.MESSAGE_BYTES_MAX,
            None,
            1024,
        )
        protocol.books = self
        self.handshake_complete = True
        self._taken = connection
        self.transport.set_write_buffer_limits(high=limits.SOCKET_BUFFER_BYTES_MAX)
        protocol.connection_made(self.transport)
        self.transport.set_protocol(protocol)
        request = _request_bytes(self.request)
        protocol.get_buffer(len(request))[: len(request)] = request
        protocol.buffer_updated(len(request))

    def shutdown(self) -> None:
        """The server goes away: 1012, which our protocol reads as "reconnect at once, with jitter"."""
        if self._taken is None:
            super().shutdown()
        else:
            restart = CLOSE_CODES["restart"]
            self.queue.put_nowait({"type": "websocket.disconnect", "code": restart.code})
            self._taken.close(restart.code, "restart")


def _request_bytes(request: Request) -> bytes:
    """The least that picows needs of the handshake, which uvicorn has checked already.

    Rebuilt rather than kept: it must fit picows' first read buffer whatever headers a proxy added.
    """
    key = request.headers["Sec-WebSocket-Key"]
    lines = ["GET / HTTP/1.1", "Host: rayquiz", "Upgrade: websocket", "Connection: Upgrade"]
    lines += ["Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {key}", "", ""]
    return "\r\n".join(lines).encode()


def install() -> None:
    """Make uvicorn servers of this process that are started from now on use this layer."""
    uvicorn.config.WS_PROTOCOLS["auto"] = f"{__name__}:CallbackProtocol"
