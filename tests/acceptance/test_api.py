"""The whole API over real HTTP: through HAProxy to the replicas, the actor and the database."""

import asyncio
import contextlib
import http.client
import json
import uuid
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import msgspec
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import one_of
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from actors.postgres import create_pool
from actors.sql import queries
from engine import limits
from engine.model import Mode, QuestionKind
from engine.testing.factories import make_question, make_quiz
from tests.large_session import fill, quiz_of, settings_of

DATA = Path(__file__).parents[1] / "data" / "opentriviaqa"
QUIZ = msgspec.to_builtins(make_quiz())
#: Two questions, opened at once and closed by the host.
SHORT_QUIZ = msgspec.to_builtins(
    make_quiz(
        *(
            make_question(kind, time_limit_ms=600_000)
            for kind in (QuestionKind.SINGLE, QuestionKind.TYPED)
        )
    )
)
PLAIN = {"preview_ms": 0, "close_when_all_answered": False}
NOBODY = "00000000-0000-4000-8000-000000000001"
_WAIT_S_MAX = 30.0


def refused(response, status, code):
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["type"] == f"urn:rayquiz:error:{code}"
    assert (problem["status"], problem["code"]) == (status, code)
    assert problem["title"]
    assert problem["detail"]
    return problem


class Person:
    """Requests with one token over a client that others share."""

    def __init__(self, client, token):
        self._client = client
        self.token = token

    def get(self, path):
        return self._client.get(path, headers=self._headers)

    def post(self, path, **body):
        return self._client.post(path, **body, headers=self._headers)

    @property
    def _headers(self):
        return {"authorization": f"Bearer {self.token}"}


class Game:
    """One session over HTTP: its host and its participants."""

    def __init__(self, opened, client):
        self._client = client
        self.opened = opened
        self.session_id, self.pin = self.opened["session_id"], self.opened["pin"]
        self.path = f"/sessions/{self.session_id}"
        self.host = Person(client, self.opened["host_token"])
        self.viewer = Person(client, self.opened["viewer_token"])
        self.place = {"phase": "lobby", "opening": 0}
        self._commands = 0

    def join(self, nickname, join_key=None):
        body = {"nickname": nickname, "join_key": join_key or f"key-of-{nickname}"}
        return self._client.post(f"/pins/{self.pin}/participants", json=body)

    def player(self, nickname):
        """Somebody who is in."""
        joined = self.join(nickname)
        assert joined.status_code == 201, joined.text
        return Person(self._client, joined.json()["token"])

    def answer(self, player, **body):
        return player.post(f"{self.path}/answers", json=body)

    def send_move(self, step, **changes):
        self._commands += 1
        body = {"command_id": f"command-{self._commands}", "step": step, **self.place, **changes}
        return self.host.post(f"{self.path}/moves", json=body)

    def move(self, step, **changes):
        moved = self.send_move(step, **changes)
        assert moved.status_code == 200, moved.text
        self.place = {name: moved.json()[name] for name in ("phase", "opening")}
        return moved.json()

    def get(self, what, person=None):
        return (person or self.host).get(f"{self.path}/{what}")


@pytest.fixture(scope="module")
def client(live_site):
    """Nobody in particular."""
    with httpx.Client(base_url=f"{live_site.base_url}/api", timeout=30) as client:
        yield client


@pytest.fixture
def make_game(open_session, client):
    return lambda: Game(open_session(SHORT_QUIZ, PLAIN), client)


@pytest.fixture(scope="module")
def game(live_site, client):
    """A session whose first question is open, for tests that leave it as it is."""
    game = Game(live_site.open_session(SHORT_QUIZ, PLAIN), client)
    game.mia = game.player("Mia")
    game.move("start")
    yield game
    live_site.cancel(game.opened)


# --- quizzes ----------------------------------------------------------------------------------------


def test_a_quiz_lives_from_post_to_delete(live_site):
    with live_site.api() as api:
        row = api.post("/quizzes", json=QUIZ).json()
        path = f"/quizzes/{row['quiz_id']}"
        assert api.get(path).json()["quiz"]["title"] == QUIZ["title"]
        assert api.get("/quizzes", params={"limit": 1}).json()["items"] == [row]
        changed = api.put(path, json={**QUIZ, "title": "Another"}).json()
        assert (changed["version"], changed["title"]) == (2, "Another")
        exported = api.get(f"{path}/export")
        again = api.post("/quizzes/import", params={"format": "rayquiz"}, content=exported.content)
        assert again.status_code == 201
        assert api.delete(path).status_code == 204
        refused(api.get(path), 404, "not_found")
        refused(api.post("/sessions", json={"quiz_id": row["quiz_id"]}), 404, "not_found")


def test_an_untidy_file_is_imported_item_by_item(live_site):
    with live_site.api() as api:
        files = [(DATA / name).read_bytes() for name in ("untidy.txt", "broken.txt")]
        response = api.post(
            "/quizzes/import",
            params={"format": "opentriviaqa", "title": "Untidy"},
            content=b"\n".join(files),
        )
        assert response.status_code == 201, response.text
        report = response.json()
        assert report["question_count"] > 0
        assert report["skipped"]
        assert all(note["line"] > 0 and note["reason"] for note in report["skipped"])
        stored = api.get(f"/quizzes/{report['quiz_id']}").json()["quiz"]["questions"]
        assert len(stored) == report["question_count"]


# --- a session from its opening to its results ------------------------------------------------------


def test_a_whole_quiz_over_http(live_site, client, make_game):
    game = make_game()
    found = client.get(f"/pins/{game.pin}").json()
    assert (found["session_id"], found["mode"], found["finished"]) == (
        game.session_id,
        "live",
        False,
    )
    mia, ben = game.player("Mia"), game.player("Ben")
    again = game.join("Mia, who reloaded", "key-of-Mia").json()
    assert again["nickname"] == "Mia"
    refused(game.join("mia", "another-key"), 409, "nickname_taken")
    refused(game.join("", "another-key"), 422, "nickname_invalid")

    refused(game.answer(mia, opening=1, choices=[1]), 404, "not_found")
    assert game.move("start") == {"command_id": "command-1", "phase": "question_open", "opening": 1}
    repeated = game.send_move("start", command_id="command-1", phase="lobby", opening=0)
    assert repeated.json()["opening"] == 1
    refused(game.send_move("start", phase="lobby", opening=0), 409, "stale_command")
    refused(game.send_move("next"), 409, "wrong_phase")

    receipt = game.answer(mia, opening=1, choices=[1]).json()
    assert (receipt["type"], receipt["opening"], receipt["choices"]) == ("receipt", 1, [1])
    assert "correct" not in receipt
    assert game.answer(mia, opening=1, choices=[0]).json() == receipt, "the first one stands"
    refused(game.answer(ben, opening=1, choices=[7]), 422, "bad_choice")
    refused(game.answer(ben, opening=1, text="b"), 422, "bad_choice")
    assert game.get("scoreboard").json()["items"][0]["points"] == 0, "open questions count nothing"
    refused(game.get("results"), 409, "wrong_phase")

    game.move("close")
    refused(game.answer(ben, opening=1, choices=[1]), 409, "late")
    assert game.answer(mia, opening=1, choices=[2]).json() == receipt, "a repeat is never late"
    board = game.get("scoreboard", game.viewer).json()
    assert board["source"] == "memory"
    assert [(row["nickname"], row["rank"]) for row in board["items"]] == [("Mia", 1), ("Ben", 2)]
    assert board["items"][0]["points"] > 0 == board["items"][1]["points"]

    game.move("next")
    game.move("next")
    assert game.answer(ben, opening=2, text=" canberra ").status_code == 200
    game.move("extend", extra_ms=1_000)
    game.move("close")
    assert game.move("next")["phase"] == "finished"

    results = live_site.results(game.opened)
    assert results["quiz"]["questions"][0]["correct"] == [1]
    assert [(a["opening"], a["correct"]) for a in results["answers"]] == [(1, True), (2, True)]
    assert [row["nickname"] for row in results["scoreboard"]] == [
        row["nickname"] for row in game.get("scoreboard").json()["items"]
    ]
    refused(game.answer(mia, opening=2, text="Canberra"), 409, "late")
    refused(game.join("Zoe"), 410, "session_over")
    with live_site.api() as api:
        listed = api.get("/sessions", params={"limit": 100}).json()["items"]
    row = next(row for row in listed if row["session_id"] == game.session_id)
    assert row["finished_at"] is not None


@pytest.fixture
def stored(live_site):
    """A finished session of 3,000 answers that no actor has played, and what changes its tables."""
    quiz, settings = quiz_of(100), settings_of(Mode.LIVE)
    with live_site.api() as api:
        quiz_id = api.post("/quizzes", json=msgspec.to_builtins(quiz)).json()["quiz_id"]
    session_id, body = str(uuid.uuid4()), msgspec.json.encode(settings).decode()

    async def run(work):
        async with await create_pool(live_site.stack.settings.database_url, 1) as pool:
            await work(pool)

    async def store(pool):
        await pool.fetch(queries["create_session"], session_id, quiz_id, "x", body, 0, 0)
        await fill(pool, session_id, 30, 100, Mode.LIVE, finished=True)
        await pool.execute(
            "UPDATE sessions SET finished_at = now(), ended_at = now() WHERE pin = 'x'"
        )

    async def spoil(pool):
        """The very last answer of both forms has a choice that is none."""
        change = (
            "UPDATE answers SET choice_mask = choice_mask | 256 "
            "WHERE session_id = $1 AND opening_no = 100 AND participant_id = 30"
        )
        await pool.execute(change, session_id)

    asyncio.run(run(store))
    return f"/sessions/{session_id}/results?format=", lambda: asyncio.run(run(spoil))


@pytest.mark.parametrize("format_name", ["json", "csv"])
def test_results_that_end_too_early_are_not_taken_for_whole(live_site, stored, format_name):
    """By any client of HTTP, through HAProxy: the last chunk is missing."""
    path, spoil = stored
    with live_site.api() as api:
        whole = api.get(path + format_name)
        assert whole.status_code == 200
        assert whole.headers["cache-control"] == "no-store"
        assert whole.headers["transfer-encoding"] == "chunked"
        spoil()
        with api.stream("GET", path + format_name) as response:
            assert response.status_code == 200
            parts = []
            with pytest.raises(httpx.RemoteProtocolError):
                parts += response.iter_bytes()
    part = b"".join(parts)
    assert whole.content.startswith(part)
    assert 0 < len(part) < len(whole.content)


def test_a_removed_participant_is_out(make_game):
    game = make_game()
    mia = game.player("Mia")
    game.move("remove", participant=1)
    refused(game.join("Mia"), 403, "removed")
    game.move("start")
    refused(game.answer(mia, opening=1, choices=[1]), 403, "removed")
    game.move("cancel")


def test_the_same_answer_from_many_sides_at_once_is_stored_once(game):
    ada = game.player("Ada")
    with ThreadPoolExecutor(8) as pool:
        receipts = [
            found.result().json()
            for found in [
                pool.submit(game.answer, ada, opening=1, choices=[n % 4]) for n in range(16)
            ]
        ]
    assert all(receipt == receipts[0] for receipt in receipts)
    assert receipts[0]["type"] == "receipt"


def test_the_same_join_from_many_sides_at_once_is_one_participant(game):
    with ThreadPoolExecutor(8) as pool:
        joined = [
            found.result().json()
            for found in [pool.submit(game.join, "Cleo", "key-of-Cleo") for _ in range(16)]
        ]
    assert len({row["participant_id"] for row in joined}) == 1


# --- what is refused --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"", 422, "malformed"),
        (b"{", 422, "malformed"),
        (b"\xff", 422, "malformed"),
        (b"[" * 9_000, 422, "malformed"),
        (b'{"opening":1,"choices":[1],"extra":1}', 422, "malformed"),
        (b'{"opening":-1,"choices":[1]}', 422, "malformed"),
        (b'{"opening":99,"choices":[1]}', 404, "not_found"),
        (b'{"opening":1}', 422, "bad_choice"),
        (b'{"opening":1,"choices":[0,1]}', 422, "bad_choice"),
        (b'{"opening":1,"text":"\\u0000"}', 422, "bad_choice"),
        (b" " * (limits.BODY_BYTES_MAX + 1), 413, "too_large"),
    ],
)
def test_answers_that_are_refused(game, content, status, code):
    somebody = game.player(f"P{zlib.crc32(content)}")
    refused(somebody.post(f"{game.path}/answers", content=content), status, code)
    assert game.answer(somebody, opening=1, choices=[1]).status_code == 200, "nothing was taken"


def test_tokens_that_do_not_fit(game, client, live_site):
    body = {"opening": 1, "choices": [1]}
    move = {"command_id": "command-x", "step": "close", **game.place}
    host, viewer = game.host.token, game.viewer.token
    head, claims, signature = host.split(".")
    forged = ".".join((head, claims, signature[::-1]))
    for token in ("x", forged, host, viewer, live_site.operator_token):
        person = Person(client, token)
        refused(person.post(f"{game.path}/answers", json=body), 401, "unauthorized")
    for token in ("x", forged, viewer):
        person = Person(client, token)
        refused(person.post(f"{game.path}/moves", json=move), 401, "unauthorized")
        for path in (f"{game.path}/results", "/quizzes", "/sessions"):
            refused(person.get(path), 401, "unauthorized")
    refused(game.mia.post(f"/sessions/{NOBODY}/answers", json=body), 401, "unauthorized")
    assert game.get("view").json()["view"]["phase"] == "question_open"


@pytest.mark.parametrize("session_id", [NOBODY, "x", "%00", "a%2Fb"])
def test_sessions_that_are_not_there(live_site, session_id):
    move = {"command_id": "command-1", "step": "start", "phase": "lobby", "opening": 0}
    with live_site.api() as api:
        for response in (
            api.get(f"/sessions/{session_id}/view"),
            api.get(f"/sessions/{session_id}/scoreboard"),
            api.get(f"/sessions/{session_id}/results"),
            api.post(f"/sessions/{session_id}/moves", json=move),
        ):
            refused(response, 404, "not_found")


def test_moves_that_are_refused(game):
    for body in ({"step": "due"}, {"step": "dance"}, {"command_id": "short"}, {"opening": "x"}):
        refused(game.send_move(**{"step": "close", **body}), 422, "malformed")
    refused(game.send_move("extend", extra_ms=1), 422, "malformed")
    refused(game.send_move("remove", participant=4_999), 404, "not_found")
    assert game.get("view").json()["view"]["opening_no"] == 1


def connection_of(site):
    parts = urlsplit(site.base_url)
    return http.client.HTTPConnection(parts.hostname, parts.port, timeout=_WAIT_S_MAX)


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("pins/000000/participants", 413, "too_large"),
        (f"sessions/{NOBODY}/answers", 401, "unauthorized"),  # the token first
    ],
)
def test_a_body_over_the_limit_is_answered_and_holds_nobody_up(
    live_site, client, path, status, code
):
    connection = connection_of(live_site)
    connection.putrequest("POST", f"/api/{path}")
    connection.putheader("content-type", "application/json")
    connection.putheader("content-length", str(20 * 1024 * 1024))
    connection.endheaders()
    # It may have said what it had to say, and not listen any more.
    with contextlib.suppress(OSError):
        connection.send(b"x" * 20 * 1024 * 1024)
    response = connection.getresponse()
    assert response.status == status
    assert json.loads(response.read())["code"] == code
    connection.close()
    assert client.get("/health").status_code == 200


def test_the_key_is_nowhere_before_the_close(game):
    for person in (game.host, game.viewer, game.mia):
        view = game.get("view", person).json()["view"]
        assert view["reveal"] is None
        assert view["scoreboard"] == []
        assert set(view["question"]) == {"opening_no", "question_index", "kind", "text", "choices",
                                         "points", "time_limit_ms", "opened_ms", "closes_ms"}  # fmt: skip


# --- operations -------------------------------------------------------------------------------------


def test_health_readiness_and_metrics(live_site, client):
    assert client.get("/health").json() == {"status": "ok"}
    assert client.get("/ready").json() == {"status": "ok"}
    metrics = httpx.get(live_site.stack.metrics_url, timeout=_WAIT_S_MAX)
    assert metrics.headers["content-type"].startswith("text/plain")
    assert "# HELP quiz_hub_connections " in metrics.text


# --- what the OpenAPI document allows, and what it does not -----------------------------------------

_CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
]
_EXAMPLES_MAX = 12


def try_out(operation, headers, known):
    """Send many requests to one operation; the ids in its path are known ones."""

    @given(case=one_of(operation.as_strategy(mode) for mode in schemathesis.GenerationMode))
    @settings(
        max_examples=_EXAMPLES_MAX,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    def check(case):
        case.path_parameters = {
            name: known.get(name, value) for name, value in case.path_parameters.items()
        }
        response = case.call(headers=headers)
        # What is no HTTP, such as a header's forbidden characters, HAProxy refuses itself.
        if not (response.status_code == 400 and b"invalid request" in response.content):
            case.validate_response(response, headers=headers, checks=_CHECKS)

    check()


def test_nothing_that_can_be_sent_breaks_the_api(live_site, make_game):
    game = make_game()
    mia = game.player("Mia")
    game.move("start")
    schema = schemathesis.openapi.from_url(f"{live_site.base_url}/api/openapi.json")
    with live_site.api() as api:
        quiz_id = api.post("/quizzes", json=QUIZ).json()["quiz_id"]
    known = {"quiz_id": quiz_id, "session_id": game.session_id, "pin": game.pin}
    count = 0
    for found in schema.get_all_operations():
        operation = found.ok()
        token = mia.token if operation.path.endswith("/answers") else live_site.operator_token
        try_out(operation, {"authorization": f"Bearer {token}"}, known)
        count += 1
    assert count >= 18
    with live_site.api() as api:  # the session's own tokens have been revoked meanwhile
        found = api.get(f"/sessions/{game.session_id}/view")
    assert found.status_code == 200, "the session is unharmed"
