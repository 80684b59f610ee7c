"""A7: programs that answer sooner than anybody can read."""

from __future__ import annotations

import asyncio
import secrets
from typing import Any

import msgspec
import picows

from engine.phases import Phase, Step
from engine.testing.factories import make_question, make_quiz
from tests.abuse.scenario import Claim, Evidence, Ground, Scenario
from tests.site import LiveSite

_BOTS, _QUESTIONS = 50, 3
_RIGHT = 1


def _prepare(site: LiveSite) -> dict[str, Any]:
    """A self-paced game that has begun: everybody may answer, whenever they come."""
    quiz = msgspec.to_builtins(make_quiz(*[make_question()] * _QUESTIONS))
    session = site.open_session(quiz, {"mode": "self_paced", "scoring": "accuracy.v1"})
    _move(site, session["session_id"], Step.START, Phase.LOBBY)
    return {"pin": session["pin"], "session_id": session["session_id"]}


class _Bot(picows.WSListener):
    """Asks for a question, and answers the moment it comes."""

    def __init__(self, token: str) -> None:
        self._token = token
        self.receipts = 0
        self.is_done = asyncio.Event()

    def on_ws_connected(self, transport: picows.WSTransport) -> None:
        self._say(transport, {"type": "hello", "token": self._token})

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        if frame.msg_type != picows.WSMsgType.TEXT:
            return
        message = msgspec.json.decode(frame.get_payload_as_bytes())
        if message["type"] == "question":
            opening = message["question"]["opening_no"]
            self._say(transport, {"type": "answer", "opening": opening, "choices": [_RIGHT]})
            return
        if message["type"] == "receipt":
            self.receipts += 1
            if message["opening"] == _QUESTIONS:
                self.is_done.set()
                return
        elif message["type"] != "welcome":
            return
        self._say(transport, {"type": "ask", "opening": self.receipts + 1})

    def on_ws_disconnected(self, _transport: picows.WSTransport) -> None:
        self.is_done.set()

    def _say(self, transport: picows.WSTransport, message: dict[str, Any]) -> None:
        transport.send(picows.WSMsgType.TEXT, msgspec.json.encode(message))


async def _attack(ground: Ground) -> None:
    async def play(number: int) -> None:
        address = ground.address(number)
        async with ground.http(address) as http:
            path = f"{ground.url}/api/pins/{ground.prepared['pin']}/participants"
            body = {"nickname": f"Bot {number}", "join_key": secrets.token_hex(16)}
            async with http.post(path, json=body) as reply:
                token = (await reply.json())["token"]
        transport, bot = await ground.websocket(address, lambda: _Bot(token))
        await bot.is_done.wait()
        ground.counts["receipts"] += bot.receipts
        transport.disconnect()

    ground.at_strength()
    await asyncio.gather(*(play(number) for number in range(ground.scaled(_BOTS))))
    await ground.wait(float("inf"))


def _judge(evidence: Evidence) -> list[Claim]:
    site, session_id = evidence.site, evidence.prepared["session_id"]
    _move(site, session_id, Step.FINISH, Phase.SELF_PACED_OPEN)
    whole = site.results({"session_id": session_id, "host_token": site.operator_token})
    with site.api() as api:
        path = f"/sessions/{session_id}/results"
        less = api.get(path, params={"leave_out_too_fast": "true"}).json()
        told = api.get(f"/sessions/{session_id}/too_fast").json()["items"]
    answers = whole["answers"]
    marked = [answer for answer in answers if answer["too_fast"]]
    # A busy machine may hold a program up for longer than a human takes; most are as quick as they are.
    return [
        Claim(
            f"every answer is accepted ({evidence.counts['receipts']})",
            len(answers) == evidence.counts["receipts"] > 0,
        ),
        Claim(
            f"those within what no human can do are marked ({len(marked)} of {len(answers)})",
            (len(marked) > 0 or evidence.is_short)
            and all(a["too_fast"] == (a["elapsed_ms"] < 200) for a in answers)
            and sum(person["answers"] for person in told) == len(marked),
        ),
        Claim(
            "left out, they earn nothing",
            sum(row["points"] for row in less["scoreboard"])
            == sum(answer["points"] for answer in answers if not answer["too_fast"]),
        ),
    ]


def _move(site: LiveSite, session_id: str, step: Step, phase: Phase) -> None:
    body = {"command_id": secrets.token_hex(8), "step": step, "phase": phase, "opening": 0}
    with site.api() as api:
        api.post(f"/sessions/{session_id}/moves", json=body).raise_for_status()


SCENARIO = Scenario("A7: answers sooner than anybody reads", _attack, _judge, _prepare)
