"""Everything that HTTP answers carries the headers; an answer's own go before them."""

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from serve_app.api.app import create_api_app
from serve_app.embedded.ray_environment import away_response
from serve_app.pages.app import create_pages_app
from serve_app.safe_headers import SAFE_HEADERS, SafeHeaders


@pytest.fixture
def ask():
    async def ask(app, path):
        transport = httpx.ASGITransport(SafeHeaders(app), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.get(path)

    return ask


@pytest.mark.parametrize("path", ["/health", "/nothing", "/quizzes", "/openapi.json"])
async def test_answers_of_the_api_whatever_their_status(ask, path):
    headers = (await ask(create_api_app(), path)).headers
    assert {name: headers[name] for name in SAFE_HEADERS} == SAFE_HEADERS


async def test_pages_have_a_policy_of_their_own_once(ask):
    response = await ask(create_pages_app("http://test"), "/play")
    policies = response.headers.get_list("content-security-policy")
    assert len(policies) == 1
    assert "script-src 'self'" in policies[0]
    assert "unsafe" not in policies[0]
    assert "frame-ancestors 'none'" in policies[0]
    assert "camera=()" in response.headers["permissions-policy"]


async def test_a_failure_carries_them_too(ask):
    async def fails(_request):
        raise ValueError("x")

    response = await ask(Starlette(routes=[Route("/", fails)]), "/")
    assert response.status_code == 500
    assert response.headers["x-content-type-options"] == "nosniff"


async def test_a_header_that_is_set_already_stays(ask):
    async def answer(_request):
        return Response("x", headers={"Referrer-Policy": "origin"})

    response = await ask(Starlette(routes=[Route("/", answer)]), "/")
    assert response.headers.get_list("referrer-policy") == ["origin"]


def test_what_haproxy_answers_itself():
    head = away_response().decode().lower()
    assert all(f"{name}: {value}" in head for name, value in SAFE_HEADERS.items())
