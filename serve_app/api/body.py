"""Bodies of requests: none is read further than it may be long."""

from __future__ import annotations

from fastapi import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from engine import limits
from engine.errors import Malformed

_LIBRARY = "/quizzes"


class BodyLimit:
    """ASGI middleware: a body that is too long is refused with 413, and the connection ends.

    It counts what arrives, whatever the header promises; a header that promises too much is refused
    at once. Quizzes may be long, everything else is small.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on with its body counted."""
        if scope["type"] == "http":
            receive = _Counted(scope, receive)
        await self._app(scope, receive, send)


class _Counted:
    __slots__ = ("_bytes_max", "_receive", "_scope", "_size")

    def __init__(self, scope: Scope, receive: Receive) -> None:
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        self._bytes_max = (
            limits.QUIZ_BYTES_MAX if path.startswith(_LIBRARY) else limits.BODY_BYTES_MAX
        )
        self._scope = scope
        self._receive = receive
        self._size = -1

    async def __call__(self) -> Message:
        if self._size < 0:
            self._size = 0
            self._check(_promised(self._scope))
        message = await self._receive()
        self._size += len(message.get("body", b""))
        self._check(self._size)
        return message

    def _check(self, size: int) -> None:
        if size > self._bytes_max:
            raise HTTPException(
                413,
                f"body: more than the {self._bytes_max} bytes that are allowed",
                {"connection": "close"},
            )


def _promised(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() else 0
    return 0


async def read_body(receive: Receive) -> bytes:
    """Read a request's body, bounded by :class:`BodyLimit`.

    Raises:
        Malformed: the client went away before its end; part of a body is no body.
    """
    message = await receive()
    body: bytes = message.get("body", b"")
    while message.get("more_body", False):
        message = await receive()
        body += message.get("body", b"")
    if message["type"] == "http.disconnect":
        raise Malformed("body: the client went away before its end")
    return body
