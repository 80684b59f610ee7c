"""No body is read further than it may be long, whatever its header says."""

import asyncio
import threading

import pytest
from fastapi import HTTPException

from engine import limits
from engine.errors import Malformed, Unavailable
from serve_app.api.body import BodyLimit, LargeBodies, read_body

JOIN = "/pins/123456/participants"
ANSWER = "/sessions/00000000-0000-4000-8000-000000000001/answers"


class Sent:
    """A request's body in chunks, counting those that were asked for."""

    def __init__(self, *chunks, ends=True):
        self._chunks = list(chunks)
        self._ends = ends
        self.asked = 0

    async def __call__(self):
        self.asked += 1
        if not self._chunks:
            return {"type": "http.disconnect"}
        body = self._chunks.pop(0)
        return {"type": "http.request", "body": body,
                "more_body": bool(self._chunks) or not self._ends}  # fmt: skip


@pytest.mark.parametrize("path", [JOIN, ANSWER, "/sessions", "/quizzes", "/quizzes/import"])
@pytest.mark.parametrize("promises", [True, False])
async def test_a_body_that_is_too_long(client, replica, refused, path, promises):
    size = limits.QUIZ_BYTES_MAX if path.startswith("/quizzes") else limits.BODY_BYTES_MAX

    async def chunks():
        for _ in range(size // 4_096 + 1):
            yield b"x" * 4_096

    token = replica.tokens.participant("00000000-0000-4000-8000-000000000001", 1)
    if path != ANSWER:
        token = replica.tokens.operator()
    response = await client.post(
        path,
        params={"format": "rayquiz"},
        content=b"x" * (size + 1) if promises else chunks(),
        headers={"authorization": f"Bearer {token}"},
    )
    assert str(size) in refused(response, 413, "too_large")["detail"]
    assert response.headers["connection"] == "close"
    assert replica.items == []


@pytest.mark.parametrize("promised", [b"content-length: 100000", b"transfer-encoding: chunked"])
async def test_a_long_body_that_trickles_is_not_waited_for(monkeypatch, promised):
    monkeypatch.setattr(limits, "LONG_BODY_MS_MAX", 20)
    name, _, value = promised.partition(b": ")
    scope = {"type": "http", "path": "/quizzes", "headers": [(name, value)]}
    asked = 0

    async def trickle():
        nonlocal asked
        asked += 1
        await asyncio.sleep(0.005)
        return {"type": "http.request", "body": b"x", "more_body": True}

    async def app(_scope, receive, _send):
        with pytest.raises(HTTPException) as caught:
            await read_body(receive)
        assert caught.value.status_code == 408

    async with asyncio.timeout(10):
        await BodyLimit(app)(scope, trickle, pytest.fail)
    assert asked > 0


async def test_a_whole_body_is_not_late_however_long_its_answer_takes(monkeypatch):
    monkeypatch.setattr(limits, "LONG_BODY_MS_MAX", 0)
    scope = {"type": "http", "path": "/", "headers": [(b"content-length", b"1")]}

    async def app(_scope, receive, _send):
        assert await read_body(receive) == b"x"
        assert (await receive())["type"] == "http.disconnect"

    await BodyLimit(app)(scope, Sent(b"x"), pytest.fail)


async def test_no_more_is_read_than_is_allowed():
    seen = []

    async def app(_scope, receive, _send):
        seen.append(await receive())
        seen.append(await receive())

    sent = Sent(b"x" * limits.BODY_BYTES_MAX, b"x", b"never asked for")
    with pytest.raises(Exception, match="413"):
        await BodyLimit(app)({"type": "http", "path": "/", "headers": []}, sent, None)
    assert (len(seen), sent.asked) == (1, 2)


@pytest.mark.parametrize("promise", [b"-1", b"x", b"", b"1e9", b"0"])
async def test_what_is_promised_is_not_believed_when_it_is_no_number(promise):
    async def app(_scope, receive, _send):
        assert await read_body(receive) == b"ab"

    scope = {"type": "http", "path": "/", "headers": [(b"content-length", promise)]}
    await BodyLimit(app)(scope, Sent(b"a", b"b"), None)


async def test_a_promise_that_is_too_large_is_refused_before_anything_is_read():
    async def app(_scope, receive, _send):
        await receive()

    scope = {"type": "http", "path": "/", "headers": [(b"content-length", b"99999999999")]}
    sent = Sent(b"a")
    with pytest.raises(Exception, match="413"):
        await BodyLimit(app)(scope, sent, None)
    assert sent.asked == 0


async def test_the_longest_body_is_read(app, replica):
    replica.reply = Malformed("it was read")
    assert len(await read_body(Sent(b"x" * limits.BODY_BYTES_MAX))) == limits.BODY_BYTES_MAX


@pytest.mark.parametrize("chunks", [(), (b"{}",), (b"{", b"}")])
async def test_part_of_a_body_is_no_body(chunks):
    with pytest.raises(Malformed, match="went away"):
        await read_body(Sent(*chunks, ends=False))


class SentTo:
    """A request of which only the body is looked at."""

    def __init__(self, receive):
        self.receive = receive


async def test_a_large_body_is_parsed_beside_the_loop_and_one_at_a_time(settle):
    bodies = LargeBodies()
    started, go = threading.Event(), threading.Event()
    begun = []

    def parse(data):
        begun.append(data)
        started.set()
        assert go.wait(60)
        return threading.current_thread()

    tasks = [
        asyncio.ensure_future(bodies.parse(SentTo(Sent(name)), parse)) for name in (b"a", b"b")
    ]
    assert await asyncio.to_thread(started.wait, 60)
    await settle()  # the loop turns while it is parsed
    assert begun == [b"a"]
    go.set()
    threads = await asyncio.gather(*tasks)
    assert begun == [b"a", b"b"]
    assert threading.main_thread() not in threads


async def test_so_many_large_bodies_are_held_and_of_further_ones_nothing_is_read(settle):
    bodies = LargeBodies()
    never = asyncio.Event()

    async def stalled():
        await never.wait()

    tasks = [
        asyncio.ensure_future(bodies.parse(SentTo(stalled), bytes))
        for _ in range(limits.LARGE_BODIES_MAX)
    ]
    await settle()
    sent = Sent(b"x")
    with pytest.raises(Unavailable) as caught:
        await bodies.parse(SentTo(sent), bytes)
    assert (caught.value.code, caught.value.retryable, sent.asked) == ("overloaded", True, 0)
    tasks[0].cancel()
    await settle()
    assert await bodies.parse(SentTo(sent), bytes) == b"x"
    for task in tasks:
        task.cancel()


async def test_what_cannot_be_parsed_gives_its_place_back():
    bodies = LargeBodies()

    def parse(_data):
        raise Malformed("nonsense")

    for _ in range(limits.LARGE_BODIES_MAX + 1):
        with pytest.raises(Malformed, match="nonsense"):
            await bodies.parse(SentTo(Sent(b"x")), parse)


async def test_other_protocols_pass():
    seen = []

    async def app(scope, receive, send):
        seen.append((scope, receive, send))

    await BodyLimit(app)({"type": "lifespan"}, "receive", "send")
    assert seen == [({"type": "lifespan"}, "receive", "send")]
