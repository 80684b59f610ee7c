"""Headers by which browsers keep an answer to what it is meant for; on everything that HTTP answers."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from engine.errors import QuizError
from serve_app.errors import HTTP_STATUS, problem, problem_headers

#: For answers that are no pages: nothing of them is run, framed, sniffed at or read by other sites.
#: Pages set their own policy (``serve_app/pages/app.py``).
SAFE_HEADERS: Final = {
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
_RAW: Final = [(name.encode(), value.encode()) for name, value in SAFE_HEADERS.items()]


class SafeHeaders:
    """ASGI middleware: adds :data:`SAFE_HEADERS` where an answer does not have its own."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything on; add headers to answers of HTTP."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = message.get("headers", [])
                names = {name.lower() for name, _ in headers}
                message["headers"] = [*headers, *(one for one in _RAW if one[0] not in names)]
            await send(message)

        await self._app(scope, receive, send_safely)


def raw_response(error: QuizError, **headers: str) -> bytes:
    """An error's whole HTTP response, for where no application answers.

    Args:
        error: what is told, as problem details.
        headers: further ones, in front of the others.
    """
    status = HTTPStatus(HTTP_STATUS[error.code])
    body = json.dumps(problem(error))
    every = {
        **headers,
        **SAFE_HEADERS,
        **problem_headers(error),
        "content-length": str(len(body)),
    }
    lines = [f"HTTP/1.1 {status.value} {status.phrase}"]
    lines += [f"{name}: {value}" for name, value in every.items()]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()
