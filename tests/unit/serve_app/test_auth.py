"""Signed tokens: what they say, and everything that is not believed."""

import base64
import json
import time

import jwt
import pytest

from engine import limits
from engine.errors import Unauthorized
from engine.ids import ParticipantId, Pin, SessionId
from serve_app import auth
from serve_app.auth import Role, Tokens, bearer

SECRET = "a secret that is long enough for every algorithm that somebody could try here"
SESSION = SessionId("00000000-0000-4000-8000-000000000001")
OTHER = SessionId("00000000-0000-4000-8000-000000000002")


@pytest.fixture
def tokens():
    return Tokens(SECRET)


def signed(secret=SECRET, algorithm="HS256", **changes):
    claims = {"iss": "rayquiz", "exp": int(time.time()) + 60, "role": "participant",
              "sid": SESSION, "pid": 3}  # fmt: skip
    claims = {name: value for name, value in {**claims, **changes}.items() if value is not None}
    return jwt.encode(claims, secret, algorithm)


def test_what_a_token_says(tokens):
    claims = tokens.check(tokens.participant(SESSION, ParticipantId(3)), Role.PARTICIPANT)
    assert claims[:3] == (Role.PARTICIPANT, SESSION, 3)
    assert abs(claims.expires_s - time.time() - limits.TOKEN_LIFE_S) < 10
    for role in (Role.HOST, Role.VIEWER):
        assert tokens.check(tokens.of_session(role, SESSION, Pin("1")), role)[:2] == (role, SESSION)
    assert tokens.check(tokens.operator(), Role.OPERATOR).role is Role.OPERATOR


def test_tokens_hold_for_every_replica_with_the_secret(tokens):
    assert Tokens(SECRET).check(tokens.operator(), Role.OPERATOR)


@pytest.mark.parametrize(
    "token",
    [
        "",
        "x",
        "a.b.c",
        "ü.ü.ü",
        "\ud800",
        signed(secret=SECRET[::-1]),
        signed(algorithm="HS512"),
        signed(iss="somebody else"),
        signed(iss=None),
        signed(exp=None),
        signed(role=None),
        signed(role="king"),
        signed(role=["host"]),
        signed(pid="x"),
        signed(pid={}),
        jwt.encode({"role": "operator", "iss": "rayquiz", "exp": 2**40}, None, "none"),
    ],
)
def test_what_is_not_believed(tokens, token):
    with pytest.raises(Unauthorized):
        tokens.check(token, *Role)


def test_a_header_that_is_nested_too_deeply_is_a_forged_token(tokens):
    header = base64.urlsafe_b64encode(b"[" * 100_000).decode().rstrip("=")
    with pytest.raises(Unauthorized):
        tokens.check(f"{header}.e30.x", *Role)


def test_a_changed_claim_breaks_the_signature(tokens):
    head, body, signature = tokens.participant(SESSION, ParticipantId(3)).split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    forged = base64.urlsafe_b64encode(json.dumps({**claims, "pid": 4}).encode()).decode()
    with pytest.raises(Unauthorized):
        tokens.check(".".join((head, forged.rstrip("="), signature)), *Role)


def test_an_expired_token(tokens):
    with pytest.raises(Unauthorized, match="expired"):
        tokens.check(signed(exp=int(time.time()) - 1), Role.PARTICIPANT)


def test_a_token_that_is_remembered_expires_all_the_same(tokens, monkeypatch):
    token = tokens.operator()
    tokens.check(token, Role.OPERATOR)
    later = time.time() + limits.TOKEN_LIFE_S + 10
    monkeypatch.setattr(auth.time, "time", lambda: later)
    with pytest.raises(Unauthorized, match="expired"):
        tokens.check(token, Role.OPERATOR)


def test_role_and_session_are_looked_at_for_remembered_tokens_too(tokens):
    token = tokens.participant(SESSION, ParticipantId(3))
    for _ in range(2):
        assert tokens.check(token, Role.HOST, Role.PARTICIPANT, session_id=SESSION)
        with pytest.raises(Unauthorized, match="its role is participant"):
            tokens.check(token, Role.HOST)
        with pytest.raises(Unauthorized, match="another session"):
            tokens.check(token, Role.PARTICIPANT, session_id=OTHER)


def test_the_memory_of_tokens_is_bounded(tokens, monkeypatch):
    monkeypatch.setattr(auth, "_REMEMBERED_MAX", 3)
    for who in range(1, 20):
        tokens.check(tokens.participant(SESSION, ParticipantId(who)), Role.PARTICIPANT)
        assert len(tokens._known) <= 3


def test_forged_tokens_are_not_remembered(tokens):
    with pytest.raises(Unauthorized):
        tokens.check(signed(secret=SECRET[::-1]), *Role)
    assert tokens._known == {}


@pytest.mark.parametrize("header", ["Bearer x", "bearer x", "BEARER  x "])
def test_a_bearer_header(header):
    assert bearer(header) == "x"


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic x", "x"])
def test_a_header_that_is_no_bearer(header):
    with pytest.raises(Unauthorized):
        bearer(header)
