"""A1: sockets of one session that ask for large questions, as often as they may, and read nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import picows

from engine import limits
from engine.model import QuestionKind
from engine.phases import Phase, Step
from engine.testing.factories import make_question, make_quiz
from tests.abuse.scenario import Claim, Evidence, Ground, Scenario
from tests.site import LiveSite

_SOCKETS = 100
#: Every other socket keeps to the allowed rate, so that nothing but its memory speaks against it.
_PATIENT_PAUSE_S = 1.05 / limits.MESSAGES_PER_S_MAX
_GREEDY_PAUSE_S = 0.002
_TEXT, _PING = picows.WSMsgType.TEXT, picows.WSMsgType.PING
#: What a socket may make a replica hold, with the loop's own books; and noise.
_GROWTH_MB_MAX = 2 * _SOCKETS * limits.SOCKET_WAITING_BYTES_MAX / 1e6 + 32


def _prepare(site: LiveSite) -> dict[str, Any]:
    """A self-paced session under way, whose questions are as large as they may be."""
    question = make_question(
        QuestionKind.SINGLE,
        text="?" * limits.QUESTION_CHARS_MAX,
        choices=tuple(str(n) * limits.CHOICE_CHARS_MAX for n in range(limits.CHOICES_MAX)),
    )
    quiz = msgspec.to_builtins(make_quiz(*[question] * 4))
    session = site.open_session(quiz, {"mode": "self_paced", "scoring": "accuracy.v1"})
    move = {"command_id": "start-it", "step": Step.START, "phase": Phase.LOBBY, "opening": 0}
    with site.api(session["host_token"]) as api:
        api.post(f"/sessions/{session['session_id']}/moves", json=move).raise_for_status()
    return session


class _Deaf(picows.WSListener):
    def __init__(self) -> None:
        self.welcome = asyncio.get_running_loop().create_future()

    def on_ws_frame(self, _transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        if frame.get_payload_as_bytes().startswith(b'{"type":"welcome"'):
            self.welcome.set_result(None)


async def _attack(ground: Ground) -> None:
    ready = 0
    hello = b'{"type":"hello","token":"%s"}' % ground.prepared["viewer_token"].encode()

    async def ask_on(number: int) -> None:
        nonlocal ready
        is_patient = number % 2 == 0
        while not ground.is_over:
            try:
                transport, deaf = await ground.websocket(ground.address(number), _Deaf)
                transport.send(_TEXT, hello)
                async with asyncio.timeout(30):
                    await deaf.welcome
            except (OSError, picows.WSError, TimeoutError):
                ground.counts["refused"] += 1
                await ground.wait(1.0)
                continue
            ready += 1
            ground.counts["sockets"] += 1
            transport.underlying_transport.pause_reading()
            while not (ground.is_over or transport.underlying_transport.is_closing()):
                transport.send(_TEXT, b'{"type":"ask","opening":%d}' % (ready % 4 + 1))
                transport.send(_PING, b"x" * 125)
                ground.counts["asked"] += 1
                await asyncio.sleep(_PATIENT_PAUSE_S if is_patient else _GREEDY_PAUSE_S)
            transport.disconnect(graceful=False)

    count = ground.scaled(_SOCKETS)
    asking = [asyncio.create_task(ask_on(number)) for number in range(count)]
    while ready < count and not ground.is_over:
        await ground.wait(0.05)
    # What the system and HAProxy hold for a connection comes first.
    await ground.wait(1.0 if count < _SOCKETS else 15.0)
    ground.at_strength()
    await asyncio.gather(*asking)


def _judge(evidence: Evidence) -> list[Claim]:
    return [Claim("they asked", evidence.counts["asked"] > evidence.counts["sockets"] > 0)]


SCENARIO = Scenario(
    "A1: sockets that ask and do not read",
    _attack,
    _judge,
    _prepare,
    memory_growth_mb_max=_GROWTH_MB_MAX,
)
