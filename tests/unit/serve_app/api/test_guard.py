"""Nobody's body is read before the token: on every route of the OpenAPI document that needs one."""

import pytest

from engine import limits
from serve_app.auth import Role, Tokens

SESSION = "00000000-0000-4000-8000-000000000001"
OTHER = "00000000-0000-4000-8000-000000000002"


def protected(app):
    """Method and path of each route that needs a token."""
    paths = app.openapi()["paths"]
    return [
        (method.upper(), path.format(session_id=SESSION, quiz_id=OTHER))
        for path, methods in paths.items()
        for method, operation in methods.items()
        if operation.get("security")
    ]


@pytest.fixture
def unread():
    """A body in chunks that must not be asked for."""

    async def chunks():
        pytest.fail("the body was read")
        yield b""

    return chunks


@pytest.fixture
def callers(replica):
    """Whom no route lets in, by what is wrong with their token."""
    tokens = replica.tokens
    forger = Tokens("another secret of at least thirty-two bytes")
    return {
        "none": "",
        "scheme": f"Basic {tokens.operator()}",
        "forged": f"Bearer {forger.operator()}",
        "session": f"Bearer {tokens.of_session(Role.HOST, OTHER, '123456')}",
        "role": f"Bearer {tokens.participant(OTHER, 1)}",
    }


@pytest.mark.parametrize("caller", ["none", "scheme", "forged", "session", "role"])
async def test_a_large_body_without_a_token_that_fits_is_not_read(
    app, client, callers, refused, unread, caller
):
    routes = protected(app)
    assert ("POST", "/quizzes/import") in routes
    for method, path in routes:
        for promised in ({"content-length": str(limits.QUIZ_BYTES_MAX)}, {}):
            headers = {"authorization": callers[caller], "content-type": "application/json"}
            response = await client.request(
                method, path, content=unread(), headers={**headers, **promised}
            )
            refused(response, 401, "unauthorized")
            # Nobody reads the rest, so the connection cannot be used again.
            assert response.headers["connection"] == "close"


@pytest.mark.parametrize(
    ("method", "path", "role"),
    [
        ("POST", f"/sessions/{SESSION}/moves", Role.VIEWER),
        ("POST", f"/sessions/{SESSION}/moves", Role.PARTICIPANT),
        ("POST", f"/sessions/{SESSION}/answers", Role.HOST),
        ("GET", f"/sessions/{SESSION}/results", Role.VIEWER),
        ("GET", f"/sessions/{SESSION}/presence", Role.PARTICIPANT),
    ],
)
async def test_another_role_of_the_very_session(
    client, replica, refused, unread, method, path, role
):
    tokens = replica.tokens
    token = (
        tokens.participant(SESSION, 1)
        if role is Role.PARTICIPANT
        else tokens.of_session(role, SESSION, "123456")
    )
    headers = {"authorization": f"Bearer {token}"}
    response = await client.request(method, path, content=unread(), headers=headers)
    refused(response, 401, "unauthorized")


async def test_a_connection_with_a_short_body_is_kept(client, refused):
    response = await client.post("/quizzes", json={"title": "x"})
    refused(response, 401, "unauthorized")
    assert "connection" not in response.headers
