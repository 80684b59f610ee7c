"""Joining: the same key is the same participant, and a flood is slowed down."""

from engine.wire import FaultReply, JoinedReply, JoinItem
from serve_app.auth import Role

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
    assert replica.items == [JoinItem("key-of-mia", "Mia")]


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
