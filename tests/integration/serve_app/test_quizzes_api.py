"""The routes of the quiz library, over HTTP, on a real database."""

import msgspec
import pytest

from actors.settings import Settings
from actors.shards import Shards
from engine import limits
from engine.importers import to_json
from engine.testing.factories import make_quiz
from serve_app.auth import Role
from serve_app.replica import Replica

SECRET = "a secret of at least thirty-two bytes"
QUIZ = msgspec.to_builtins(make_quiz())
FILE = b"#Q A question?\n^ a\nA a\nB b\nC b\n\n#Q No answer?\nA a\nB b\n"
NOBODY = "00000000-0000-4000-8000-000000000001"


@pytest.fixture
def replica(pool, database_url):
    settings = Settings(
        database_url=database_url,
        redis_url="redis://unused",
        secret=SECRET,
        public_url="http://test",
    )
    return Replica(settings, Shards([pool]))


def refused(response, status, code):
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert (problem["status"], problem["code"]) == (status, code)
    return problem


async def test_a_quiz_lives_from_post_to_delete(client):
    created = await client.post("/quizzes", json=QUIZ)
    assert created.status_code == 201, created.text
    row = created.json()
    assert (row["title"], row["question_count"], row["version"]) == ("A quiz", 4, 1)
    path = f"/quizzes/{row['quiz_id']}"

    found = (await client.get(path)).json()
    assert {name: found[name] for name in row} == row
    assert [q["kind"] for q in found["quiz"]["questions"]] == [q["kind"] for q in QUIZ["questions"]]

    changed = (await client.put(path, json={**QUIZ, "title": "Another"})).json()
    assert (changed["title"], changed["version"]) == ("Another", 2)
    assert (await client.get(path)).json()["title"] == "Another"
    assert (await client.get(path, params={"version": 1})).json()["title"] == "A quiz"

    assert (await client.get("/quizzes")).json() == {"items": [changed], "next": None}
    assert (await client.delete(path)).status_code == 204
    refused(await client.get(path), 404, "not_found")
    refused(await client.delete(path), 404, "not_found")
    assert (await client.get("/quizzes")).json() == {"items": [], "next": None}


async def test_what_is_exported_is_imported_equal(client):
    row = (await client.post("/quizzes", json=QUIZ)).json()
    exported = await client.get(f"/quizzes/{row['quiz_id']}/export")
    assert exported.content == to_json(make_quiz())
    assert f"quiz-{row['quiz_id']}.json" in exported.headers["content-disposition"]
    again = await client.post(
        "/quizzes/import", params={"format": "rayquiz"}, content=exported.content
    )
    assert again.status_code == 201
    copy = (await client.get(f"/quizzes/{again.json()['quiz_id']}/export")).content
    assert copy == exported.content


async def test_an_import_reports_what_it_left_out_and_what_it_changed(client):
    response = await client.post(
        "/quizzes/import", params={"format": "opentriviaqa", "title": "Mine"}, content=FILE
    )
    assert response.status_code == 201, response.text
    body = response.json()
    assert (body["title"], body["question_count"]) == ("Mine", 1)
    assert body["skipped"] == [
        {"line": 7, "item": "No answer?", "reason": "0 answers (^); exactly 1 is needed"}
    ]
    assert body["warnings"] == [
        {
            "line": 1,
            "item": "A question?",
            "reason": "1 of its 3 choices repeated another and was left out",
        }
    ]


@pytest.mark.parametrize(
    ("params", "content", "status", "code"),
    [
        ({"format": "opentriviaqa", "title": "t"}, b"", 422, "quiz_empty"),
        ({"format": "opentriviaqa"}, FILE, 422, "invalid_quiz"),
        ({"format": "kahoot", "title": "t"}, FILE, 422, "malformed"),
        ({"title": "t"}, b"%PDF-1.7", 422, "malformed"),
        ({"format": "rayquiz", "title": "t"}, FILE, 422, "malformed"),
        ({"format": "rayquiz"}, b"x" * (limits.QUIZ_BYTES_MAX + 1), 413, "too_large"),
    ],
)  # fmt: skip
async def test_imports_that_give_no_quiz(client, params, content, status, code):
    refused(await client.post("/quizzes/import", params=params, content=content), status, code)
    assert (await client.get("/quizzes")).json()["items"] == []


async def test_pages_of_the_listing(client):
    for n in range(5):
        await client.post("/quizzes", json={**QUIZ, "title": f"quiz {n}"})
    titles, cursor = [], None
    for _ in range(3):
        params = {"limit": 2} if cursor is None else {"limit": 2, "cursor": cursor}
        page = (await client.get("/quizzes", params=params)).json()
        titles += [item["title"] for item in page["items"]]
        cursor = page["next"]
    assert (titles, cursor) == ([f"quiz {n}" for n in (4, 3, 2, 1, 0)], None)


@pytest.mark.parametrize(
    "params", [{"limit": 0}, {"limit": 101}, {"limit": "x"}, {"cursor": "x"}, {"cursor": "x" * 201}]
)
async def test_a_listing_out_of_bounds(client, params):
    refused(await client.get("/quizzes", params=params), 422, "malformed")


@pytest.mark.parametrize(
    ("changes", "code", "names"),
    [
        ({"title": ""}, "invalid_quiz", "title"),
        ({"title": " "}, "invalid_quiz", "title"),
        ({"questions": []}, "invalid_quiz", "questions"),
        ({"color": "red"}, "malformed", "color"),
        ({"questions": [{**QUIZ["questions"][0], "correct": [7]}]}, "invalid_quiz", "question 1"),
        ({"questions": [{**QUIZ["questions"][0], "text": "\0"}]}, "invalid_quiz", "question 1"),
    ],
)
async def test_a_quiz_that_cannot_be_used(client, changes, code, names):
    problem = refused(await client.post("/quizzes", json={**QUIZ, **changes}), 422, code)
    assert names in problem["detail"]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"null", b"[]", b'"x"', b'{"title":"\\ud800"}', b"\xff", b"[" * 10_000]
)
async def test_a_body_that_is_no_quiz(client, body):
    headers = {"content-type": "application/json"}
    problem = refused(
        await client.post("/quizzes", content=body, headers=headers), 422, "malformed"
    )
    assert problem["detail"].startswith("body: ")


@pytest.mark.parametrize("quiz_id", [NOBODY, "x", "%00", "a%20b"])
@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_a_quiz_that_is_not_there(client, method, quiz_id):
    refused(await client.request(method, f"/quizzes/{quiz_id}"), 404, "not_found")


async def test_the_library_is_for_operators(client, replica):
    calls = [
        ("POST", "/quizzes"), ("GET", "/quizzes"), ("POST", "/quizzes/import?format=rayquiz"),
        ("GET", f"/quizzes/{NOBODY}"), ("PUT", f"/quizzes/{NOBODY}"),
        ("DELETE", f"/quizzes/{NOBODY}"), ("GET", f"/quizzes/{NOBODY}/export"),
    ]  # fmt: skip
    host = replica.tokens.of_session(Role.HOST, NOBODY, "123456")
    for token in ("", "Bearer", "Bearer forged", f"Bearer {host}", f"Basic {host}"):
        for method, path in calls:
            response = await client.request(
                method, path, json=QUIZ, headers={"authorization": token}
            )
            refused(response, 401, "unauthorized")
