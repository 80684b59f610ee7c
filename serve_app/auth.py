"""Signed tokens: who may do what, without a look-up. JWT with HS256 (docs/adr/0021-tokens.md).

A *token* is for HTTP and lives for hours. A *ticket* is for the hello of one websocket, is got with a
token, and lives for moments. Both name the key that signed them, whom they are for, and when the right
that they stand for was given: what a revocation looks at.
"""

from __future__ import annotations

import hashlib
import hmac
import sys
import time
from collections.abc import Iterable
from enum import StrEnum
from typing import Any, Final, NamedTuple, Self

import jwt

from actors.revocations import Revocation
from actors.settings import Settings
from engine import limits
from engine.errors import Malformed, Unauthorized
from engine.ids import ParticipantId, Pin, SessionId
from serve_app.keys import Key, Keyring

_ALGORITHM = "HS256"
_ISSUER = "rayquiz"
#: The header's ``typ`` of a ticket. Source: RFC 8725, section 3.11 (explicit typing).
_TICKET: Final = "ticket+jwt"
#: Verified tokens that a replica remembers: checking a signature costs more than an answer.
_REMEMBERED_MAX = 50_000
_FORGED = "it is not signed with a key that is believed here"


class Role(StrEnum):
    """What a token is for."""

    OPERATOR = "operator"
    HOST = "host"
    PARTICIPANT = "participant"
    VIEWER = "viewer"


class Claims(NamedTuple):
    """What a token or a ticket says.

    Attributes:
        role, session_id, participant_id: who may do what; no session for operators.
        expires_s: seconds since 1970 at which it ends.
        given_ms: when the right was given, milliseconds since 1970. A token that was renewed, and a
            ticket, have their first token's.
        ends_s: when the token ends; a ticket ends earlier than the token that it was got with.
        pin: of the session, for hosts and viewers.
        is_ticket: whether it is good for a hello only.
        returns: of a participant, see :attr:`engine.session.Participant.returns`.
    """

    role: Role
    session_id: SessionId
    participant_id: ParticipantId
    expires_s: int
    given_ms: int
    ends_s: int
    pin: Pin
    is_ticket: bool
    returns: int = 0


class Tokens:
    """Makes and checks tokens.

    Args:
        keys: what signs; a secret alone stands for a ring of it.
        audience: names the deployment in tokens (``RAYQUIZ_AUDIENCE``), and refuses those that name
            another one; empty as long as replicas of a version run that knows no audience.
    """

    def __init__(self, keys: Keyring | str, audience: str = "") -> None:
        self._keys = Keyring([Key(keys)]) if isinstance(keys, str) else keys
        self._audience = audience
        #: By digest, which is a tenth of a token.
        self._known: dict[bytes, Claims] = {}
        self._revoked: dict[tuple[SessionId, Role], int] = {}

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The tokens of a deployment.

        Raises:
            SettingsError: its keys cannot be read.
        """
        return cls(Keyring.of(settings), settings.audience)

    # --- making ---------------------------------------------------------------------------------------

    def operator(self) -> str:
        """A token for the quiz library and for opening sessions."""
        return self._sign({"role": Role.OPERATOR.value, "sub": Role.OPERATOR.value}, _now_ms())

    def of_session(self, role: Role, session_id: SessionId, pin: Pin) -> str:
        """A token for the host or a viewer of one session."""
        claims = _of_session(role, session_id, ParticipantId(0), pin)
        return self._sign(claims, self._now_ms(session_id, role))

    def participant(self, session_id: SessionId, participant_id: ParticipantId) -> str:
        """A token for one participant."""
        claims = _of_session(Role.PARTICIPANT, session_id, participant_id, Pin(""))
        return self._sign(claims, self._now_ms(session_id, Role.PARTICIPANT))

    def participant_with_ticket(
        self, session_id: SessionId, participant_id: ParticipantId, returns: int = 0
    ) -> tuple[str, str]:
        """A token for one participant, and a ticket for its first hello.

        See :attr:`engine.session.Participant.returns`.
        """
        given_ms = self._now_ms(session_id, Role.PARTICIPANT)
        ends_s = int(time.time()) + limits.TOKEN_LIFE_S
        claims = Claims(
            Role.PARTICIPANT,
            session_id,
            participant_id,
            ends_s,
            given_ms,
            ends_s,
            Pin(""),
            False,
            returns,
        )
        return self._sign(_claims_of(claims), given_ms), self.ticket(claims)

    def renewed(self, claims: Claims) -> str:
        """The same right for as long as a new token lives. A revocation ends it all the same."""
        return self._sign(_claims_of(claims), claims.given_ms)

    def ticket(self, claims: Claims) -> str:
        """A ticket for one hello, with the right of a token, or of a ticket that was good.

        It never outlives that token.
        """
        expires_s = min(int(time.time()) + limits.TICKET_LIFE_S, claims.ends_s)
        signed = {**_claims_of(claims), "ends": claims.ends_s, "exp": expires_s}
        return self._sign(signed, claims.given_ms, {"typ": _TICKET})

    def _now_ms(self, session_id: SessionId, role: Role) -> int:
        """When a right is given: not before the last revocation, also where the clock is behind."""
        return max(_now_ms(), self._revoked.get((session_id, role), 0))

    def _sign(
        self, claims: dict[str, object], given_ms: int, headers: dict[str, str] | None = None
    ) -> str:
        signed = {
            "iss": _ISSUER,
            "iat": given_ms / 1000,
            "exp": int(time.time()) + limits.TOKEN_LIFE_S,
            **claims,
        }
        if self._audience:
            signed["aud"] = self._audience
        key = self._keys.signing()
        return jwt.encode(signed, key.secret, _ALGORITHM, {"kid": key.key_id, **(headers or {})})

    # --- personal codes -------------------------------------------------------------------------------

    def return_code(self, session_id: SessionId, participant_id: ParticipantId) -> str:
        """The code with which a participant comes back on another device: number, hyphen, digits."""
        digits = _digits_of(self._keys.signing(), session_id, participant_id)
        return f"{participant_id}-{digits}"

    def who_returns(self, session_id: SessionId, code: str) -> ParticipantId:
        """Whose code it is, however it is grouped.

        Raises:
            Malformed: code ``wrong_code``: nobody's.
        """
        typed = "".join(char for char in code if char.isdecimal() and char.isascii())
        number, digits = typed[: -limits.RETURN_CODE_DIGITS], typed[-limits.RETURN_CODE_DIGITS :]
        who = ParticipantId(int(number or 0))
        keys = self._keys.believed(None)
        if 0 < who <= limits.PARTICIPANT_ID_MAX and any(
            hmac.compare_digest(digits, _digits_of(key, session_id, who)) for key in keys
        ):
            return who
        raise Malformed("code: nobody in this session has it", "wrong_code")

    # --- checking -------------------------------------------------------------------------------------

    def check(self, token: str, *roles: Role, session_id: str | None = None) -> Claims:
        """The claims of a valid token of one of the roles, and of the session where one is named.

        Raises:
            Unauthorized: forged, expired, revoked, a ticket, of another role or of another session.
        """
        claims = self._verified(token)
        if claims.is_ticket:
            raise Unauthorized(
                "token: this is a ticket, which is good for a websocket's hello only"
            )
        return self._allowed(claims, roles, session_id)

    def check_hello(self, token: str, *roles: Role) -> Claims:
        """The claims of a valid ticket or token, for the hello of a websocket.

        Raises:
            Unauthorized: forged, expired, revoked, or of another role.
        """
        return self._allowed(self._verified(token), roles, None)

    def is_revoked(self, claims: Claims) -> bool:
        """Whether the right was taken away since it was checked."""
        return claims.given_ms < self._revoked.get((claims.session_id, claims.role), 0)

    def _allowed(self, claims: Claims, roles: tuple[Role, ...], session_id: str | None) -> Claims:
        if claims.expires_s < time.time():
            raise Unauthorized("token: it has expired")
        if self.is_revoked(claims):
            raise Unauthorized("token: it was revoked; ask for a new link")
        if claims.role not in roles:
            allowed = ", ".join(roles)
            raise Unauthorized(f"token: its role is {claims.role}; allowed here: {allowed}")
        if session_id is not None and claims.session_id != session_id:
            raise Unauthorized("token: it belongs to another session")
        return claims

    def _verified(self, token: str) -> Claims:
        digest = hashlib.sha256(token.encode(errors="surrogatepass")).digest()
        claims = self._known.get(digest)
        if claims is None:
            claims = self._decode(token)
            if claims.is_ticket:  # seldom seen twice
                return claims
            if len(self._known) >= _REMEMBERED_MAX:
                self._known.clear()
            self._known[digest] = claims
        return claims

    def _decode(self, token: str) -> Claims:
        try:
            header = jwt.get_unverified_header(token)
            keys = self._keys.believed(header.get("kid"))
            found, key = self._payload(token, keys)
            # What is remembered must not outlive the belief in its key.
            expires_s = int(min(found["exp"], key.ends_s()))
            is_ticket = header.get("typ") == _TICKET
            return Claims(
                Role(found["role"]),
                # One string for all participants of a session.
                SessionId(sys.intern(str(found.get("sid", "")))),
                ParticipantId(int(found.get("pid", 0))),
                expires_s,
                round(float(found.get("iat", 0)) * 1000),
                int(found["ends"]) if is_ticket else expires_s,
                Pin(sys.intern(str(found.get("pin", "")))),
                is_ticket,
                int(found.get("returns", 0)),
            )
        except (
            jwt.InvalidTokenError,
            KeyError,
            ValueError,
            TypeError,
            OverflowError,
            RecursionError,
        ) as error:
            raise Unauthorized(f"token: {error}") from None

    def _payload(self, token: str, keys: list[Key]) -> tuple[dict[str, Any], Key]:
        for key in keys:
            try:
                found: dict[str, Any] = jwt.decode(
                    token,
                    key.secret,
                    algorithms=[_ALGORITHM],
                    issuer=_ISSUER,
                    # Clocks of replicas differ, so that one may see what another gives a moment from
                    # now. The audience is looked at below: tokens of the version before have none.
                    options={
                        "require": ["exp", "iss", "role"],
                        "verify_iat": False,
                        "verify_aud": False,
                    },
                )
            except jwt.InvalidSignatureError:
                continue
            named = found.get("aud", "")
            if named and self._audience and named != self._audience:
                raise Unauthorized("token: it was made for another deployment")
            return found, key
        raise Unauthorized(f"token: {_FORGED}")

    # --- what changes while it runs -------------------------------------------------------------------

    def reload_keys(self) -> bool:
        """Read the file of keys again, if there is one; whether they have changed.

        Raises:
            SettingsError: it cannot be read; the keys stay as they were.
        """
        changed = self._keys.reload()
        if changed:
            self._known.clear()  # what a key that is gone has signed is not believed any more
        return changed

    def revoke(self, revocations: Iterable[Revocation]) -> set[SessionId]:
        """Take all revocations that hold; return the sessions of those that were not known."""
        revoked = {(one.session_id, Role(one.role)): one.before_ms for one in revocations}
        fresh = {
            key[0] for key, before_ms in revoked.items() if self._revoked.get(key) != before_ms
        }
        self._revoked = revoked
        return fresh


def _digits_of(key: Key, session_id: SessionId, participant_id: ParticipantId) -> str:
    """What proves a personal code. Nothing of it is stored."""
    said = f"rayquiz personal code\0{session_id}\0{participant_id}".encode()
    number = int.from_bytes(hmac.digest(key.secret.encode(), said, "sha256")[:8])
    return f"{number % 10**limits.RETURN_CODE_DIGITS:0{limits.RETURN_CODE_DIGITS}}"


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _of_session(
    role: Role, session_id: SessionId, participant_id: ParticipantId, pin: Pin
) -> dict[str, object]:
    claims: dict[str, object] = {"role": role.value, "sid": session_id, "sub": role.value}
    if participant_id:
        claims |= {"pid": participant_id, "sub": f"{role.value}:{participant_id}"}
    if pin:
        claims["pin"] = pin
    return claims


def _claims_of(claims: Claims) -> dict[str, object]:
    if claims.role is Role.OPERATOR:
        return {"role": claims.role.value, "sub": claims.role.value}
    found = _of_session(claims.role, claims.session_id, claims.participant_id, claims.pin)
    return {**found, "returns": claims.returns} if claims.returns else found


def bearer(header: str | None) -> str:
    """The token of an Authorization header.

    Raises:
        Unauthorized: there is none.
    """
    scheme, _, token = (header or "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Unauthorized("authorization: a bearer token is needed")
    return token.strip()
