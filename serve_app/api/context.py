"""What the routes of the API share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Annotated, Any, Final, TypeVar

from fastapi import Depends, Request, Response
from fastapi.openapi.models import HTTPBearer
from fastapi.routing import APIRoute
from fastapi.security.base import SecurityBase

from actors.postgres import Database
from engine import limits
from engine.ids import SessionId
from serve_app.auth import Claims, Role, Tokens, bearer
from serve_app.replica import Replica

_T = TypeVar("_T")
#: Whoever has it has just changed something, and must see that.
_CHANGED: Final = "rayquiz_changed"


def replica_of(request: Request) -> Replica:
    """The replica's parts (a FastAPI dependency)."""
    found: Replica = request.app.state.replica
    return found


class Allowed(SecurityBase):
    """Allows operators, and the named roles of the session in the path (a FastAPI dependency).

    Routes of the class :class:`GuardedRoute` check it before they read the request's body. OpenAPI
    lists the routes that have it as those that need a token.
    """

    scheme_name = "bearer"
    model = HTTPBearer(bearerFormat="JWT")

    def __init__(self, *roles: Role) -> None:
        self._roles = roles

    async def __call__(self, request: Request) -> Claims:
        """The caller's claims.

        Raises:
            Unauthorized: no token, or one of another role or session.
        """
        return allowed(
            replica_of(request).tokens,
            request.headers.get("authorization"),
            request.path_params.get("session_id"),
            *self._roles,
        )


def allowed(
    tokens: Tokens, authorization: str | None, session_id: str | None, *roles: Role
) -> Claims:
    """The claims of an operator, or of one of the roles of a session, by the header ``Authorization``.

    Raises:
        Unauthorized: no token, or one of another role or session.
    """
    token = bearer(authorization)
    claims = tokens.check(token, Role.OPERATOR, *roles)
    if claims.role is Role.OPERATOR:
        return claims
    return tokens.check(token, *roles, session_id=session_id)


#: Parameters of a route that say who may call it.
Operator = Annotated[Claims, Depends(Allowed())]
Host = Annotated[Claims, Depends(Allowed(Role.HOST))]
Member = Annotated[Claims, Depends(Allowed(Role.HOST, Role.VIEWER, Role.PARTICIPANT))]


class GuardedRoute(APIRoute):
    """A route that looks at the token before the body.

    FastAPI reads and parses a body before it runs any dependency, so a caller without a token could
    make a replica parse megabytes.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's handler behind the checks of :class:`Allowed`."""
        handle = super().get_route_handler()
        calls = [part.call for part in self.dependant.dependencies]
        checks = [call for call in calls if isinstance(call, Allowed)]

        async def guarded(request: Request) -> Response:
            for check in checks:
                await check(request)
            return await handle(request)

        return guarded


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


def no_store(response: Response) -> None:
    """Keep what a route answers out of every cache (a FastAPI dependency)."""
    response.headers["cache-control"] = "no-store"


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
