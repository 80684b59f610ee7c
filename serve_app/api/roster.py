"""Routes for the host's list of everybody who is in, and what the join page must know before a name."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request

from engine import limits
from engine.ids import ParticipantId, SessionId
from engine.roster import RosterFilter
from serve_app.api.context import Host, replica_of
from serve_app.api.schemas import PersonOut, RosterOut
from serve_app.errors import TooOften
from serve_app.presence import connected_of

router = APIRouter()


@router.get("/sessions/{session_id}/roster", tags=["host"], summary="List everybody who is in")
async def roster(
    session_id: Annotated[str, "the session's id"],
    request: Request,
    _: Host,
    search: Annotated[str, Query(max_length=limits.ROSTER_SEARCH_CHARS_MAX)] = "",
    only: RosterFilter = RosterFilter.ALL,
    before: Annotated[int, Query(ge=0, le=limits.PARTICIPANT_ID_MAX + 1)] = 0,
    limit: Annotated[int, Query(ge=1, le=limits.ROSTER_PAGE_ROWS_MAX)] = 100,
) -> RosterOut:
    """Newest first. ``before`` is the ``next`` of the page before; 0 begins.

    ``search`` is part of a nickname, whatever the case. ``only``: ``recent`` joined within the last
    minute; ``never_connected`` has joined and not opened the game, as a program does that fills a
    lobby; ``unanswered`` has not answered the question that is open. ``connected`` is null
    while that cannot be told.
    """
    session = SessionId(session_id)
    replica = replica_of(request)
    if not replica.rosters.take(session):
        raise TooOften(
            f"rosters: at most {limits.ROSTER_READS_PER_S_MAX} pages a second are allowed in a session"
        )
    matching, rows = await replica.gateway.call(
        session, "roster", search, only.value, before, limit
    )
    connected = await connected_of(replica.cache, session, [row[0] for row in rows])
    items = [
        PersonOut(
            participant_id=who,
            nickname=nickname,
            joined_s_ago=joined_ms_ago // 1000,
            has_connected=has_connected,
            connected=None if connected is None else ParticipantId(who) in connected,
        )
        for who, nickname, joined_ms_ago, has_connected in rows
    ]
    last = items[-1].participant_id if len(items) == limit else 0
    return RosterOut(matching=matching, items=items, next=last or None)
