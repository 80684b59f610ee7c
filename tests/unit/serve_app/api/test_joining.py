"""Joining over the API: the browser's own id, and a door that is locked."""

import asyncio

import pytest

from engine import limits
from engine.errors import Unavailable
from engine.ids import ParticipantId, SessionId
from engine.wire import FaultReply, JoinedReply
from serve_app import doors
from serve_app.auth import Role
from serve_app.device import COOKIE
from serve_app.rate import Rate
from serve_app.shared_rate import SharedRate

FIND, JOIN = "/pins/123456", "/pins/123456/participants"
RETURN = "/pins/123456/returns"
SESSION = SessionId("00000000-0000-4000-8000-000000000001")


@pytest.fixture
def join(client, replica):
    """Join, as a browser without cookies unless one is given; return (fingerprint, new cookie)."""
    replica.reply = JoinedReply(1, "Mia")

    async def join(join_key="key-of-mia", cookie=None):
        client.cookies.clear()
        headers = {} if cookie is None else {"cookie": f"{COOKIE}={cookie}"}
        response = await client.post(
            JOIN, json={"nickname": "Mia", "join_key": join_key}, headers=headers
        )
        assert response.status_code == 201, response.text
        return replica.items[-1].device, response.cookies[COOKIE]

    replica.joins = _Unlimited()
    return join


class _Unlimited:
    async def take(self, _key):
        return True


async def test_a_browser_keeps_its_id_and_the_session_knows_a_fingerprint_only(join):
    fingerprint, cookie = await join()
    assert len(fingerprint) == 16
    assert fingerprint not in cookie
    assert await join("another-key", cookie) == (fingerprint, cookie)


async def test_a_join_whose_answer_was_lost_is_from_the_same_device_again(join):
    assert await join() == await join()
    assert await join() != await join("another-key")


@pytest.mark.parametrize("cookie", ["", "x", "A" * 32, "0" * 33, "0" * 5_000])
async def test_a_cookie_that_the_server_did_not_make_is_none(join, cookie):
    assert await join(cookie=cookie) == await join()


async def test_no_script_and_no_other_site_has_the_cookie(client, replica):
    replica.reply = JoinedReply(1, "Mia")
    response = await client.post(JOIN, json={"nickname": "Mia", "join_key": "key-of-mia"})
    said = response.headers["set-cookie"].lower()
    assert "httponly" in said
    assert "samesite=strict" in said
    assert f"max-age={limits.DEVICE_COOKIE_S}" in said


async def test_a_locked_session_has_a_status_of_its_own(client, replica, refused):
    replica.reply = FaultReply("locked", "the session is locked: nobody new may join", False)
    body = {"nickname": "Mia", "join_key": "key-of-mia"}
    problem = refused(await client.post(JOIN, json=body), 423, "locked")
    assert not problem["retryable"]


# --- before a name is typed -------------------------------------------------------------------------


async def test_the_join_page_is_told_of_the_lock_and_the_actor_is_asked_once(client, replica):
    replica.lock = "flood"
    found = await asyncio.gather(*(client.get(FIND) for _ in range(20)))
    assert all(response.json()["locked"] for response in found)
    assert replica.calls == [("lock",)]


async def test_a_started_session_is_told_from_a_locked_one(client, replica, monkeypatch):
    monkeypatch.setattr(limits, "DOOR_TTL_MS", 0)
    told = {}
    for door in ("open", "host", "flood", "started"):
        replica.lock = door
        found = (await client.get(FIND)).json()
        told[door] = (found["locked"], found["started"])
    assert told == {
        "open": (False, False),
        "host": (True, False),
        "flood": (True, False),
        "started": (True, True),
    }


async def test_what_is_known_of_the_lock_is_soon_asked_anew(client, replica, monkeypatch):
    monkeypatch.setattr(limits, "DOOR_TTL_MS", 0)
    assert not (await client.get(FIND)).json()["locked"]
    replica.lock = "host"
    assert (await client.get(FIND)).json()["locked"]


@pytest.mark.parametrize(
    "failure", [Unavailable("away"), AttributeError("an actor of the version before")]
)
async def test_a_lock_that_cannot_be_told_keeps_nobody_from_trying(client, replica, failure):
    replica.reply = failure
    assert (await client.get(FIND)).json()["locked"] is False
    assert len(replica.calls) == 1
    assert (await client.get(FIND)).json()["locked"] is False
    assert len(replica.calls) == 1, "an actor that is away is not asked by everybody"


async def test_an_actor_that_hangs_holds_no_join_page(client, replica, monkeypatch):
    monkeypatch.setattr(limits, "DOOR_ANSWER_MS_MAX", 10)

    async def call(_session_id, _method):
        await asyncio.Event().wait()

    replica.call = call
    assert (await client.get(FIND)).json()["locked"] is False


async def test_sessions_that_were_looked_at_are_not_remembered_for_ever(replica, monkeypatch):
    monkeypatch.setattr(doors, "_KEPT_MAX", 3)
    replica.doors = doors.Doors(replica)

    async def call(_session_id, _method):
        return "open"

    replica.call = call
    for number in range(10):
        await replica.doors.state(f"session-{number}")
        assert len(replica.doors._known) <= 3


# --- coming back on another device ------------------------------------------------------------------


async def test_a_personal_code_brings_the_place_to_this_device(client, replica):
    replica.reply = JoinedReply(7, "Mia", 2)
    code = replica.tokens.return_code(SESSION, ParticipantId(7))
    response = await client.post(RETURN, json={"code": code, "join_key": "a-second-key"})
    assert response.status_code == 201, response.text
    item = replica.items[-1]
    assert (item.participant_id, item.join_key, len(item.device)) == (7, "a-second-key", 16)
    claims = replica.tokens.check(response.json()["token"], Role.PARTICIPANT)
    assert (claims.participant_id, claims.returns) == (7, 2)


async def test_guesses_of_codes_are_bounded_by_address_and_session(client, replica, refused):
    replica.reply = JoinedReply(7, "Mia", 1)
    right = {
        "code": replica.tokens.return_code(SESSION, ParticipantId(7)),
        "join_key": "a-second-key",
    }
    wrong = right | {"code": "7-" + f"{(int(right['code'][2:]) + 1) % 1_000_000:06}"}
    replica.address_returns = SharedRate(replica.cache, "returns-address", Rate(0.001, 3), 10)
    for _ in range(3):
        refused(await client.post(RETURN, json=wrong), 422, "wrong_code")
    refused(await client.post(RETURN, json=right), 429, "too_many")
    assert replica.items == []
