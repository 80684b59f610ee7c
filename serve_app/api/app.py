"""The API: routes, errors as problem details, OpenAPI with examples."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from starlette.exceptions import HTTPException

from engine import limits
from engine.errors import QuizError
from engine.wire import encode_json
from serve_app.api import (
    answers,
    joining,
    operations,
    quizzes,
    roster,
    sessions,
    tokens,
    watching,
)
from serve_app.api.address_gate import AddressGate
from serve_app.api.body import BodyLimit, LargeBodies
from serve_app.api.downloads import Downloads
from serve_app.api.hot import PROBLEM_CONTENT, HotRoutes, add_openapi
from serve_app.api.responses import http_problem
from serve_app.api.schemas import Problem
from serve_app.errors import HTTP_STATUS, problem, problem_headers
from serve_app.replica import Replica

log = logging.getLogger(__name__)

_DESCRIPTION = (
    "Live quizzes: the library, sessions, answers, scoreboards. Reads may come from a replica of the "
    f"database, at most {limits.REPLICA_LAG_MS_MAX / 1000:.0f} s behind; a client that keeps the cookie "
    "which every change sets sees its own changes at once."
)
_HOT = (*answers.ROUTES, *joining.ROUTES, *watching.ROUTES)
_REFUSALS: dict[int | str, dict[str, Any]] = {
    code: {"model": Problem, "description": "Refused; see `code`"}
    for code in sorted(set(HTTP_STATUS.values()) - {500})
}
_REFUSED = {str(status) for status in _REFUSALS}


def create_api_app() -> FastAPI:
    """The ASGI application of one API replica."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        replica = await Replica.create()
        replica.reads.start()
        app.state.replica = replica
        yield
        await replica.close()

    app = FastAPI(
        title="Rayquiz",
        version="0.1.0",
        # Their pages load scripts from addresses outside; /openapi.json is for any reader of it.
        docs_url=None,
        redoc_url=None,
        description=_DESCRIPTION,
        lifespan=lifespan,
        responses=_REFUSALS,
    )
    app.state.large_bodies = LargeBodies()
    app.state.downloads = Downloads()
    for part in (operations, quizzes, sessions, roster, tokens):
        app.include_router(part.router)
    # Each in front of those before it.
    app.add_middleware(HotRoutes, routes=_HOT)
    app.add_middleware(BodyLimit)
    app.add_middleware(AddressGate)
    app.add_exception_handler(QuizError, _refuse)
    app.add_exception_handler(RequestValidationError, _refuse_body)
    app.add_exception_handler(HTTPException, _refuse_http)
    app.add_exception_handler(Exception, _fail)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return app


def _respond(error: QuizError, status: int | None = None) -> Response:
    body = problem(error)
    if status is not None:
        body["status"] = status
    return Response(
        encode_json(body),
        status_code=status or HTTP_STATUS[error.code],
        headers=problem_headers(error),
    )


async def _refuse(_request: Request, error: Exception) -> Response:
    assert isinstance(error, QuizError)
    return _respond(error)


async def _refuse_body(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    details = "; ".join(
        f"{'.'.join(str(part) for part in e['loc'])}: {e['msg']}" for e in error.errors()[:5]
    )
    return _respond(QuizError(details, "malformed"))


async def _refuse_http(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    refusal, status, headers = http_problem(error)
    response = _respond(refusal, status)
    for name, value in headers.items():
        response.headers[name] = value
    return response


async def _fail(request: Request, error: Exception) -> Response:
    log.error("action=request_failed path=%s", request.url.path, exc_info=error)
    return _respond(QuizError("a fault of the server; it is in its log", "internal"))


def _openapi(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        schema = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes
        )
        schema["servers"] = [{"url": "/api"}]
        add_openapi(schema, _HOT)
        for methods in schema["paths"].values():
            for operation in methods.values():
                for status, response in operation["responses"].items():
                    if status in _REFUSED:
                        response["content"] = PROBLEM_CONTENT
        app.openapi_schema = schema
    return app.openapi_schema
