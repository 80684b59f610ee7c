"""A websocket that comes back by itself, with the backoff and the resume of the project's pages."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final, cast

import msgspec
import picows

from engine.view import Delta, View, apply
from engine.wire import (
    DeltaFrame,
    Hello,
    ServerMessage,
    Snapshot,
    Welcome,
    decode_server_message,
    encode_json,
)

_TEXT = picows.WSMsgType.TEXT
_HANDSHAKE_S_MAX = 10.0
#: First and longest pause before another try, seconds; the whole of it is jitter.
_BACKOFF_S_MIN, _BACKOFF_S_MAX = 0.25, 4.0
#: Close codes after which coming back is useless; docs/PROTOCOL.md lists them.
_FINAL_CODES: Final = frozenset({4000, 4001, 4002, 4003, 4005, 4007, 4010, 4012})
#: What a proxy or a server that is away looks like.
_AWAY = (OSError, TimeoutError, picows.WSError)

# Everybody in a room gets the very same bytes: they are decoded once.
_decode = lru_cache(maxsize=256)(decode_server_message)


class LiveSocket:
    """Says hello, follows the view, hands every message on; reconnects until it is told to stop.

    Args:
        url: the address of the websocket.
        token: what hello carries.
        on_message: called with every message, after :attr:`view` has taken it in.
        rng: where jitter comes from.

    Attributes:
        view: the newest view, None before the first welcome.
        reconnects: how often the socket came back after a cut.
        closed_as: the final close code, 0 while there is none.
    """

    def __init__(
        self,
        url: str,
        token: str,
        on_message: Callable[[ServerMessage], None],
        rng: random.Random,
    ) -> None:
        self._url = url
        self._token = token
        self._on_message = on_message
        self._rng = rng
        self._transport: picows.WSTransport | None = None
        self._welcomed = asyncio.Event()
        self.view: View | None = None
        self.reconnects = 0
        self.closed_as = 0
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def welcomed(self) -> None:
        """Return when a first welcome has come, or the server has closed for good."""
        await self._welcomed.wait()

    def send(self, payload: bytes) -> bool:
        """Write one message; False when there is no connection to write to."""
        if self._transport is None:
            return False
        self._transport.send(_TEXT, payload)
        return True

    def cut(self) -> None:
        """Drop the connection as a dead network does: without a word."""
        if self._transport is not None:
            self._transport.disconnect(graceful=False)

    async def close(self) -> None:
        """Leave for good."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        backoff_s = _BACKOFF_S_MIN
        while not self.closed_as:
            listener = _Listener(self._receive)
            try:
                transport, _ = await picows.ws_connect(
                    lambda listener=listener: listener,
                    self._url,
                    websocket_handshake_timeout=_HANDSHAKE_S_MAX,
                )
            except _AWAY:
                pass
            else:
                backoff_s = _BACKOFF_S_MIN
                await self._live(transport)
                if listener.close_code in _FINAL_CODES:
                    self.closed_as = listener.close_code
                    self._welcomed.set()
                    return
                self.reconnects += 1
            await asyncio.sleep(self._rng.uniform(0, backoff_s))
            backoff_s = min(2 * backoff_s, _BACKOFF_S_MAX)

    async def _live(self, transport: picows.WSTransport) -> None:
        view = self.view
        seen = (view.epoch, view.version) if view is not None else (0, 0)
        transport.send(_TEXT, encode_json(Hello(self._token, *seen)))
        self._transport = transport
        try:
            await transport.wait_disconnected()
        finally:
            self._transport = None
            transport.disconnect(graceful=False)

    def _receive(self, payload: bytes) -> None:
        message = cast("ServerMessage", _decode(payload))
        if isinstance(message, Welcome | Snapshot) and message.view is not None:
            self.view = message.view
        elif isinstance(message, DeltaFrame):
            if self.view is None:
                return
            try:
                self.view = apply(Delta(message.epoch, message.version, message.changes), self.view)
            except ValueError:
                # A frame is missing: hello again, on a new connection, brings the whole view.
                self.view = msgspec.structs.replace(self.view, version=0)
                self.cut()
                return
        self._on_message(message)
        if isinstance(message, Welcome):
            self._welcomed.set()


class _Listener(picows.WSListener):
    """Hands text on, answers a close."""

    def __init__(self, receive: Callable[[bytes], None]) -> None:
        self._receive = receive
        self.close_code = 0

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        """One frame."""
        if frame.msg_type == _TEXT:
            self._receive(frame.get_payload_as_bytes())
        elif frame.msg_type == picows.WSMsgType.CLOSE:
            code: Any = frame.get_close_code()
            self.close_code = code if isinstance(code, int) else code.value
            transport.send_close(code)
            transport.disconnect()
