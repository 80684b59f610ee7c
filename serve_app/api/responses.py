"""Whole responses of bare ASGI applications, which stand where FastAPI's machinery costs too much."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.types import Send

from engine.errors import QuizError
from engine.wire import encode_json
from serve_app.errors import HTTP_STATUS, problem, problem_headers


async def send_response(
    send: Send, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes
) -> None:
    """Send a response with its headers and the length of its body."""
    headers = [*headers, (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def send_problem(send: Send, error: QuizError) -> None:
    """Send the problem details of an error."""
    headers = [(name.encode(), value.encode()) for name, value in problem_headers(error).items()]
    await send_response(send, HTTP_STATUS[error.code], headers, encode_json(problem(error)))
