"""The host's roster over the API: whom it lists, and what one page may cost."""

import pytest

from engine import limits
from engine.errors import Unavailable
from engine.roster import Person
from serve_app.auth import Role
from tests.unit.serve_app.api.conftest import PIN, SESSION

PATH = f"/sessions/{SESSION}/roster"


@pytest.fixture
def host(replica):
    token = replica.tokens.of_session(Role.HOST, SESSION, PIN)
    return {"authorization": f"Bearer {token}"}


async def test_a_page_says_who_is_in_and_how_to_go_on(client, replica, host):
    replica.reply = (7, [Person(9, "Mia", 61_500, True), Person(4, "Bot", 900, False)])
    query = {"search": "m", "only": "recent", "before": 12, "limit": 2}
    found = await client.get(PATH, params=query, headers=host)
    assert replica.calls == [("roster", "m", "recent", 12, 2)]
    assert found.json() == {
        "matching": 7,
        "items": [
            # Redis is away in this test: who is connected cannot be told.
            {"participant_id": 9, "nickname": "Mia", "joined_s_ago": 61, "has_connected": True,
             "connected": None},
            {"participant_id": 4, "nickname": "Bot", "joined_s_ago": 0, "has_connected": False,
             "connected": None},
        ],
        "next": 4,
    }  # fmt: skip


async def test_the_last_page_says_so(client, replica, host):
    replica.reply = (1, [Person(9, "Mia", 0, True)])
    assert (await client.get(PATH, headers=host)).json()["next"] is None


@pytest.mark.parametrize(
    "query",
    [
        {"limit": limits.ROSTER_PAGE_ROWS_MAX + 1},
        {"limit": 0},
        {"search": "x" * (limits.ROSTER_SEARCH_CHARS_MAX + 1)},
        {"before": -1},
        {"before": limits.PARTICIPANT_ID_MAX + 2},
        {"only": "nobody"},
    ],
)
async def test_what_is_out_of_bounds_asks_no_actor(client, replica, host, refused, query):
    refused(await client.get(PATH, params=query, headers=host), 422, "malformed")
    assert replica.calls == []


async def test_only_hosts_may_read_it(client, replica, refused):
    for token in (
        replica.tokens.of_session(Role.VIEWER, SESSION, PIN),
        replica.tokens.participant(SESSION, 1),
    ):
        headers = {"authorization": f"Bearer {token}"}
        refused(await client.get(PATH, headers=headers), 401, "unauthorized")
    assert replica.calls == []


async def test_many_pages_at_once_are_refused_before_the_actor_is_asked(
    client, replica, host, refused
):
    replica.reply = (0, [])
    for _ in range(3):
        assert (await client.get(PATH, headers=host)).status_code == 200
    problem = refused(await client.get(PATH, headers=host), 429, "too_many")
    assert problem["retryable"]
    assert len(replica.calls) == 3


async def test_an_actor_that_is_away_is_said_to_be(client, replica, host, refused):
    replica.reply = Unavailable("the session is on its way to this actor")
    refused(await client.get(PATH, headers=host), 503, "retry")
