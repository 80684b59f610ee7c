"""No body is read further than it may be long, whatever its header says."""

import pytest

from engine import limits
from engine.errors import Malformed
from serve_app.api.body import BodyLimit, read_body

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


async def test_other_protocols_pass():
    seen = []

    async def app(scope, receive, send):
        seen.append((scope, receive, send))

    await BodyLimit(app)({"type": "lifespan"}, "receive", "send")
    assert seen == [({"type": "lifespan"}, "receive", "send")]
