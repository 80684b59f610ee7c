"""The routes that crowds call, in front of FastAPI, whose machinery costs more than all that they do."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, NamedTuple, TypeVar

import msgspec
from fastapi import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from engine.errors import Malformed, QuizError
from serve_app.api.body import read_body
from serve_app.api.responses import http_problem, send_problem, send_response
from serve_app.errors import HTTP_STATUS
from serve_app.replica import Replica

_T = TypeVar("_T")
_HEADERS: Final = ((b"content-type", b"application/json"), (b"cache-control", b"no-store"))
#: What every refusal looks like in the OpenAPI document.
PROBLEM_CONTENT: Final[dict[str, Any]] = {
    "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
}
_REFUSED: Final = sorted(set(HTTP_STATUS.values()) - {500})
_SCHEMA_OF: Final = "#/components/schemas/{name}"


class Call(NamedTuple):
    """One request. ``subject``: the session's id or the PIN in its path."""

    replica: Replica
    scope: Scope
    receive: Receive
    subject: str

    def header(self, name: bytes) -> str | None:
        """A header by its lower-case name."""
        for key, value in self.scope["headers"]:
            if key == name:
                return str(value.decode("latin-1"))
        return None

    async def body(self, decode: Callable[[bytes], _T]) -> _T:
        """The body as ``decode``, a msgspec decoder, reads it.

        Raises:
            Malformed: it cannot be read as that.
        """
        data = await read_body(self.receive)
        try:
            return decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise Malformed(f"body: {error}") from None


class Reply(NamedTuple):
    """A good response, JSON. ``headers`` stand beside its type and ``no-store``."""

    status: int
    body: bytes
    headers: Sequence[tuple[bytes, bytes]] = ()


class HotRoute(NamedTuple):
    """One operation.

    Attributes:
        method: of HTTP.
        path: as OpenAPI writes it, with one parameter.
        handle: answers a call, or raises a :class:`QuizError`.
        openapi: the operation's part of the OpenAPI document.
        schemas: the types whose schemas that part refers to.
    """

    method: str
    path: str
    handle: Callable[[Call], Awaitable[Reply]]
    openapi: dict[str, Any]
    schemas: Sequence[type]


class HotRoutes:
    """ASGI middleware: answers calls of hot routes, and passes everything else on."""

    def __init__(self, app: ASGIApp, routes: Sequence[HotRoute]) -> None:
        self._app = app
        self._paths: dict[re.Pattern[str], dict[str, HotRoute]] = {}
        for route in routes:
            pattern = re.compile(re.sub(r"\{\w+\}", "([^/]+)", route.path))
            self._paths.setdefault(pattern, {})[route.method] = route

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with what the route's handler returns, or with problem details."""
        if scope["type"] == "http":
            path = scope["path"].removeprefix(scope.get("root_path", ""))
            for pattern, methods in self._paths.items():
                if found := pattern.fullmatch(path):
                    await _answer(methods, Call(_replica(scope), scope, receive, found[1]), send)
                    return
        await self._app(scope, receive, send)


def _replica(scope: Scope) -> Replica:
    replica: Replica = scope["app"].state.replica
    return replica


async def _answer(methods: dict[str, HotRoute], call: Call, send: Send) -> None:
    route = methods.get(call.scope["method"])
    if route is None:
        allow = {"allow": ", ".join(methods)}
        await send_problem(send, QuizError("Method Not Allowed", "malformed"), 405, allow)
        return
    try:
        reply = await route.handle(call)
    except HTTPException as error:  # of the body's bounds
        await send_problem(send, *http_problem(error))
    except QuizError as error:
        await send_problem(send, error)
    else:
        await send_response(send, reply.status, (*_HEADERS, *reply.headers), reply.body)


def add_openapi(schema: dict[str, Any], routes: Sequence[HotRoute]) -> None:
    """Write hot routes into an OpenAPI document."""
    types = [one for route in routes for one in route.schemas]
    _, components = msgspec.json.schema_components(types, ref_template=_SCHEMA_OF)
    schema["components"]["schemas"].update(components)
    for route in routes:
        schema["paths"].setdefault(route.path, {})[route.method.lower()] = route.openapi


def operation(
    summary: str,
    description: str,
    parameter: str,
    good: tuple[int, str, type],
    *,
    needs_token: bool = True,
    body: tuple[type, Any] | None = None,
    query: Sequence[dict[str, Any]] = (),
) -> dict[str, Any]:
    """The OpenAPI part of an operation.

    Args:
        summary: a few words.
        description: what a caller has to know.
        parameter: the name of the path's parameter.
        good: status, description and type of the good response.
        needs_token: whether it is refused without one.
        body: type and example of the request's body.
        query: further parameters.
    """
    status, meaning, kind = good
    parameters = [
        {"name": parameter, "in": "path", "required": True, "schema": {"type": "string"}},
        *query,
    ]
    described: dict[str, Any] = {
        "tags": ["play"],
        "summary": summary,
        "description": description,
        "operationId": summary.lower().replace(" ", "_"),
        "parameters": parameters,
        "responses": {
            str(status): {"description": meaning, "content": {"application/json": _schema(kind)}},
            **{
                str(code): {"description": "Refused; see `code`", "content": PROBLEM_CONTENT}
                for code in _REFUSED
            },
        },
    }
    if needs_token:
        described["security"] = [{"bearer": []}]
    if body is not None:
        content = {"application/json": {**_schema(body[0]), "example": body[1]}}
        described["requestBody"] = {"required": True, "content": content}
    return described


def _schema(kind: type) -> dict[str, Any]:
    return {"schema": {"$ref": _SCHEMA_OF.format(name=kind.__name__)}}
