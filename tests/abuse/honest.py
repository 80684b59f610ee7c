"""The honest people, in a process of their own: they play a quiz, and they join by PIN.

``python -m tests.abuse.honest URL OPERATOR_TOKEN`` reads orders, one JSON object a line, and answers
each with lines. A quiz is answered with its PIN as soon as everybody is in; after the order ``go`` it
is played and answered with a :class:`~tests.abuse.scenario.Quiz`. A storm is answered with a
:class:`~tests.abuse.scenario.Storm`.
"""

from __future__ import annotations

import asyncio
import secrets
import statistics
import sys
import time
from typing import Any, NamedTuple

import aiohttp
import msgspec
import uvloop

from engine.model import QuestionKind
from engine.testing.factories import make_question, make_quiz
from simulation.demo import Demo, DemoError
from tests.abuse.scenario import Quiz, Storm

#: So many people scan the code together, round after round.
_JOINS_AT_ONCE = 200
#: How long somebody tries to get in, and pauses when told to come again later, seconds.
_JOIN_S_MAX, _PAUSE_S = 60.0, 0.25
#: Failures that are told; the first ones say enough.
_SHOWN_MAX = 5
#: What pages take for "come again later".
_FOR_LATER = (429, 502, 503, 504)


class PlayQuiz(msgspec.Struct, tag="quiz"):
    """Open a quiz and join it, then wait for the order to go."""

    people: int
    questions: int
    seed: int


class Go(msgspec.Struct, tag="go"):
    """Play the quiz that everybody has joined."""


class StormIn(msgspec.Struct, tag="storm"):
    """Join a session by its PIN, as many people at once as scan a code together."""

    pin: str
    rounds: int


Order = PlayQuiz | Go | StormIn


class _PatientQuiz(Demo):
    """A demo that begins to play when it is told to."""

    async def _join_all(self, api: Any) -> None:
        await super()._join_all(api)
        _say(self.pin)
        order = await asyncio.to_thread(_hear)
        assert isinstance(order, Go), order


def _hear() -> Order | None:
    line = sys.stdin.buffer.readline()
    return msgspec.json.decode(line, type=Order) if line else None


def _say(value: Any) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(value) + b"\n")
    sys.stdout.buffer.flush()


async def _quiz(url: str, operator_token: str, order: PlayQuiz) -> Quiz:
    question = make_question(QuestionKind.SINGLE, time_limit_ms=60_000)
    quiz = make_quiz(*[question] * order.questions)
    demo = _PatientQuiz(url, operator_token, quiz, order.people, order.seed)
    try:
        report = await demo.play()
    except DemoError as error:
        return Quiz(0, float("nan"), float("nan"), 0, [str(error)])
    problems = list(report.problems)
    given = order.people * order.questions
    if report.answers_acknowledged != given:
        problems.append(f"{report.answers_acknowledged} of {given} answers were acknowledged")
    if report.answers_stored != report.answers_acknowledged:
        problems.append(
            f"{report.answers_stored} answers are stored, {report.answers_acknowledged} acknowledged"
        )
    return Quiz(
        report.answers_acknowledged,
        report.ack_latency_ms_p50,
        report.ack_latency_ms_p99,
        report.reconnects,
        problems,
    )


class _Refused(Exception):
    """Somebody did not get in."""


class _Place(NamedTuple):
    """Somebody who got in: how long that took, how often it was refused, and the token."""

    seconds: float
    refused: int
    token: str


async def _get_in(http: aiohttp.ClientSession, url: str, pin: str, name: str) -> _Place:
    """Look the PIN up and join."""
    begun, refused = time.monotonic(), 0
    found: dict[str, Any] = {}
    body = {"nickname": name, "join_key": secrets.token_hex(16)}
    steps: list[tuple[str, str, Any]] = [
        ("GET", f"{url}/api/pins/{pin}", None),
        ("POST", f"{url}/api/pins/{pin}/participants", body),
    ]
    for method, address, content in steps:
        while True:
            async with http.request(method, address, json=content) as reply:
                if reply.ok:
                    found = await reply.json()
                    break
                said = f"{method} {address}: {reply.status} {await reply.text()}"
            if reply.status not in _FOR_LATER or time.monotonic() > begun + _JOIN_S_MAX:
                raise _Refused(said)
            refused += 1
            await asyncio.sleep(_PAUSE_S)
    return _Place(time.monotonic() - begun, refused, found["token"])


async def _connect(http: aiohttp.ClientSession, url: str, token: str) -> None:
    """Say hello, as a page does once it has joined: who never does is taken for a program."""
    async with asyncio.timeout(_JOIN_S_MAX), http.ws_connect(f"{url}/ws") as socket:
        await socket.send_json({"type": "hello", "token": token})
        await socket.receive()


async def _storm(url: str, order: StormIn) -> Storm:
    rates, slowest_s, refused, problems = [], 0.0, 0, []
    for number in range(order.rounds):
        # Fresh connections for each round: each phone has its own.
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
            begun = time.monotonic()
            names = [f"R{number} P{person}" for person in range(_JOINS_AT_ONCE)]
            joins = [_get_in(http, url, order.pin, name) for name in names]
            outcomes = await asyncio.gather(*joins, return_exceptions=True)
            rates.append(_JOINS_AT_ONCE / (time.monotonic() - begun))
            places = [place for place in outcomes if isinstance(place, _Place)]
            hellos = [_connect(http, url, place.token) for place in places]
            await asyncio.gather(*hellos, return_exceptions=True)  # of joins only is told
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                problems.append(repr(outcome))
            else:
                slowest_s, refused = max(slowest_s, outcome.seconds), refused + outcome.refused
    joins_made = order.rounds * _JOINS_AT_ONCE - len(problems)
    return Storm(
        joins_made, statistics.median(rates), slowest_s * 1000, refused, problems[:_SHOWN_MAX]
    )


def main() -> None:
    """Follow orders until there are no more."""
    url, operator_token = sys.argv[1:]
    while order := _hear():
        if isinstance(order, PlayQuiz):
            _say(uvloop.run(_quiz(url, operator_token, order)))
        elif isinstance(order, StormIn):
            _say(uvloop.run(_storm(url, order)))


if __name__ == "__main__":
    main()
