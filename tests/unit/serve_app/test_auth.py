"""Signed tokens: what they say, and everything that is not believed."""

import base64
import json
import time

import jwt
import pytest

from actors.revocations import Revocation
from engine import limits
from engine.errors import Malformed, Unauthorized
from engine.ids import ParticipantId, Pin, SessionId
from serve_app import auth
from serve_app.auth import Role, Tokens, bearer
from serve_app.keys import Key, Keyring

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


# --- keys, audience, subject -------------------------------------------------------------------------


def claims_in(token):
    return jwt.decode(token, options={"verify_signature": False})


def test_a_token_names_its_key_its_audience_and_whom_it_is_for():
    tokens = Tokens(SECRET, "site")
    token = tokens.participant(SESSION, ParticipantId(3))
    assert jwt.get_unverified_header(token)["kid"] == Key(SECRET).key_id
    assert (claims_in(token)["aud"], claims_in(token)["sub"]) == ("site", "participant:3")
    assert claims_in(tokens.operator())["sub"] == "operator"
    assert claims_in(tokens.of_session(Role.HOST, SESSION, Pin("1")))["sub"] == "host"


def test_a_token_of_the_version_before_is_believed():
    """It names no key, no audience and no subject."""
    for tokens in (Tokens(SECRET), Tokens(SECRET, "site")):
        claims = tokens.check(signed(iat=int(time.time())), Role.PARTICIPANT)
        assert claims[:3] == (Role.PARTICIPANT, SESSION, 3)


def test_the_version_before_believes_new_tokens_and_tickets_while_no_audience_is_set(tokens):
    token = tokens.participant(SESSION, ParticipantId(3))
    ticket = tokens.ticket(tokens.check(token, Role.PARTICIPANT))
    options = {"require": ["exp", "iss", "role"]}  # what it looked at
    for one in (token, ticket):
        found = jwt.decode(one, SECRET, algorithms=["HS256"], issuer="rayquiz", options=options)
        assert (found["role"], found["sid"], found["pid"]) == ("participant", SESSION, 3)


def test_a_token_for_another_deployment():
    token = Tokens(SECRET, "staging").operator()
    with pytest.raises(Unauthorized, match="another deployment"):
        Tokens(SECRET, "production").check(token, Role.OPERATOR)


@pytest.mark.parametrize("kid", ["", "x", 7, None, ["x"], {}])
def test_a_key_id_that_nobody_knows(tokens, kid):
    forged = jwt.api_jws.encode(b"{}", SECRET, headers={"kid": "x"})
    header = json.dumps({"alg": "HS256", "typ": "JWT", "kid": kid}).encode()
    first = base64.urlsafe_b64encode(header).decode().rstrip("=")
    with pytest.raises(Unauthorized):
        tokens.check(".".join((first, *forged.split(".")[1:])), *Role)


def test_a_token_from_a_clock_that_is_ahead_is_believed(tokens):
    assert tokens.check(signed(iat=int(time.time()) + 5), Role.PARTICIPANT)


# --- tickets and renewal ----------------------------------------------------------------------------


def test_a_ticket_is_good_for_a_hello_and_nothing_else(tokens):
    token = tokens.participant(SESSION, ParticipantId(3))
    claims = tokens.check(token, Role.PARTICIPANT)
    ticket = tokens.ticket(claims)
    found = tokens.check_hello(ticket, Role.PARTICIPANT)
    assert found[:3] == claims[:3]
    assert found.expires_s - time.time() <= limits.TICKET_LIFE_S
    with pytest.raises(Unauthorized, match="websocket's hello only"):
        tokens.check(ticket, *Role)
    with pytest.raises(Unauthorized, match="its role is participant"):
        tokens.check_hello(ticket, Role.HOST)
    assert tokens.check_hello(token, Role.PARTICIPANT) == claims, "pages of the version before"


def test_the_ticket_of_a_join_is_that_of_its_token(tokens):
    token, ticket = tokens.participant_with_ticket(SESSION, ParticipantId(3))
    claims, found = tokens.check(token, *Role), tokens.check_hello(ticket, *Role)
    assert (found[:3], found.given_ms, found.ends_s) == (claims[:3], claims.given_ms, claims.ends_s)


def test_a_ticket_never_outlives_the_token_behind_it(tokens, monkeypatch):
    claims = tokens.check(signed(exp=int(time.time()) + 30), *Role)
    ticket = tokens.ticket(claims)
    again = tokens.ticket(tokens.check_hello(ticket, *Role))
    for one in (ticket, again):
        assert tokens.check_hello(one, *Role).expires_s == claims.expires_s


def test_a_renewed_token_is_the_same_right_for_longer(tokens, monkeypatch):
    claims = tokens.check(tokens.of_session(Role.HOST, SESSION, Pin("1")), *Role)
    later = time.time() + limits.TOKEN_LIFE_S - 60
    monkeypatch.setattr(auth.time, "time", lambda: later)
    renewed = tokens.check(tokens.renewed(claims), *Role)
    assert renewed.expires_s == int(later) + limits.TOKEN_LIFE_S
    assert (renewed[:3], renewed.given_ms, renewed.pin) == (claims[:3], claims.given_ms, "1")


# --- revocation -------------------------------------------------------------------------------------


def now_ms():
    return time.time_ns() // 1_000_000


def test_what_was_given_before_a_revocation_ends_and_what_is_given_after_it_does_not(tokens):
    host = tokens.of_session(Role.HOST, SESSION, Pin("1"))
    viewer = tokens.of_session(Role.VIEWER, SESSION, Pin("1"))
    other = tokens.of_session(Role.HOST, OTHER, Pin("1"))
    claims = tokens.check(host, Role.HOST)
    derived = {"renewed": tokens.renewed(claims), "ticket": tokens.ticket(claims)}
    # On the clock of a replica that is ahead.
    assert tokens.revoke([Revocation(SESSION, Role.HOST, now_ms() + 500)]) == {SESSION}
    for token in (host, derived["renewed"]):
        with pytest.raises(Unauthorized, match="revoked"):
            tokens.check(token, Role.HOST)
    with pytest.raises(Unauthorized, match="revoked"):
        tokens.check_hello(derived["ticket"], Role.HOST)
    assert tokens.is_revoked(claims)
    # Made in the moment before every replica knew: it stands for the same right.
    with pytest.raises(Unauthorized, match="revoked"):
        tokens.check(tokens.renewed(claims), Role.HOST)
    for token in (viewer, other, tokens.of_session(Role.HOST, SESSION, Pin("1"))):
        assert tokens.check(token, *Role)


def test_revocations_are_told_once(tokens):
    revocations = [Revocation(SESSION, Role.HOST, 5), Revocation(OTHER, Role.VIEWER, 5)]
    assert tokens.revoke(revocations) == {SESSION, OTHER}
    assert tokens.revoke(revocations) == set()
    assert tokens.revoke([*revocations[:1], Revocation(OTHER, Role.VIEWER, 6)]) == {OTHER}


@pytest.mark.parametrize("header", ["Bearer x", "bearer x", "BEARER  x "])
def test_a_bearer_header(header):
    assert bearer(header) == "x"


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic x", "x"])
def test_a_header_that_is_no_bearer(header):
    with pytest.raises(Unauthorized):
        bearer(header)


# --- personal codes ---------------------------------------------------------------------------------


def test_a_personal_code_is_read_however_it_is_grouped():
    tokens = Tokens(SECRET)
    code = tokens.return_code(SESSION, ParticipantId(17))
    number, digits = code.split("-")
    assert (number, len(digits)) == ("17", limits.RETURN_CODE_DIGITS)
    for typed in (
        code,
        f" 17 {digits[:3]} {digits[3:]}",
        f"17{digits}",
        f"17-{digits[:3]}-{digits[3:]}",
    ):
        assert tokens.who_returns(SESSION, typed) == 17


@pytest.mark.parametrize(
    "other", ["session", "participant", "digits", "", "1", "0", "words", "many"]
)
def test_a_personal_code_of_nobody_is_refused(other):
    tokens = Tokens(SECRET)
    code = tokens.return_code(SESSION, ParticipantId(17))
    digits = code.split("-")[1]
    wrong = {
        "session": tokens.return_code(SessionId("another"), ParticipantId(17)),
        "participant": f"18-{digits}",
        "digits": f"17-{(int(digits) + 1) % 1_000_000:06}",
        "0": digits,
        "words": "seventeen",
        "many": "9" * 32,
    }.get(other, other)
    with pytest.raises(Malformed) as caught:
        tokens.who_returns(SESSION, wrong)
    assert caught.value.code == "wrong_code"


def test_a_code_outlives_the_change_of_the_key_that_made_it():
    old = Keyring([Key(SECRET)])
    both = Keyring([Key(SECRET), Key("another secret of thirty-two bytes or so")])
    code = Tokens(old).return_code(SESSION, ParticipantId(3))
    assert Tokens(both).return_code(SESSION, ParticipantId(3)) != code
    assert Tokens(both).who_returns(SESSION, code) == 3


def test_tokens_and_tickets_say_how_often_their_participant_came_back():
    tokens = Tokens(SECRET)
    token, ticket = tokens.participant_with_ticket(SESSION, ParticipantId(3), 2)
    claims = tokens.check(token, Role.PARTICIPANT)
    assert claims.returns == tokens.check_hello(ticket, Role.PARTICIPANT).returns == 2
    assert tokens.check(tokens.renewed(claims), Role.PARTICIPANT).returns == 2
    assert tokens.check_hello(tokens.ticket(claims), Role.PARTICIPANT).returns == 2
    first = tokens.check(tokens.participant(SESSION, ParticipantId(3)), Role.PARTICIPANT)
    assert first.returns == 0
