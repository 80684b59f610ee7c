"""What the routes of the API share."""

from __future__ import annotations

from fastapi import Request

from engine.ids import SessionId
from serve_app.auth import Claims, Role, bearer
from serve_app.replica import Replica


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
