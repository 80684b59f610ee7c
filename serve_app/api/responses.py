"""Whole responses of bare ASGI applications, which stand where FastAPI's machinery costs too much."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from starlette.exceptions import HTTPException
from starlette.types import Send

from engine.errors import QuizError
from engine.wire import encode_json
from serve_app.errors import HTTP_STATUS, problem, problem_headers

#: Codes of what FastAPI and the middleware refuse by HTTP status alone.
_HTTP_CODES: Final = {404: "not_found", 413: "too_large"}


def http_problem(error: HTTPException) -> tuple[QuizError, int, Mapping[str, str]]:
    """What FastAPI or the middleware refuses, as an error, with the status and headers it is to have."""
    code = _HTTP_CODES.get(error.status_code, "malformed")
    return QuizError(str(error.detail), code), error.status_code, error.headers or {}


async def send_response(
    send: Send, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes
) -> None:
    """Send a response with its headers and the length of its body."""
    headers = [*headers, (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def send_problem(
    send: Send,
    error: QuizError,
    status: int | None = None,
    headers: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Send the problem details of an error; with a status and headers of its own, where it has any."""
    body = problem(error) if status is None else {**problem(error), "status": status}
    all_headers = {**problem_headers(error), **headers}
    raw = [(name.encode(), value.encode()) for name, value in all_headers.items()]
    await send_response(send, status or HTTP_STATUS[error.code], raw, encode_json(body))
