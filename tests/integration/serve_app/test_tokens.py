"""Links made again, renewed and revoked, over HTTP on a real database, by two replicas."""

import time
from contextlib import asynccontextmanager

import httpx
import pytest

from actors.postgres import create_pool
from actors.settings import Settings
from actors.shards import Shards
from engine import limits
from engine.ids import ParticipantId
from serve_app import auth
from serve_app.api.app import create_api_app
from serve_app.auth import Role
from serve_app.rate import Rate, TokenBucket
from serve_app.replica import Replica

NOBODY = "00000000-0000-4000-8000-000000000001"


@pytest.fixture
def make_replica(pool, database_url):
    settings = Settings(
        database_url=database_url,
        redis_url="redis://unused",
        secret="a secret of at least thirty-two bytes",
        public_url="http://test",
    )
    return lambda: Replica(settings, Shards([pool]))


@pytest.fixture
def replica(make_replica):
    return make_replica()


@pytest.fixture
async def session(pool, make_session):
    await pool.execute("TRUNCATE token_revocations")
    return (await make_session(pool)).session_id


@asynccontextmanager
async def client_of(replica, token):
    app = create_api_app()
    app.state.replica = replica
    headers = {"authorization": f"Bearer {token}"}
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://test", headers=headers
    ) as one:
        yield one


def refused(response, status, code):
    assert (response.status_code, response.json()["code"]) == (status, code), response.text


async def test_an_operator_gets_the_link_of_a_host_who_has_lost_it(client, replica, session):
    for role in ("host", "viewer"):
        made = await client.post(f"/sessions/{session}/tokens", json={"role": role})
        assert made.status_code == 201, made.text
        assert made.headers["cache-control"] == "no-store"
        assert made.json()["role"] == role
        claims = replica.tokens.check(made.json()["token"], Role(role), session_id=session)
        assert len(claims.pin) == limits.PIN_DIGITS, "the page shows it"
    refused(
        await client.post(f"/sessions/{NOBODY}/tokens", json={"role": "host"}), 404, "not_found"
    )
    refused(await client.post("/sessions/x/tokens", json={"role": "host"}), 404, "not_found")
    refused(await client.post(f"/sessions/{session}/tokens", json={}), 401, "unauthorized")
    wrong = {"role": "operator"}
    refused(await client.post(f"/sessions/{session}/tokens", json=wrong), 422, "malformed")
    refused(await client.post(f"/sessions/{session}/tickets"), 401, "unauthorized")


async def test_no_link_to_a_session_that_is_over(client, pool, session):
    await pool.execute("UPDATE sessions SET ended_at = now() WHERE session_id = $1", session)
    over = await client.post(f"/sessions/{session}/tokens", json={"role": "host"})
    refused(over, 410, "session_over")
    over = await client.post(f"/sessions/{session}/revocations", json={"roles": ["host"]})
    refused(over, 410, "session_over")


async def test_who_gets_which_token(replica, session):
    tokens = replica.tokens
    host = tokens.of_session(Role.HOST, session, "123456")
    viewer = tokens.of_session(Role.VIEWER, session, "123456")
    player = tokens.participant(session, ParticipantId(7))
    path = f"/sessions/{session}/tokens"
    for token, role, status in (
        (host, "viewer", 201),
        (viewer, "host", 401),
        (player, "host", 401),
        (player, "viewer", 401),
        (tokens.of_session(Role.HOST, NOBODY, "123456"), "viewer", 401),
    ):
        async with client_of(replica, token) as one:
            assert (await one.post(path, json={"role": role})).status_code == status
    ticket = tokens.ticket(tokens.check(host, Role.HOST))
    async with client_of(replica, ticket) as one:
        refused(await one.post(path, json={"role": "host"}), 401, "unauthorized")


async def test_a_token_is_renewed_when_half_of_its_life_is_over(
    replica, pool, session, monkeypatch
):
    tokens = replica.tokens
    for token in (
        tokens.of_session(Role.HOST, session, "123456"),
        tokens.participant(session, ParticipantId(7)),
    ):
        async with client_of(replica, token) as one:
            path = f"/sessions/{session}/tokens"
            assert (await one.post(path, json={})).json()["token"] == token, "none is needed yet"
            half = time.time() + limits.TOKEN_RENEW_S + 1
            with monkeypatch.context() as patched:
                patched.setattr(auth.time, "time", lambda half=half: half)
                renewed = (await one.post(path, json={})).json()
                before, after = (tokens.check(t, *Role) for t in (token, renewed["token"]))
        assert after[:3] == before[:3]
        assert after.expires_s - before.expires_s > limits.TOKEN_RENEW_S
        assert renewed["expires_in_s"] > limits.TOKEN_RENEW_S


async def test_tokens_that_cost_a_look_up_are_few(replica, client, session):
    replica.renewals = TokenBucket(Rate(per_s=0.001, burst=1))
    response = await client.post(f"/sessions/{session}/tokens", json={"role": "host"})
    assert response.status_code == 201
    response = await client.post(f"/sessions/{session}/tokens", json={"role": "host"})
    refused(response, 429, "too_many")
    assert response.json()["retryable"]


async def test_a_leaked_link_ends_on_every_replica_and_after_a_restart(
    make_replica, replica, client, session
):
    other = make_replica()
    tokens = replica.tokens
    leaked = tokens.of_session(Role.HOST, session, "123456")
    viewer = tokens.of_session(Role.VIEWER, session, "123456")
    told = []
    other.token_watch.on_revoked = told.append
    done = await client.post(f"/sessions/{session}/revocations", json={"roles": ["host"]})
    assert done.status_code == 201, done.text
    fresh = done.json()["host_token"]
    await other.token_watch.look()
    assert told == [{session}]
    started = make_replica()
    await started.token_watch.start()
    for one in (replica, other, started):
        async with client_of(one, leaked) as holder:
            refused(await holder.post(f"/sessions/{session}/tickets"), 401, "unauthorized")
            refused(await holder.post(f"/sessions/{session}/tokens", json={}), 401, "unauthorized")
        assert one.tokens.check(fresh, Role.HOST, session_id=session)
        assert one.tokens.check(viewer, Role.VIEWER, session_id=session)
    await started.token_watch.close()


async def test_a_host_ends_the_tokens_of_others_but_not_those_of_hosts(replica, session):
    tokens = replica.tokens
    viewer = tokens.of_session(Role.VIEWER, session, "123456")
    path = f"/sessions/{session}/revocations"
    async with client_of(replica, tokens.of_session(Role.HOST, session, "123456")) as host:
        refused(await host.post(path, json={"roles": ["viewer", "host"]}), 401, "unauthorized")
        refused(await host.post(path, json={"roles": []}), 422, "malformed")
        done = await host.post(path, json={"roles": ["viewer", "participant"]})
        assert (done.status_code, done.json()["host_token"]) == (201, None)
    async with client_of(replica, viewer) as one:
        refused(await one.post(f"/sessions/{session}/tickets"), 401, "unauthorized")
        refused(await one.post(path, json={"roles": ["viewer"]}), 401, "unauthorized")


async def test_with_the_database_away_tokens_are_checked_and_revocations_stay(
    own_postgres, make_session
):
    """Nothing is looked up for a token, and what was revoked stays so."""
    settings = Settings(
        database_url=own_postgres.url,
        redis_url="redis://unused",
        secret="a secret of at least thirty-two bytes",
        public_url="http://test",
    )
    async with await create_pool(own_postgres.url, size_max=2) as pool:
        session = (await make_session(pool)).session_id
        replica = Replica(settings, Shards([pool]))
        leaked = replica.tokens.of_session(Role.HOST, session, "123456")
        await replica.token_watch.revoke(session, [Role.HOST])
        host = replica.tokens.of_session(Role.HOST, session, "123456")
        own_postgres.stop()
        await replica.token_watch.look()
        async with client_of(replica, host) as one:
            assert (await one.post(f"/sessions/{session}/tickets")).status_code == 201
            away = await one.post(f"/sessions/{session}/revocations", json={"roles": ["viewer"]})
            refused(away, 503, "retry")
        async with client_of(replica, leaked) as one:
            refused(await one.post(f"/sessions/{session}/tickets"), 401, "unauthorized")
