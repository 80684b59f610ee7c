"""Signed tokens: who may do what, without a look-up. JWT with HS256."""

from __future__ import annotations

import hashlib
import sys
import time
from enum import StrEnum
from typing import NamedTuple

import jwt

from engine import limits
from engine.errors import Unauthorized
from engine.ids import ParticipantId, Pin, SessionId

_ALGORITHM = "HS256"
_ISSUER = "rayquiz"
#: Verified tokens that a replica remembers: checking a signature costs more than an answer.
_REMEMBERED_MAX = 50_000


class Role(StrEnum):
    """What a token is for."""

    OPERATOR = "operator"
    HOST = "host"
    PARTICIPANT = "participant"
    VIEWER = "viewer"


class Claims(NamedTuple):
    """What a token says."""

    role: Role
    session_id: SessionId
    participant_id: ParticipantId
    expires_s: int


class Tokens:
    """Makes and checks tokens with one secret."""

    def __init__(self, secret: str) -> None:
        self._secret = secret
        #: By digest, which is a tenth of a token.
        self._known: dict[bytes, Claims] = {}

    def operator(self) -> str:
        """A token for the quiz library and for opening sessions."""
        return self._sign({"role": Role.OPERATOR.value})

    def of_session(self, role: Role, session_id: SessionId, pin: Pin) -> str:
        """A token for the host or a viewer of one session."""
        return self._sign({"role": role.value, "sid": session_id, "pin": pin})

    def participant(self, session_id: SessionId, participant_id: ParticipantId) -> str:
        """A token for one participant."""
        return self._sign(
            {"role": Role.PARTICIPANT.value, "sid": session_id, "pid": participant_id}
        )

    def _sign(self, claims: dict[str, object]) -> str:
        now_s = int(time.time())
        return jwt.encode(
            {**claims, "iss": _ISSUER, "iat": now_s, "exp": now_s + limits.TOKEN_LIFE_S},
            self._secret,
            _ALGORITHM,
        )

    def check(self, token: str, *roles: Role, session_id: str | None = None) -> Claims:
        """The claims of a valid token of one of the roles, and of the session where one is named.

        Raises:
            Unauthorized: forged, expired, of another role or of another session.
        """
        digest = hashlib.sha256(token.encode(errors="surrogatepass")).digest()
        claims = self._known.get(digest)
        if claims is None:
            claims = self._decode(token)
            if len(self._known) >= _REMEMBERED_MAX:
                self._known.clear()
            self._known[digest] = claims
        if claims.expires_s < time.time():
            raise Unauthorized("token: it has expired")
        if claims.role not in roles:
            allowed = ", ".join(roles)
            raise Unauthorized(f"token: its role is {claims.role}; allowed here: {allowed}")
        if session_id is not None and claims.session_id != session_id:
            raise Unauthorized("token: it belongs to another session")
        return claims

    def _decode(self, token: str) -> Claims:
        try:
            found = jwt.decode(
                token,
                self._secret,
                algorithms=[_ALGORITHM],
                issuer=_ISSUER,
                options={"require": ["exp", "iss", "role"]},
            )
            return Claims(
                Role(found["role"]),
                # One string for all participants of a session.
                SessionId(sys.intern(str(found.get("sid", "")))),
                ParticipantId(int(found.get("pid", 0))),
                int(found["exp"]),
            )
        except (jwt.InvalidTokenError, ValueError, TypeError, RecursionError) as error:
            raise Unauthorized(f"token: {error}") from None


def bearer(header: str | None) -> str:
    """The token of an Authorization header.

    Raises:
        Unauthorized: there is none.
    """
    scheme, _, token = (header or "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Unauthorized("authorization: a bearer token is needed")
    return token.strip()
