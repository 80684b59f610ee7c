"""Results through the API: made while they are sent, whole or seen not to be, and bounded."""

import asyncio
import csv
import io

import httpx
import pytest

from actors.sql import queries
from engine import limits
from engine.errors import Unavailable
from engine.model import Mode, QuestionKind
from engine.testing.factories import make_question, make_quiz
from serve_app.api.app import create_api_app
from tests.large_session import fill, quiz_of, settings_of

PEOPLE, QUESTIONS = 50, 100
_WAIT_S_MAX = 20


@pytest.fixture
async def session_id(pool, make_session):
    """A finished session of 5,000 answers."""
    session = await make_session(pool, quiz_of(QUESTIONS), settings_of(Mode.LIVE))
    await fill(pool, session.session_id, PEOPLE, QUESTIONS, Mode.LIVE, finished=True)
    await pool.fetch(queries["note_finished"], session.actor_name, 0)
    return session.session_id


@pytest.fixture
async def replica(make_replica, pool):
    return make_replica(pool)


class Reader:
    """Reads one file over bare ASGI, and takes it as it likes.

    Attributes:
        sent: the messages that were taken.
        pieces_max: so many it takes, and then no more.
    """

    def __init__(self, replica, path, pieces_max=1_000_000):
        self.app = create_api_app()
        self.app.state.replica = replica
        self.sent = []
        self.pieces_max = pieces_max
        self.is_stuck = asyncio.Event()
        self._path, _, self._query = path.partition("?")
        self._token = replica.tokens.operator()

    def start(self, app=None):
        """Begin to read; the task ends with the response."""
        scope = {
            "type": "http",
            "method": "GET",
            "path": self._path,
            "raw_path": self._path.encode(),
            "root_path": "",
            "query_string": self._query.encode(),
            "headers": [(b"authorization", f"Bearer {self._token}".encode())],
            "client": ("127.0.0.1", 1),
            "http_version": "1.1",
            "scheme": "http",
        }
        return asyncio.create_task((app or self.app)(scope, self._receive, self._send))

    async def _receive(self):
        await asyncio.Event().wait()

    async def _send(self, message):
        if len(self.sent) > self.pieces_max:
            self.is_stuck.set()
            await asyncio.Event().wait()
        self.sent.append(message)

    @property
    def status(self):
        return self.sent[0]["status"]

    @property
    def is_whole(self):
        return not self.sent[-1].get("more_body", False)

    @property
    def body(self):
        return b"".join(message["body"] for message in self.sent[1:])


async def test_a_program_reads_what_it_always_read(client, session_id):
    found = (await client.get(f"/sessions/{session_id}/results")).json()
    assert list(found) == [
        "session_id", "title", "created_at", "finished_at", "cancelled", "settings", "quiz",
        "scoreboard", "participants", "openings", "leaves_out_too_fast", "answers",
    ]  # fmt: skip
    assert (found["session_id"], found["title"]) == (session_id, "A large quiz")
    assert len(found["participants"]) == len(found["scoreboard"]) == PEOPLE
    assert len(found["answers"]) == PEOPLE * QUESTIONS
    assert found["answers"][0] == {
        "opening": 1, "question_index": 0, "participant_id": 1, "choices": [2], "text": "",
        "elapsed_ms": 12648, "correct": False, "points": 0, "too_fast": False,
    }  # fmt: skip
    assert sum(row["answered"] for row in found["openings"]) == PEOPLE * QUESTIONS
    points = sum(row["points"] for row in found["scoreboard"])
    assert points == sum(answer["points"] for answer in found["answers"]) > 0


async def test_a_session_that_nobody_played(client, pool, make_session):
    session = await make_session(pool)
    await pool.fetch(queries["note_finished"], session.actor_name, 0)
    url = f"/sessions/{session.session_id}/results"
    assert (await client.get(url)).json()["answers"] == []
    table = (await client.get(f"{url}?format=csv")).content.decode("utf-8-sig")
    assert table == "rank,name,points,answered,right,too fast\r\n"


async def test_a_table_has_a_line_for_each_player(client, pool, make_session):
    typed = make_question(QuestionKind.TYPED, text="=Which, then?")
    quiz = make_quiz(make_question(QuestionKind.MULTIPLE, correct=(0, 2)), typed)
    session = await make_session(pool, quiz, settings_of(Mode.LIVE))
    await fill(pool, session.session_id, 3, 2, Mode.LIVE, finished=True)
    await pool.execute("UPDATE participants SET nickname = '@Mia, 7' WHERE participant_id = 1")
    await pool.execute("UPDATE answers SET choice_mask = 5, points = 900 WHERE participant_id = 1")
    await pool.execute(
        "UPDATE answers SET text = '-Perth', choice_mask = 0 WHERE opening_no = 2; "
        "DELETE FROM answers WHERE participant_id = 2 AND opening_no = 2; "
        "UPDATE answers SET elapsed_ms = 150 WHERE participant_id = 3 AND opening_no = 1"
    )
    removed = '{"type":"removed","at_ms":4,"participant_id":3}'
    await pool.fetch(queries["append_events"], session.session_id, 0, [99], [removed])
    await pool.fetch(queries["note_finished"], session.actor_name, 0)

    url = f"/sessions/{session.session_id}/results?format=csv"
    response = await client.get(url)
    assert response.headers["content-type"].startswith("text/csv")
    head, mia, person = csv.reader(io.StringIO(response.content.decode("utf-8-sig"), newline=""))
    assert head[:6] == ["rank", "name", "points", "answered", "right", "too fast"]
    assert head[6] == f"1. {quiz.questions[0].text}"
    assert head[9:] == ["2. =Which, then?", "2. points", "2. seconds"]
    assert mia[:4] == ["1", "'@Mia, 7", "1800", "2"]
    assert (mia[6], mia[7], mia[9]) == ("A C", "900", "'-Perth")
    assert person[1] == "Person 2"
    assert person[9:] == ["", "", ""]
    answers = (await client.get(url.replace("csv", "json"))).json()["answers"]
    seconds = {a["opening"]: a["elapsed_ms"] / 1000 for a in answers if a["participant_id"] == 1}
    assert [float(mia[8]), float(mia[11])] == [seconds[1], seconds[2]]


@pytest.mark.parametrize("format_name", ["json", "csv"])
async def test_no_more_than_a_page_is_held_at_once(replica, session_id, monkeypatch, format_name):
    monkeypatch.setattr(limits, "READ_PAGE_ROWS", 500)
    reader = Reader(replica, f"/sessions/{session_id}/results?format={format_name}")
    await reader.start()
    assert reader.is_whole
    pieces = [len(message["body"]) for message in reader.sent[2:]]
    assert len(pieces) >= PEOPLE * QUESTIONS // 500
    assert max(pieces) < 500 * 150


@pytest.mark.parametrize("format_name", ["json", "csv"])
async def test_what_fails_before_the_first_page_is_told(
    client, pool, session_id, make_session, format_name
):
    running = await make_session(pool)
    response = await client.get(f"/sessions/{running.session_id}/results?format={format_name}")
    assert (response.status_code, response.json()["retryable"]) == (409, False)
    await pool.execute("UPDATE answers SET choice_mask = 30000 WHERE opening_no = 1")
    with pytest.raises(LookupError):  # and a replica's client is told 500
        await client.get(f"/sessions/{session_id}/results?format={format_name}")


@pytest.mark.parametrize("format_name", ["json", "csv"])
async def test_what_fails_later_is_never_taken_for_the_end(
    replica, pool, session_id, monkeypatch, format_name
):
    monkeypatch.setattr(limits, "READ_PAGE_ROWS", 500)
    await pool.execute(
        "UPDATE answers SET choice_mask = 30000 WHERE opening_no = $1 AND participant_id = $2",
        QUESTIONS,
        PEOPLE // 2,
    )
    reader = Reader(replica, f"/sessions/{session_id}/results?format={format_name}")
    with pytest.raises(LookupError):
        await reader.start()
    assert reader.status == 200
    assert len(reader.sent) > 2
    assert not reader.is_whole


async def test_a_database_that_goes_away_in_the_middle(
    make_replica, own_pool, own_postgres, make_session, monkeypatch
):
    monkeypatch.setattr(limits, "READ_PAGE_ROWS", 500)
    session = await make_session(own_pool, quiz_of(QUESTIONS), settings_of(Mode.LIVE))
    await fill(own_pool, session.session_id, PEOPLE, QUESTIONS, Mode.LIVE, finished=True)
    await own_pool.fetch(queries["note_finished"], session.actor_name, 0)
    path = f"/sessions/{session.session_id}/results"
    reader = Reader(make_replica(own_pool), path, pieces_max=2)
    response = reader.start()
    await asyncio.wait_for(reader.is_stuck.wait(), _WAIT_S_MAX)
    assert own_pool.get_idle_size() == own_pool.get_size() > 0, "no connection waits for a reader"
    response.cancel()
    await asyncio.wait([response])
    reader = Reader(make_replica(own_pool), path)
    send, pieces = reader._send, []

    async def stop_the_server(message):
        pieces.append(message)
        if len(pieces) == 3:
            await asyncio.to_thread(own_postgres.stop)
        await send(message)

    reader._send = stop_the_server
    with pytest.raises(RuntimeError) as failed:  # Starlette's, since it can tell nobody any more
        await reader.start()
    assert isinstance(failed.value.__cause__, Unavailable)
    assert reader.status == 200
    assert not reader.is_whole


async def test_places_are_few_and_come_back(replica, session_id, monkeypatch):
    path = f"/sessions/{session_id}/results"
    first, second, third = (Reader(replica, path, pieces_max=1) for _ in range(3))
    app = first.app
    begun = [first.start(app), second.start(app)]
    for reader in (first, second):
        await asyncio.wait_for(reader.is_stuck.wait(), _WAIT_S_MAX)
    await third.start(app)
    assert third.status == 503
    assert b'"code":"overloaded"' in third.body
    assert b'"retryable":true' in third.body

    begun[0].cancel()  # the reader has gone; Serve ends its request
    await asyncio.wait([begun[0]])
    fourth = Reader(replica, path)
    await fourth.start(app)
    assert (fourth.status, fourth.is_whole) == (200, True)

    monkeypatch.setattr(limits, "DOWNLOADS_MAX", 1)  # whatever the session
    fifth = Reader(replica, path)
    await fifth.start(app)
    assert fifth.status == 503
    begun[1].cancel()
    await asyncio.wait([begun[1]])
    fifth = Reader(replica, path)
    await fifth.start(app)
    assert (fifth.status, fifth.is_whole) == (200, True)


@pytest.mark.parametrize(
    ("bound", "ms"),
    # The second one begins before the first piece is made.
    [("DOWNLOAD_STALL_MS_MAX", 300), ("DOWNLOAD_MS_MAX", 4_000)],
)
async def test_a_reader_that_takes_nothing_is_left(replica, session_id, monkeypatch, bound, ms):
    monkeypatch.setattr(limits, bound, ms)
    path = f"/sessions/{session_id}/results"
    reader = Reader(replica, path, pieces_max=1)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.start(), _WAIT_S_MAX)
    assert reader.is_stuck.is_set()
    assert not reader.is_whole
    monkeypatch.undo()
    again = [Reader(replica, path) for _ in range(limits.DOWNLOADS_SESSION_MAX)]
    await asyncio.gather(*(one.start(reader.app) for one in again))
    assert [one.status for one in again] == [200] * len(again)


async def test_who_may_not_read_gets_no_place(replica, session_id):
    reader = Reader(replica, f"/sessions/{session_id}/results")
    reader.app.state.downloads = None  # nothing is begun
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(reader.app), base_url="http://test"
    ) as anybody:
        assert (await anybody.get(f"/sessions/{session_id}/results")).status_code == 401
