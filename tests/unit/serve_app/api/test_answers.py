"""An answer over HTTP: the bare route beside FastAPI's."""

import pytest

from engine import limits
from engine.ids import ParticipantId, SessionId
from engine.model import Mode
from engine.wire import AnswerItem, FaultReply, ReceiptReply
from serve_app.auth import Role, Tokens

SESSION = SessionId("00000000-0000-4000-8000-000000000001")
PATH = f"/sessions/{SESSION}/answers"


@pytest.fixture
def post(client, replica):
    """Send an answer as Mia, or with another token."""

    async def post(body, token=None):
        token = token or replica.tokens.participant(SESSION, ParticipantId(1))
        kind = {"content": body} if isinstance(body, bytes) else {"json": body}
        return await client.post(PATH, **kind, headers={"authorization": f"Bearer {token}"})

    return post


@pytest.mark.parametrize("mode", list(Mode))
async def test_the_receipt(post, replica, mode):
    replica.reply = ReceiptReply(1, 0b10, "", 250, True, 900, mode is Mode.SELF_PACED)
    response = await post({"opening": 1, "choices": [1]})
    assert response.status_code == 200
    assert response.headers["cache-control"] == "no-store"
    receipt = {"type": "receipt", "opening": 1, "choices": [1], "elapsed_ms": 250}
    if mode is Mode.SELF_PACED:
        receipt |= {"correct": True, "points": 900}
    assert response.json() == receipt
    assert replica.items == [AnswerItem(1, 1, 0b10, "", -1, 0)]


@pytest.mark.parametrize(
    ("code", "status"),
    [("late", 409), ("bad_choice", 422), ("not_found", 404), ("removed", 403), ("retry", 503),
     ("overloaded", 503), ("session_over", 410)],
)  # fmt: skip
async def test_what_the_session_refuses(post, replica, refused, code, status):
    retryable = status == 503
    replica.reply = FaultReply(code, "why", retryable)
    response = await post({"opening": 1, "choices": [1]})
    problem = refused(response, status, code)
    assert (problem["detail"], problem["retryable"]) == ("why", retryable)
    assert ("retry-after" in response.headers) == retryable


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"\xff",
        b"[" * 10_000,
        {},
        {"opening": "1"},
        {"opening": -1},
        {"opening": 2**31},
        {"opening": 1, "choices": [limits.CHOICES_MAX]},
        {"opening": 1, "choices": [-1]},
        {"opening": 1, "choices": [0] * (limits.CHOICES_MAX + 1)},
        {"opening": 1, "text": "x" * (limits.TYPED_CHARS_MAX + 1)},
        {"opening": 1, "color": "red"},
        b'{"opening":1,"\\ud800 and more":1}',
    ],
)
async def test_a_body_that_is_no_answer(post, replica, refused, body):
    refused(await post(body), 422, "malformed")
    assert replica.items == []


async def test_whose_token_it_must_be(post, client, replica, refused):
    tokens = replica.tokens
    other = SessionId("00000000-0000-4000-8000-000000000002")
    for token in (
        "x",
        tokens.operator(),
        tokens.of_session(Role.HOST, SESSION, "123456"),
        tokens.participant(other, ParticipantId(1)),
        Tokens("another secret of at least thirty-two bytes").participant(SESSION, 1),
    ):
        refused(await post({"opening": 1, "choices": [0]}, token), 401, "unauthorized")
    response = await client.post(PATH, json={"opening": 1, "choices": [0]})
    refused(response, 401, "unauthorized")
    assert response.headers["www-authenticate"] == "Bearer"
    assert replica.items == []
