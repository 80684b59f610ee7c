"""Errors of every origin become problem details; the OpenAPI document tells the whole truth."""

import pytest

from serve_app.errors import HTTP_STATUS

JOIN = "/pins/123456/participants"


async def test_an_address_that_is_not_there(client, refused):
    refused(await client.get("/nowhere"), 404, "not_found")


async def test_a_method_that_is_not_there(client, refused):
    response = await client.delete("/health")
    refused(response, 405, "malformed")
    assert response.headers["allow"] == "GET"


async def test_a_fault_of_the_server_tells_nothing_of_itself(client, replica, refused, caplog):
    replica.reply = LookupError("a secret of the server")
    body = {"nickname": "Mia", "join_key": "key-of-mia"}
    problem = refused(await client.post(JOIN, json=body), 500, "internal")
    assert "secret" not in problem["detail"]
    assert "a secret of the server" in caplog.text


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'{"nickname":"Mia","join_key":"short"}',
        b'{"nickname":"Mia","join_key":"key-of-mia","color":"red"}',
        b'{"nickname":"Mia","join_key":"key-of-mia","\\ud800":1}',
        b'{"nickname":"\\ud800","join_key":"key-of-mia"}',
        b'{"nickname":1,"join_key":"key-of-mia"}',
        b'{"nickname":"Mia","join_key":"key-of-mia","' + b"x" * 10_000 + b'":1}',
        b"[" * 10_000,
        b"1" * 10_000,
    ],
)
async def test_a_body_that_cannot_be_used(client, replica, content):
    response = await client.post(
        JOIN, content=content, headers={"content-type": "application/json"}
    )
    assert response.status_code in (400, 422), response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["code"] == "malformed"
    assert len(response.content) < 10_000
    assert replica.items == []


def test_every_operation_says_what_it_may_refuse(app):
    schema = app.openapi()
    for path, methods in schema["paths"].items():
        for operation in methods.values():
            told = {int(status) for status in operation["responses"] if int(status) >= 400}
            assert told <= set(HTTP_STATUS.values()) | {400}, path
            for status in told:
                content = operation["responses"][str(status)]["content"]
                assert set(content) == {"application/problem+json"}, (path, status)


def test_every_body_has_an_example(app):
    schema = app.openapi()
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            for kind, content in operation.get("requestBody", {}).get("content", {}).items():
                if kind == "application/json":
                    name = content["schema"].get("$ref", "").rpartition("/")[2]
                    model = schema["components"]["schemas"].get(name, {})
                    assert "example" in content or "example" in model, (method, path)


def test_who_may_call_what_is_told(app):
    public = {("get", "/health"), ("get", "/ready"), ("get", "/pins/{pin}"),
              ("post", "/pins/{pin}/participants"), ("post", "/pins/{pin}/returns"),
              ("post", "/pins/{pin}/viewers")}  # fmt: skip
    open_to_all = {
        (method, path)
        for path, methods in app.openapi()["paths"].items()
        for method, operation in methods.items()
        if not operation.get("security")
    }
    assert open_to_all == public


@pytest.mark.parametrize(
    ("path", "allow"),
    [
        ("/pins/123456", "GET"),
        (JOIN, "POST"),
        ("/sessions/x/answers", "POST"),
        ("/sessions/x/view", "GET"),
    ],
)
async def test_a_method_that_a_hot_route_does_not_have(client, refused, path, allow):
    response = await client.delete(path)
    refused(response, 405, "malformed")
    assert response.headers["allow"] == allow


async def test_a_body_that_is_too_long_for_a_hot_route(client, replica, refused):
    refused(await client.post(JOIN, content=b"x" * 20_000), 413, "too_large")
    assert replica.items == []
