"""Keys that change while a hundred people play, and text that clients send to be logged."""

import asyncio
import time
from contextlib import suppress

import httpx
import jwt
import msgspec
import pytest
from typer.testing import CliRunner
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.protocol import State

from engine import limits
from engine.testing.factories import make_question, make_quiz
from engine.wire import (
    Answer,
    Fault,
    Hello,
    Receipt,
    Welcome,
    decode_server_message,
    encode_json,
)
from serve_app.cli import app
from serve_app.embedded.data_folder import DataFolder, write_private
from serve_app.keys import encode_keys, read_keys, rotated
from tests.acceptance.rounds import kill, replica_pids

_PEOPLE = 100
_WAIT_S_MAX = 60
_QUIZ = msgspec.to_builtins(make_quiz(make_question(time_limit_ms=600_000)))
_SETTINGS = {"preview_ms": 0, "close_when_all_answered": False}


class Person:
    """Somebody with a token, who comes back as often as the socket is cut."""

    def __init__(self, url, token):
        self.url, self.token = url, token
        self.socket = None
        self.refused = []

    async def enter(self):
        async with asyncio.timeout(_WAIT_S_MAX):
            while True:
                if await self._entered():
                    return
                await asyncio.sleep(0.2)

    async def _entered(self):
        with suppress(ConnectionClosed, InvalidHandshake, OSError, EOFError):
            self.socket = await connect(self.url, ping_interval=None)
            await self._say(Hello(self.token))
            reply = decode_server_message((await self.socket.recv()).encode())
            if isinstance(reply, Fault) and not reply.retryable:
                self.refused.append(reply.code)
                raise AssertionError(reply)
            return isinstance(reply, Welcome)
        return False

    async def answer(self):
        """The receipt, once the question is open; the same is said again after a cut."""
        await self._say(Answer(1, (1,)))
        async with asyncio.timeout(_WAIT_S_MAX):
            while True:
                message = decode_server_message((await self.socket.recv()).encode())
                if isinstance(message, Receipt):
                    return message

    async def _say(self, message):
        await self.socket.send(encode_json(message).decode())


def key_of(token):
    return jwt.get_unverified_header(token)["kid"]


async def test_keys_change_while_a_hundred_people_play(live_site, open_session, monkeypatch):
    """Nobody is cut off, nobody is refused, every answer is stored once."""
    session = open_session(_QUIZ, _SETTINGS)
    base = f"{live_site.base_url}/api"
    async with httpx.AsyncClient(base_url=base, timeout=_WAIT_S_MAX) as client:

        async def join(name):
            body = {"nickname": name, "join_key": f"key-of-{name}"}
            joined = await client.post(f"/pins/{session['pin']}/participants", json=body)
            assert joined.status_code == 201, joined.text
            return joined.json()["token"]

        people = [Person(live_site.ws_url, await join(f"P{n}")) for n in range(_PEOPLE)]
        await asyncio.gather(*(person.enter() for person in people))
        host = {"authorization": f"Bearer {session['host_token']}"}
        path = f"/sessions/{session['session_id']}"
        start = {"command_id": "command-1", "step": "start", "phase": "lobby", "opening": 0}
        assert (await client.post(f"{path}/moves", json=start, headers=host)).status_code == 200
        receipts = await asyncio.gather(*(one.answer() for one in people[:40]))

        # What `rayquiz keys rotate` does, with no more time than the bounds need.
        monkeypatch.setattr(limits, "KEY_SETTLE_S", 5)
        file = DataFolder(live_site.folder).keys
        keys = rotated(read_keys(file))
        write_private(file, encode_keys(keys))
        receipts += await asyncio.gather(*(one.answer() for one in people[40:60]))
        deadline = time.monotonic() + _WAIT_S_MAX
        while key_of(newest := await join("P0")) != keys[-1].key_id:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.2)
        assert {key_of(one.token) for one in people} == {keys[-2].key_id}
        assert {person.socket.state for person in people} == {State.OPEN}

        # Everybody comes back with what the former key has signed, one with what the new one has.
        people[0].token = newest
        (pid,) = replica_pids("notificator")
        kill(pid)
        await asyncio.gather(*(person.enter() for person in people))
        receipts += await asyncio.gather(*(one.answer() for one in people[60:]))
        again = await asyncio.gather(*(one.answer() for one in people[:60]))
        assert again == receipts[:60]
        close = {**start, "command_id": "command-2", "step": "finish"}
        close |= {"phase": "question_open", "opening": 1}
        assert (await client.post(f"{path}/moves", json=close, headers=host)).status_code == 200
    assert [person.refused for person in people] == [[]] * _PEOPLE
    stored = live_site.results(session)["answers"]
    assert len({answer["participant_id"] for answer in stored}) == len(stored) == _PEOPLE
    for person in people:
        await person.socket.close()


_MARK = "forged-line"
_HOSTILE = f"\n2026-01-01 00:00:00,000 ERROR {_MARK}\r\n\x1b[2J{_MARK}\u2028{_MARK}"


async def test_what_clients_send_forges_no_line_of_a_log(live_site, open_session):
    """Hostile text through every door, and then a look into every log."""
    session = open_session(_QUIZ, _SETTINGS)
    base, long = f"{live_site.base_url}/api", "x" * 100_000
    seen = httpx.QueryParams({"q": _HOSTILE})
    async with httpx.AsyncClient(base_url=base, timeout=_WAIT_S_MAX) as client:
        for name in (_HOSTILE, _HOSTILE + long):
            body = {"nickname": name, "join_key": "a-key-of-nobody"}
            await client.post(f"/pins/{session['pin']}/participants", json=body)
            await client.post("/pins/000000/participants", json=body)
            await client.post("/sessions", json={"quiz_id": name})
        escaped = "%0a2026-01-01%20ERROR%20" + _MARK + "%1b%5b2J"
        for path in (f"/{escaped}", f"/pins/{escaped}", f"/sessions/{escaped}/view"):
            await client.get(path, params=seen, headers={"authorization": f"Bearer {_MARK}\x1b[2J"})
        for header in ("user-agent", "referer", "x-request-id", "x-forwarded-for"):
            await client.get("/health", headers={header: f"\x1b[2J{_MARK}"})
    for said in (_HOSTILE, long, "\x00" + _HOSTILE, encode_json(Hello(_MARK)).decode()):
        with suppress(ConnectionClosed):
            async with connect(live_site.ws_url) as socket:
                await socket.send(said)
                await socket.close(4999, f"{_MARK}\x1b[2J")
    folder = (live_site.folder / "run").resolve()
    logs = [*folder.glob("ray/session_latest/logs/**/*"), *live_site.folder.glob("*.log")]
    logs += [*(live_site.folder / "logs").glob("**/*")]
    read = [log.read_bytes() for log in logs if log.is_file()]
    assert len(read) > 10, "they are where this test looks"
    for text in read:
        for line in text.splitlines():
            assert not line.startswith(b"2026-01-01") or _MARK.encode() not in line, line[:200]
            assert b"\x1b[2J" not in line, line[:200]
            assert long.encode() not in line


@pytest.mark.parametrize("command", ["host-link", "operator-link"])
async def test_a_lost_link_is_printed_on_the_machine(live_site, open_session, command):
    session = open_session(_QUIZ, _SETTINGS)
    arguments = [command] if command == "operator-link" else [command, session["pin"]]
    done = await asyncio.to_thread(
        CliRunner().invoke, app, [*arguments, "--data", str(live_site.folder)]
    )
    assert done.exit_code == 0, done.output
    page, _, token = done.output.strip().partition("#token=")
    assert page == f"{live_site.base_url}/{'host' if command == 'host-link' else 'library'}"
    body = {"role": "host"}
    path = f"/sessions/{session['session_id']}/tokens"
    with live_site.api(token) as api:
        assert api.post(path, json=body).status_code == 201
