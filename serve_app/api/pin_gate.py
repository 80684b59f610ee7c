"""In front of every route with a PIN: a refusal here costs none of FastAPI's machinery."""

from __future__ import annotations

import re
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from engine.errors import QuizError
from engine.wire import encode_json
from serve_app.errors import HTTP_STATUS, problem, problem_headers
from serve_app.replica import Replica

_ROUTE: Final = re.compile(r"/pins/([^/]+)(/participants|/viewers)?")


class PinGate:
    """ASGI middleware: a look-up of a PIN goes on when :class:`serve_app.pin_guard.PinGuard` lets it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it with problem details."""
        route = None
        if scope["type"] == "http":
            route = _ROUTE.fullmatch(scope["path"].removeprefix(scope.get("root_path", "")))
        if route is None:
            await self._app(scope, receive, send)
            return
        replica: Replica = scope["app"].state.replica
        address = replica.addresses.of(scope)
        error: QuizError | None
        try:
            is_join = route[2] == "/participants"
            error = await replica.pins.refusal(address, route[1], is_join=is_join)
        except QuizError as away:
            error = away
        if error is None:
            await self._app(scope, receive, send)
        else:
            await _refuse(send, error)


async def _refuse(send: Send, error: QuizError) -> None:
    body = encode_json(problem(error))
    headers = {**problem_headers(error), "content-length": str(len(body))}
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    status = HTTP_STATUS[error.code]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})
