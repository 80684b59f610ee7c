"""Bodies of requests: none is read further than it may be long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from fastapi import HTTPException, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from engine import limits
from engine.errors import Malformed, Unavailable

_T = TypeVar("_T")
_LIBRARY = "/quizzes"
#: Digits of a promised size that are looked at; so many are too large by far.
_DIGITS_MAX = 20


class BodyLimit:
    """ASGI middleware: a body that is too long is refused with 413, and the connection ends.

    It counts what arrives, whatever the header promises; a header that promises too much is refused
    at once. Quizzes may be long, everything else is small. A request that is answered before its
    long body has been read (as one without a token is) ends the connection too: nobody reads the
    rest. A long body that has not come whole within ``LONG_BODY_MS_MAX`` is refused with 408; HAProxy
    hands short ones on when they are whole.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on with its body counted."""
        if scope["type"] == "http":
            counted = _Counted(scope, receive)
            receive, send = counted, counted.closing(send)
        await self._app(scope, receive, send)


class _Counted:
    __slots__ = ("_bytes_max", "_late_at", "_promised", "_receive", "_size", "_whole")

    def __init__(self, scope: Scope, receive: Receive) -> None:
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        self._bytes_max = (
            limits.QUIZ_BYTES_MAX if path.startswith(_LIBRARY) else limits.BODY_BYTES_MAX
        )
        self._promised = _promised(scope)
        self._receive = receive
        self._size = -1
        #: On the loop's clock; there once a long body is asked for.
        self._late_at = 0.0
        self._whole = self._promised == 0

    async def __call__(self) -> Message:
        if self._size < 0:
            self._size = 0
            self._check(self._promised)
            self._late_at = asyncio.get_running_loop().time() + limits.LONG_BODY_MS_MAX / 1000
        if self._is_long and not self._whole:
            message = await self._receive_in_time()
        else:
            message = await self._receive()
        self._size += len(message.get("body", b""))
        self._check(self._size)
        self._whole = self._whole or not message.get("more_body", False)
        return message

    async def _receive_in_time(self) -> Message:
        try:
            async with asyncio.timeout_at(self._late_at):
                return await self._receive()
        except TimeoutError:
            seconds = limits.LONG_BODY_MS_MAX // 1000
            raise HTTPException(408, f"body: it did not come whole within {seconds} s") from None

    def closing(self, send: Send) -> Send:
        """``send`` with a header that ends the connection when a long body is left unread."""

        async def closing(message: Message) -> None:
            if message["type"] == "http.response.start" and self._is_long and not self._whole:
                message["headers"] = [*message["headers"], (b"connection", b"close")]
            await send(message)

        return closing

    @property
    def _is_long(self) -> bool:
        return not 0 <= self._promised <= limits.BODY_BYTES_MAX

    def _check(self, size: int) -> None:
        if size > self._bytes_max:
            raise HTTPException(
                413, f"body: more than the {self._bytes_max} bytes that are allowed"
            )


def _promised(scope: Scope) -> int:
    """The bytes that the header promises; 0 without a body, -1 when it comes in chunks."""
    headers = dict(scope["headers"])
    if b"transfer-encoding" in headers:
        return -1
    promised = headers.get(b"content-length", b"")
    return int(promised[:_DIGITS_MAX]) if promised.isdigit() else 0


class LargeBodies:
    """Bounds the memory and the time that large bodies take on one replica.

    As many are held at once as ``LARGE_BODIES_MAX`` says. One at a time is parsed, on a thread, so
    that the loop goes on answering; the interpreter gives each of the two its turn every 5 ms.
    """

    def __init__(self) -> None:
        self._held = 0
        self._parsing = asyncio.Lock()

    async def parse(self, request: Request, parse: Callable[[bytes], _T]) -> _T:
        """Read a request's body, and return what ``parse`` makes of it.

        Raises:
            Unavailable: code ``overloaded``: as many bodies as may be are held already; nothing of
                this one was read.
            Malformed: the client went away before the body's end.
            QuizError: what ``parse`` raises.
        """
        if self._held == limits.LARGE_BODIES_MAX:
            raise Unavailable(
                f"body: {self._held} large ones are being read; send it again later", "overloaded"
            )
        self._held += 1
        try:
            data = await read_body(request.receive)
            async with self._parsing:
                return await asyncio.to_thread(parse, data)
        finally:
            self._held -= 1


async def read_body(receive: Receive) -> bytes:
    """Read a request's body, bounded by :class:`BodyLimit`.

    Raises:
        Malformed: the client went away before its end; part of a body is no body.
    """
    message = await receive()
    parts = [message.get("body", b"")]
    while message.get("more_body", False):
        message = await receive()
        parts.append(message.get("body", b""))
    if message["type"] == "http.disconnect":
        raise Malformed("body: the client went away before its end")
    return b"".join(parts)
