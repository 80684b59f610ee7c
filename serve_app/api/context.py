"""What the routes of the API share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from fastapi import Request, Response

from actors.postgres import Database
from engine import limits
from engine.ids import SessionId
from serve_app.auth import Claims, Role, bearer
from serve_app.replica import Replica

_T = TypeVar("_T")
#: Whoever has it has just changed something, and must see that.
_CHANGED: Final = "rayquiz_changed"


def replica_of(request: Request) -> Replica:
    """The replica's parts (a FastAPI dependency)."""
    found: Replica = request.app.state.replica
    return found


def operator(request: Request) -> Claims:
    """Allow operators only (a FastAPI dependency).

    Raises:
        Unauthorized: no token, or one of another role.
    """
    token = bearer(request.headers.get("authorization"))
    return replica_of(request).tokens.check(token, Role.OPERATOR)


def member(request: Request, session_id: SessionId, *roles: Role) -> Claims:
    """Allow the roles of one session, and operators.

    Raises:
        Unauthorized: no token, or one of another role or session.
    """
    token = bearer(request.headers.get("authorization"))
    tokens = replica_of(request).tokens
    claims = tokens.check(token, Role.OPERATOR, *roles)
    if claims.role is Role.OPERATOR:
        return claims
    return tokens.check(token, *roles, session_id=session_id)


async def read(request: Request, work: Callable[[Database], Awaitable[_T]]) -> _T:
    """Read from a replica of the database; from the primary for those who have just changed something.

    Raises:
        QuizError: what ``work`` raises on the primary.
    """
    return await replica_of(request).reads.read(work, newest=_CHANGED in request.cookies)


async def read_session(
    request: Request, session_id: SessionId, work: Callable[[Database], Awaitable[_T]]
) -> _T:
    """Read what is stored of a session, where it is. Of several primaries the catalogue has replicas.

    Raises:
        NotFound: there is no primary that could have it.
        QuizError: what ``work`` raises on its primary.
    """
    shards = replica_of(request).shards
    database = shards.of(session_id)
    return await (read(request, work) if database is shards.catalogue else work(database))


def note_change(response: Response) -> None:
    """Have the client's next reads come from the primary (a FastAPI dependency).

    The client's cookie, because its next request may come to any replica of the API. When it expires,
    no replica of the database that is read from can lack the change.
    """
    response.set_cookie(
        _CHANGED,
        "1",
        max_age=limits.OWN_WRITES_MS // 1000,
        httponly=True,
        samesite="strict",
    )
