"""Routes of live sessions: open, find by PIN, join, watch, move, read."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Final, Literal, TypeVar

import msgspec
from fastapi import APIRouter, Depends, Query, Request, Response

from actors.played import PlayedSession
from actors.postgres import Database
from actors.results import FastRow, ResultsReader
from actors.sessions import open_session
from engine import limits
from engine.ids import OpeningNo, ParticipantId, QuizId, SessionId
from engine.model import SessionSettings
from engine.wire import (
    DoneReply,
    FaultReply,
    MoveItem,
)
from serve_app.api.context import (
    GuardedRoute,
    Host,
    Operator,
    note_change,
    read,
    read_session,
    replica_of,
)
from serve_app.api.downloads import Download
from serve_app.api.schemas import (
    FastOut,
    MoveDone,
    MoveIn,
    PresenceOut,
    SessionIn,
    SessionListing,
    SessionOpened,
    SessionOut,
    TooFastOut,
    ViewerOut,
)
from serve_app.auth import Role
from serve_app.presence import present_in
from serve_app.results_files import csv_file, json_file, xlsx_file
from serve_app.viewer import error_of
from serve_app.xlsx import MEDIA_TYPE

_T = TypeVar("_T")

router = APIRouter(route_class=GuardedRoute)

SessionPath = Annotated[str, "the session's id"]
#: Results as files: what makes one, and its type.
_FILES: Final = {
    "json": (json_file, "application/json"),
    "csv": (csv_file, "text/csv"),
    "xlsx": (xlsx_file, MEDIA_TYPE),
}


@router.post(
    "/sessions",
    status_code=201,
    tags=["sessions"],
    summary="Open a session of a quiz",
    dependencies=[Depends(note_change)],
)
async def create_session(body: SessionIn, request: Request, _: Operator) -> SessionOpened:
    """The quiz's newest version is pinned; the tokens are for the host and for projectors."""
    replica = replica_of(request)
    settings = msgspec.convert(body.settings.model_dump(), SessionSettings)
    style = replica.settings.pin_style
    opened = await open_session(replica.directory, QuizId(body.quiz_id), settings, style)
    replica.guard.note_found(replica.addresses.of(request.scope), opened.pin)
    return SessionOpened(
        session_id=opened.session_id,
        pin=opened.pin,
        host_token=replica.tokens.of_session(Role.HOST, opened.session_id, opened.pin),
        viewer_token=replica.tokens.of_session(Role.VIEWER, opened.session_id, opened.pin),
    )


@router.get("/sessions", tags=["sessions"], summary="List sessions, newest first")
async def list_sessions(
    request: Request,
    _: Operator,
    limit: Annotated[int, Query(ge=1, le=limits.LISTING_ROWS_MAX)] = 50,
    cursor: Annotated[str | None, Query(max_length=200)] = None,
) -> SessionListing:
    """``next`` is the cursor of the next page, null on the last one."""
    rows, following = await read(
        request, lambda database: ResultsReader(database).page(limit, cursor)
    )
    return SessionListing(items=[SessionOut(**row._asdict()) for row in rows], next=following)


@router.post("/pins/{pin}/viewers", status_code=201, tags=["play"], summary="Watch a session")
async def watch(pin: str, request: Request) -> ViewerOut:
    """A token for the scoreboard: it sees what the projector shows."""
    replica = replica_of(request)
    info = await replica.directory.by_pin(pin)
    token = replica.tokens.of_session(Role.VIEWER, info.session_id, info.pin)
    return ViewerOut(session_id=info.session_id, token=token)


@router.post(
    "/sessions/{session_id}/moves",
    tags=["host"],
    summary="Move a session on",
    dependencies=[Depends(note_change)],
)
async def move(session_id: SessionPath, body: MoveIn, request: Request, _: Host) -> MoveDone:
    """A repeated ``command_id`` moves nothing and gets the same answer again."""
    session = SessionId(session_id)
    item = MoveItem(
        body.step,
        body.phase,
        OpeningNo(body.opening),
        body.command_id,
        body.extra_ms,
        ParticipantId(body.participant),
        tuple(map(ParticipantId, body.participants)),
    )
    reply = await replica_of(request).gateway.ask(session, item)
    if isinstance(reply, FaultReply):
        raise error_of(reply)
    assert isinstance(reply, DoneReply)
    return MoveDone(command_id=reply.command_id, phase=reply.phase, opening=reply.opening_no)


@router.get("/sessions/{session_id}/presence", tags=["host"], summary="Count who is connected")
async def presence(session_id: SessionPath, request: Request, _: Host) -> PresenceOut:
    """Over all replicas. Those who have just left, or whose network is gone, count for a while yet."""
    session = SessionId(session_id)
    replica = replica_of(request)
    present = await replica.presences.do(session, lambda: present_in(replica.cache, session))
    return PresenceOut(participants=present.participants, viewers=present.viewers)


@router.get(
    "/sessions/{session_id}/quiz",
    tags=["host"],
    summary="Get the quiz that is played, with its key",
    responses={200: {"content": {"application/json": {}}}},
)
async def quiz(session_id: SessionPath, request: Request, _: Host) -> Response:
    """The version that the session pins, whatever became of it in the library."""
    session = SessionId(session_id)
    body = await read_session(
        request, session, lambda database: ResultsReader(database).quiz(session)
    )
    return Response(body, media_type="application/json", headers={"cache-control": "no-store"})


@router.get(
    "/sessions/{session_id}/results",
    tags=["host"],
    summary="Results of a finished session",
    responses={200: {"content": {"application/json": {}, "text/csv": {}, MEDIA_TYPE: {}}}},
)
async def results(
    session_id: SessionPath,
    request: Request,
    _: Host,
    *,
    leave_out_too_fast: bool = False,
    format: Annotated[  # noqa: A002 - the name in the address
        Literal["json", "csv", "xlsx"],
        Query(
            description="`csv`: a line for each player; `xlsx`: that, and the questions with their key"
        ),
    ] = "json",
) -> Response:
    """Quiz with its key, scoreboard and every answer, from the database.

    Only after the end: before it they would tell the right answers. ``leave_out_too_fast`` leaves out
    answers that came sooner than anybody reads (``too_fast``), as if they had not been given: points,
    streak bonuses, ranks and counts are those without them.

    They are sent while they are read, in chunks. Where that fails, the connection ends without the last
    chunk.
    """
    session = SessionId(session_id)

    async def read_finished(work: Callable[[Database], Awaitable[_T]]) -> _T:
        async def finished(database: Database) -> _T:
            # Each time: another replica of the database may not be as far.
            await ResultsReader(database).require_finished(session)
            return await work(database)

        return await read_session(request, session, finished)

    played = PlayedSession(session, read_finished, leave_out_too_fast=leave_out_too_fast)
    make, media_type = _FILES[format]
    return Download(request.app.state.downloads, session, make(played), media_type)


@router.get(
    "/sessions/{session_id}/too_fast",
    tags=["host"],
    summary="Whose answers came sooner than anybody reads",
)
async def too_fast(session_id: SessionPath, request: Request, _: Host) -> TooFastOut:
    """Of a finished session: those with the most such answers, a page of them at the most."""
    session = SessionId(session_id)

    async def finished(database: Database) -> list[FastRow]:
        reader = ResultsReader(database)
        await reader.require_finished(session)
        return await reader.too_fast(session)

    found = await read_session(request, session, finished)
    return TooFastOut(
        elapsed_ms_below=limits.HUMAN_MS_MIN,
        items=[FastOut(**msgspec.to_builtins(row)) for row in found],
    )
