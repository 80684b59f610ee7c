"""In front of routes that anybody may ask much of: a refusal here costs none of FastAPI's machinery."""

from __future__ import annotations

import re
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from engine.errors import QuizError
from serve_app.api.responses import send_problem
from serve_app.replica import Replica

_PIN: Final = re.compile(r"/pins/([^/]+)(/participants|/returns|/viewers)?")
_READ: Final = re.compile(r"/sessions/[^/]+/(view|scoreboard|presence|results)")


class AddressGate:
    """ASGI middleware: a request goes on when :class:`serve_app.address_guard.AddressGuard` lets it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it with problem details."""
        error = await _refusal(scope) if scope["type"] == "http" else None
        if error is None:
            await self._app(scope, receive, send)
        else:
            await send_problem(send, error)


async def _refusal(scope: Scope) -> QuizError | None:
    path = scope["path"].removeprefix(scope.get("root_path", ""))
    pin = _PIN.fullmatch(path)
    if pin is None and not _READ.fullmatch(path):
        return None
    replica: Replica = scope["app"].state.replica
    address = replica.addresses.of(scope)
    if pin is None:
        return await replica.guard.read_refusal(address, _bearer(scope))
    try:
        return await replica.guard.pin_refusal(address, pin[1], is_join=pin[2] == "/participants")
    except QuizError as error:
        return error


def _bearer(scope: Scope) -> bytes:
    for name, value in scope["headers"]:
        if name == b"authorization":
            return bytes(value)
    return b""
