"""Routes of the quiz library."""

from __future__ import annotations

from typing import Annotated

import msgspec
from fastapi import APIRouter, Depends, Query, Request, Response

from actors.library import QuizLibrary, QuizRow
from engine import limits
from engine.ids import QuizId
from engine.importers import FORMATS, import_quiz, to_json
from engine.model import Quiz
from serve_app.api.body import read_body
from serve_app.api.context import GuardedRoute, Operator, note_change, read, replica_of
from serve_app.api.schemas import ImportOut, NoteOut, QuizFull, QuizIn, QuizListing, QuizOut

router = APIRouter(prefix="/quizzes", tags=["quizzes"], route_class=GuardedRoute)

_CHANGES = [Depends(note_change)]


def _library(request: Request) -> QuizLibrary:
    return QuizLibrary(replica_of(request).pool)


def _out(row: QuizRow) -> QuizOut:
    return QuizOut(**row._asdict())


def _quiz(body: QuizIn) -> Quiz:
    return msgspec.convert(body.model_dump(), Quiz)


@router.post("", status_code=201, summary="Create a quiz", dependencies=_CHANGES)
async def create_quiz(body: QuizIn, request: Request, _: Operator) -> QuizOut:
    """Refused with ``invalid_quiz`` when a question cannot be used; the detail names it."""
    return _out(await _library(request).create(_quiz(body)))


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
        str, Query(description=f"one of {', '.join(FORMATS)}", max_length=40)
    ],
    title: Annotated[str, Query(max_length=limits.TITLE_CHARS_MAX)] = "",
) -> ImportOut:
    """Every item that cannot be a question is reported with its line; the others are kept."""
    data = await read_body(request.receive)
    report = import_quiz(data, format, title)
    row = await _library(request).create(report.quiz)
    return ImportOut(
        **row._asdict(),
        skipped=[NoteOut(**note._asdict()) for note in report.skipped],
        warnings=[NoteOut(**note._asdict()) for note in report.warnings],
    )


@router.get("/{quiz_id}", summary="Read a quiz")
async def get_quiz(
    quiz_id: str,
    request: Request,
    _: Operator,
    version: Annotated[int | None, Query(ge=1, le=2**31 - 1)] = None,
) -> QuizFull:
    """With its key: operators only. Without ``version``, the newest."""
    row, quiz = await read(
        request, lambda database: QuizLibrary(database).get(QuizId(quiz_id), version)
    )
    return QuizFull(**row._asdict(), quiz=QuizIn(**msgspec.to_builtins(quiz)))


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
    return Response(to_json(quiz), media_type="application/json", headers=headers)


@router.put("/{quiz_id}", summary="Change a quiz", dependencies=_CHANGES)
async def update_quiz(quiz_id: str, body: QuizIn, request: Request, _: Operator) -> QuizOut:
    """Makes a new version; sessions that are being played keep theirs."""
    return _out(await _library(request).update(QuizId(quiz_id), _quiz(body)))


@router.delete("/{quiz_id}", status_code=204, summary="Delete a quiz", dependencies=_CHANGES)
async def delete_quiz(quiz_id: str, request: Request, _: Operator) -> None:
    """Sessions of it go on."""
    await _library(request).delete(QuizId(quiz_id))
