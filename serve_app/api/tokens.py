"""Routes of tokens: tickets for websockets, links that were lost, renewal, and revocation."""

from __future__ import annotations

import logging
import time
from typing import Annotated

from fastapi import APIRouter, Depends, Request

from actors.directory import SessionInfo
from engine import limits
from engine.errors import Conflict, Unauthorized
from engine.ids import SessionId
from serve_app.api.context import GuardedRoute, Host, Member, no_store, replica_of
from serve_app.api.schemas import (
    HostCodeOut,
    RevocationIn,
    RevocationOut,
    TicketOut,
    TokenIn,
    TokenOut,
)
from serve_app.auth import Claims, Role
from serve_app.errors import TooOften
from serve_app.qr_path import qr_path
from serve_app.replica import Replica

log = logging.getLogger(__name__)

router = APIRouter(route_class=GuardedRoute, dependencies=[Depends(no_store)])

SessionPath = Annotated[str, "the session's id"]
#: Whose tokens a host may end. Not the hosts': whoever found a lost link could lock its owner out.
_OF_HOSTS = {Role.VIEWER, Role.PARTICIPANT}


@router.post(
    "/sessions/{session_id}/tickets",
    status_code=201,
    tags=["play"],
    summary="Get a ticket for the hello of a websocket",
)
async def make_ticket(session_id: SessionPath, request: Request, claims: Member) -> TicketOut:
    """For a page that has no fresh one; a socket that lives is given the next ones with ``pong``."""
    if claims.role is Role.OPERATOR:
        raise Unauthorized("token: an operator says no hello; ask for the session's host token")
    ticket = replica_of(request).tokens.ticket(claims)
    return TicketOut(session_id=session_id, ticket=ticket, expires_in_s=limits.TICKET_LIFE_S)


@router.post(
    "/sessions/{session_id}/tokens",
    status_code=201,
    tags=["host"],
    summary="Get a token of a session again, or renew one's own",
)
async def make_token(
    session_id: SessionPath, body: TokenIn, request: Request, claims: Member
) -> TokenOut:
    """An operator gets a host's or a viewer's, a host a viewer's, and everybody their own anew.

    For as long as the session is not over. One's own with more than half of its life left comes back
    as it is.
    """
    session = SessionId(session_id)
    replica = replica_of(request)
    role = Role(body.role) if body.role is not None else claims.role
    if claims.role is Role.OPERATOR:
        if role is Role.OPERATOR:
            raise Unauthorized("role: an operator must say which, host or viewer")
        info = await _open_session(replica, session)
        log.warning("action=link_made session=%s role=%s", session, role)
        token = replica.tokens.of_session(role, info.session_id, info.pin)
    elif role is claims.role:
        token = await _renewed(replica, request, claims)
    elif claims.role is Role.HOST:
        info = await _open_session(replica, session)
        token = replica.tokens.of_session(role, session, info.pin)
    else:
        raise Unauthorized(f"token: its role is {claims.role}; it gets no token of a {role}")
    expires_s = replica.tokens.check(token, *Role).expires_s
    return TokenOut(
        session_id=session, role=role, token=token, expires_in_s=expires_s - int(time.time())
    )


@router.post(
    "/sessions/{session_id}/host_codes",
    status_code=201,
    tags=["host"],
    summary="Get a code that opens the host console on another device",
)
async def make_host_code(session_id: SessionPath, request: Request, _: Host) -> HostCodeOut:
    """Whoever scans it is a host of the session: show it to nobody else.

    The token stands in the address's fragment, which browsers send to no server.
    """
    session = SessionId(session_id)
    replica = replica_of(request)
    info = await _open_session(replica, session)
    log.warning("action=host_code_made session=%s", session)
    token = replica.tokens.of_session(Role.HOST, info.session_id, info.pin)
    address = f"{replica.settings.public_url.rstrip('/')}/host#token={token}"
    return HostCodeOut(**qr_path(address)._asdict())


@router.post(
    "/sessions/{session_id}/revocations",
    status_code=201,
    tags=["host"],
    summary="End the tokens of a session that were given until now",
)
async def revoke(
    session_id: SessionPath, body: RevocationIn, request: Request, claims: Host
) -> RevocationOut:
    """Every replica knows it within seconds, and closes the sockets that came with such a token.

    Operators end any; a host those of viewers and participants.
    """
    session = SessionId(session_id)
    replica = replica_of(request)
    roles = {Role(role) for role in body.roles}
    if claims.role is Role.HOST and not roles <= _OF_HOSTS:
        raise Unauthorized("roles: the tokens of hosts are ended by an operator only")
    info = await _open_session(replica, session)
    await replica.token_watch.revoke(info.session_id, roles)
    log.warning(
        "action=tokens_revoked session=%s roles=%s by=%s", session, sorted(roles), claims.role
    )
    token = None
    if Role.HOST in roles:
        token = replica.tokens.of_session(Role.HOST, info.session_id, info.pin)
    return RevocationOut(session_id=session, host_token=token)


async def _renewed(replica: Replica, request: Request, claims: Claims) -> str:
    if claims.expires_s - time.time() > limits.TOKEN_RENEW_S:
        scheme_and_token = request.headers["authorization"]
        return scheme_and_token.partition(" ")[2].strip()
    await _open_session(replica, claims.session_id)
    return replica.tokens.renewed(claims)


async def _open_session(replica: Replica, session_id: SessionId) -> SessionInfo:
    """What is stored of a session that is not over.

    Raises:
        NotFound, Conflict: there is none, or it is over.
        TooOften: too many ask.
    """
    if not replica.renewals.take():
        raise TooOften(f"tokens: at most {limits.RENEWALS_PER_S_MAX} a second are made")
    info = await replica.directory.by_id(session_id)
    if info.ended:
        raise Conflict("the session is over", "session_over")
    return info
