"""Joining: the same key is the same participant, and a flood is slowed down."""

import pytest

from engine import limits
from engine.wire import FaultReply, JoinedReply, JoinItem
from serve_app.auth import Role
from serve_app.rate import KeyedBuckets, Rate

JOIN = "/pins/123456/participants"
BODY = {"nickname": "Mia", "join_key": "key-of-mia"}


async def test_a_join(client, replica):
    replica.reply = JoinedReply(7, "Mia")
    response = await client.post(JOIN, json=BODY)
    assert response.status_code == 201
    joined = response.json()
    assert (joined["participant_id"], joined["nickname"]) == (7, "Mia")
    claims = replica.tokens.check(joined["token"], Role.PARTICIPANT)
    assert (claims.session_id, claims.participant_id) == (joined["session_id"], 7)
    [item] = replica.items
    assert item == JoinItem("key-of-mia", "Mia", item.device)


async def test_a_pin_that_is_not_there(client, replica, refused):
    refused(await client.post("/pins/000000/participants", json=BODY), 404, "not_found")
    refused(await client.get("/pins/000000"), 404, "not_found")
    assert replica.items == []


async def test_a_flood_of_joins_is_told_to_come_back(client, replica, refused):
    replica.reply = FaultReply("nickname_taken", "why", False)
    for _ in range(3):  # what the fixture lets through at once
        refused(await client.post(JOIN, json=BODY), 409, "nickname_taken")
    response = await client.post(JOIN, json=BODY)
    assert refused(response, 429, "too_many")["retryable"] is True
    assert int(response.headers["retry-after"]) >= 1
    assert len(replica.items) == 3


# --- PINs ------------------------------------------------------------------------------------------


def comes_from(address):
    return {"x-forwarded-for": address}


ROUTES = [("GET", ""), ("POST", "/participants"), ("POST", "/viewers")]


@pytest.mark.parametrize(("method", "rest"), ROUTES)
async def test_a_guesser_is_refused_on_every_route(
    client, replica, refused, monkeypatch, method, rest
):
    monkeypatch.setattr(limits, "HELD_MS", 1)
    headers = comes_from("192.0.2.1")
    while len(replica.looked_up) < limits.PIN_MISSES_BURST_MAX:
        pin = f"9{len(replica.looked_up):05}"
        refused(
            await client.request(method, f"/pins/{pin}{rest}", headers=headers), 404, "not_found"
        )
    for pin in ("000000", "123456", "123%20456", "nonsense"):
        response = await client.request(method, f"/pins/{pin}{rest}", headers=headers)
        assert refused(response, 429, "too_many")["retryable"] is True
        assert int(response.headers["retry-after"]) >= 1
    assert len(replica.looked_up) == limits.PIN_MISSES_BURST_MAX
    headers = comes_from("192.0.2.1, 192.0.2.2")
    response = await client.request(method, f"/pins/123-456{rest}", headers=headers)
    assert response.status_code in (200, 201, 422), (
        "nobody else is refused, nor is the PIN's place in the path"
    )


async def test_a_pin_that_was_never_one_is_not_looked_up(client, replica, refused):
    for pin in ("12345", "abcdef", "x" * 5_000, "%00", "%F0%9F%8E%B2"):
        refused(await client.get(f"/pins/{pin}", headers=comes_from("192.0.2.1")), 404, "not_found")
    assert replica.looked_up == []


@pytest.mark.parametrize("read", ["view", "scoreboard?limit=100", "presence", "results"])
async def test_who_reads_too_much_must_wait(client, replica, monkeypatch, read):
    monkeypatch.setattr(limits, "HELD_MS", 1)
    for name, burst in (("_reads", 2), ("_token_reads", 1)):
        buckets = KeyedBuckets(Rate(per_s=1e-9, burst=burst), 10)
        monkeypatch.setattr(replica.guard, name, buckets)
    for address, bearer, status in (
        ("192.0.2.1", "one", 401),
        ("192.0.2.1", "one", 429),
        ("192.0.2.1", "two", 401),
        ("192.0.2.1", "three", 429),
        ("192.0.2.2", "one", 401),
    ):
        headers = {**comes_from(address), "authorization": f"Bearer {bearer}"}
        response = await client.get(f"/sessions/x/{read}", headers=headers)
        assert response.status_code == status, response.text


@pytest.mark.parametrize(
    ("query", "name"),
    [
        (f"limit={limits.SCOREBOARD_PAGE_ROWS_MAX + 1}", "limit"),
        ("limit=0", "limit"),
        ("limit=1.0", "limit"),
        ("limit=%D9%A3", "limit"),
        ("offset=-1", "offset"),
        ("offset=", "offset"),
        (f"offset={'9' * 5_000}", "offset"),
        (f"offset={limits.PARTICIPANTS_MAX + 1}", "offset"),
    ],
)
async def test_a_page_of_the_scoreboard_is_no_other(client, replica, refused, query, name):
    headers = {"authorization": f"Bearer {replica.tokens.operator()}"}
    response = await client.get(f"/sessions/x/scoreboard?{query}", headers=headers)
    assert name in refused(response, 422, "malformed")["detail"]
