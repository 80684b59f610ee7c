"""Routes of the quiz library."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated, Any, Final, TypeVar

import msgspec
from fastapi import APIRouter, Depends, Query, Request, Response

from actors.library import QuizLibrary, QuizRow
from engine import limits
from engine.errors import Malformed
from engine.ids import QuizId
from engine.importers import FORMATS, import_quiz, to_json
from engine.model import Quiz
from engine.wire import encode_json
from serve_app.api.body import LargeBodies
from serve_app.api.context import GuardedRoute, Operator, note_change, read, replica_of
from serve_app.api.schemas import ImportOut, QuizFull, QuizIn, QuizListing, QuizOut

router = APIRouter(prefix="/quizzes", tags=["quizzes"], route_class=GuardedRoute)

_CHANGES = [Depends(note_change)]
_T = TypeVar("_T")
#: The body's schema for OpenAPI: the routes read the body themselves, see ``LargeBodies``.
_QUIZ_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/QuizIn"}}},
    }
}
_decode = msgspec.json.Decoder(Quiz).decode


def _library(request: Request) -> QuizLibrary:
    return QuizLibrary(replica_of(request).pool)


def _out(row: QuizRow) -> QuizOut:
    return QuizOut(**row._asdict())


async def _parse(request: Request, parse: Callable[[bytes], _T]) -> _T:
    bodies: LargeBodies = request.app.state.large_bodies
    return await bodies.parse(request, parse)


def _quiz(data: bytes) -> Quiz:
    try:
        return _decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"body: {error}") from None


@router.post(
    "",
    status_code=201,
    summary="Create a quiz",
    dependencies=_CHANGES,
    openapi_extra=_QUIZ_BODY,
)
async def create_quiz(request: Request, _: Operator) -> QuizOut:
    """Refused with ``invalid_quiz`` when a question cannot be used; the detail names it."""
    quiz = await _parse(request, _quiz)
    return _out(await _library(request).create(quiz))


@router.get("", summary="List quizzes, newest first")
async def list_quizzes(
    request: Request,
    _: Operator,
    limit: Annotated[int, Query(ge=1, le=limits.LISTING_ROWS_MAX)] = 50,
    cursor: Annotated[str | None, Query(max_length=200)] = None,
) -> QuizListing:
    """``next`` is the cursor of the next page, null on the last one."""
    rows, following = await read(
        request, lambda database: QuizLibrary(database).page(limit, cursor)
    )
    return QuizListing(items=[_out(row) for row in rows], next=following)


@router.post(
    "/import",
    status_code=201,
    summary="Import a quiz from a file",
    dependencies=_CHANGES,
    response_class=Response,
    responses={201: {"model": ImportOut, "description": "The quiz, and what was left out of it"}},
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/octet-stream": {"schema": {"type": "string"}}},
        }
    },
)
async def import_file(
    request: Request,
    _: Operator,
    format: Annotated[  # noqa: A002 - the name in the address
        str,
        Query(description=f"one of {', '.join(FORMATS)}; empty: by the content", max_length=40),
    ] = "",
    title: Annotated[str, Query(max_length=limits.TITLE_CHARS_MAX)] = "",
    file_name: Annotated[
        str, Query(description="the title if nothing else gives one", max_length=1_000)
    ] = "",
) -> Response:
    """Every item that cannot be a question is reported with its line; the others are kept."""
    name = file_name[: limits.TITLE_CHARS_MAX]
    report = await _parse(request, lambda data: import_quiz(data, format, title, name))
    row = await _library(request).create(report.quiz)
    skipped, warnings = ([note._asdict() for note in notes] for notes in report[1:])
    body = encode_json({**row._asdict(), "skipped": skipped, "warnings": warnings})
    return Response(body, 201, media_type="application/json")


@router.get(
    "/{quiz_id}",
    summary="Read a quiz",
    response_class=Response,
    responses={200: {"model": QuizFull, "description": "The quiz"}},
)
async def get_quiz(
    quiz_id: str,
    request: Request,
    _: Operator,
    version: Annotated[int | None, Query(ge=1, le=2**31 - 1)] = None,
) -> Response:
    """With its key: operators only. Without ``version``, the newest."""
    row, quiz = await read(
        request, lambda database: QuizLibrary(database).get(QuizId(quiz_id), version)
    )
    return Response(await asyncio.to_thread(_full, row, quiz), media_type="application/json")


def _full(row: QuizRow, quiz: Quiz) -> str:
    full = QuizFull(**row._asdict(), quiz=QuizIn(**msgspec.to_builtins(quiz)))
    return full.model_dump_json()


@router.get(
    "/{quiz_id}/export",
    summary="Export a quiz as a file",
    response_class=Response,
    responses={200: {"model": QuizIn, "description": "The file"}},
)
async def export_quiz(quiz_id: str, request: Request, _: Operator) -> Response:
    """The newest version in the project's own format, which ``import`` reads back."""
    row, quiz = await read(request, lambda database: QuizLibrary(database).get(QuizId(quiz_id)))
    headers = {"content-disposition": f'attachment; filename="quiz-{row.quiz_id}.json"'}
    body = await asyncio.to_thread(to_json, quiz)
    return Response(body, media_type="application/json", headers=headers)


@router.put("/{quiz_id}", summary="Change a quiz", dependencies=_CHANGES, openapi_extra=_QUIZ_BODY)
async def update_quiz(quiz_id: str, request: Request, _: Operator) -> QuizOut:
    """Makes a new version; sessions that are being played keep theirs."""
    quiz = await _parse(request, _quiz)
    return _out(await _library(request).update(QuizId(quiz_id), quiz))


@router.delete("/{quiz_id}", status_code=204, summary="Delete a quiz", dependencies=_CHANGES)
async def delete_quiz(quiz_id: str, request: Request, _: Operator) -> None:
    """Sessions of it go on."""
    await _library(request).delete(QuizId(quiz_id))
