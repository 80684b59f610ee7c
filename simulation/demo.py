"""A whole quiz against a running site: host, participants and a viewer, all over the network.

The site is used as everybody uses it, through its API and its websockets. At the end the clients'
ledger, the scoreboard in memory, the tables and an independent scorer must agree.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import msgspec

from engine import limits
from engine.importers import to_json
from engine.model import Quiz
from engine.phases import Phase
from engine.view import View
from simulation.check import check_answers, check_boards
from simulation.live_socket import LiveSocket
from simulation.player import Ledger, Player

#: Joins that are under way at the same time.
_JOINS_AT_ONCE = 50
#: Longest time that a simulated participant thinks, seconds.
_THINK_S_MAX = 2.0
#: How long the distribution and the scoreboard are looked at, seconds.
_LOOK_S = 0.5
#: How long the answers of a question may be outstanding after everybody has thought, seconds.
_SETTLE_S_MAX = 30.0
#: How long a request is tried again while a part is away, seconds.
_RETRY_S_MAX = 60.0
_POLL_S = 0.05


class DemoError(Exception):
    """The site refused something, or did not come along; the message says what."""


class DemoReport(msgspec.Struct, frozen=True, kw_only=True):
    """What happened, and whether it was right."""

    session_id: str
    participants: int
    questions: int
    seconds: float
    answers_sent: int
    answers_acknowledged: int
    answers_stored: int
    ack_latency_ms_p50: float
    ack_latency_ms_p99: float
    reconnects: int
    scoreboards_agree: bool
    #: Sentences; empty when all is right.
    problems: list[str]

    @property
    def is_right(self) -> bool:
        """Whether nothing was lost, nothing counted twice, and all scoreboards agree."""
        return self.scoreboards_agree and not self.problems


class Demo:
    """One run. Every random choice follows from the seed.

    Args:
        site_url: address of the site, without a slash at the end.
        operator_token: allows to create the quiz and to open the session.
        quiz: what is played, all of it.
        participants: how many take part.
        seed: of names, skills, thinking times and jitter.

    Attributes:
        ledger: what the players sent and were told; grows while the quiz is played.
        pin: of the session, empty before it is open.
        joined: how many are in.
    """

    def __init__(
        self, site_url: str, operator_token: str, quiz: Quiz, participants: int, seed: int
    ) -> None:
        self._site_url = site_url
        self._ws_url = site_url.replace("http", "ws", 1) + "/ws"
        self._operator_token = operator_token
        self._quiz = quiz
        self._participants = participants
        self._rng = random.Random(seed)
        self._players: list[Player] = []
        self._viewer: LiveSocket | None = None
        self.ledger = Ledger()
        self.pin = ""
        self.joined = 0

    @property
    def view(self) -> View | None:
        """What the projector shows now."""
        return self._viewer.view if self._viewer is not None else None

    async def play(self) -> DemoReport:
        """Open a session, play it to its end, check it.

        Raises:
            DemoError: the site refused something, or a part stayed away.
        """
        started = time.monotonic()
        async with httpx.AsyncClient(
            base_url=f"{self._site_url}/api", timeout=limits.ACTOR_CALL_MS_MAX / 1000 * 2
        ) as api:
            opened = await self._open(api)
            session_id, host_token = opened["session_id"], opened["host_token"]
            try:
                self._viewer = self._connect(opened["viewer_token"], lambda _message: None)
                await self._join_all(api)
                await self._play(api, session_id, host_token)
                reconnects = sum(player.socket.reconnects for player in self._players)
            finally:
                await asyncio.gather(
                    *(player.close() for player in self._players),
                    *([self._viewer.close()] if self._viewer is not None else []),
                )
            memory, results = await self._outcome(api, session_id, host_token)
        problems = check_answers(self.ledger, results)
        wrong_boards = check_boards(memory, results)
        latencies = sorted(self.ledger.latencies_ms) or [0.0]
        return DemoReport(
            session_id=session_id,
            participants=self.joined,
            questions=len(self._quiz.questions),
            seconds=time.monotonic() - started,
            answers_sent=len(self.ledger.sent),
            answers_acknowledged=len(self.ledger.acknowledged),
            answers_stored=len(results["answers"]),
            ack_latency_ms_p50=latencies[len(latencies) // 2],
            ack_latency_ms_p99=latencies[len(latencies) * 99 // 100],
            reconnects=reconnects,
            scoreboards_agree=not wrong_boards,
            problems=problems + wrong_boards,
        )

    # --- before -----------------------------------------------------------------------------------

    async def _open(self, api: httpx.AsyncClient) -> dict[str, Any]:
        body = msgspec.json.decode(to_json(self._quiz))
        quiz = await self._call(api, "POST", "/quizzes", self._operator_token, body)
        settings = {"preview_ms": 0}
        body = {"quiz_id": quiz["quiz_id"], "settings": settings}
        opened = await self._call(api, "POST", "/sessions", self._operator_token, body)
        self.pin = opened["pin"]
        return opened

    def _connect(self, token: str, on_message: Callable[[Any], None]) -> LiveSocket:
        return LiveSocket(self._ws_url, token, on_message, random.Random(self._rng.random()))

    async def _join_all(self, api: httpx.AsyncClient) -> None:
        gate = asyncio.Semaphore(_JOINS_AT_ONCE)
        run = f"{self._rng.getrandbits(64):016x}"

        async def join(number: int) -> None:
            async with gate:
                body = {"nickname": f"Player {number}", "join_key": f"{run}-{number}"}
                path = f"/pins/{self.pin}/participants"
                joined = await self._call(api, "POST", path, "", body)
                player = Player(
                    joined["participant_id"],
                    lambda on_message: self._connect(joined["token"], on_message),
                    self._quiz.questions,
                    self.ledger,
                    random.Random(self._rng.random()),
                    _THINK_S_MAX,
                )
                self._players.append(player)
                await player.socket.welcomed()
                if player.socket.closed_as:
                    raise DemoError(f"a participant was closed as {player.socket.closed_as}")
                self.joined += 1

        await asyncio.gather(*(join(number) for number in range(1, self._participants + 1)))

    # --- the host ---------------------------------------------------------------------------------

    async def _play(self, api: httpx.AsyncClient, session_id: str, host_token: str) -> None:
        place: dict[str, Any] = {"phase": Phase.LOBBY.value, "opening": 0}
        step = "start"
        while place["phase"] != Phase.FINISHED.value:
            body = {
                "command_id": f"demo-{step}-{place['phase']}-{place['opening']}",
                "step": step,
                "phase": place["phase"],
                "opening": place["opening"],
            }
            path = f"/sessions/{session_id}/moves"
            place = await self._call(api, "POST", path, host_token, body)
            if place["phase"] == Phase.QUESTION_OPEN.value:
                await self._until_closed(place["opening"])
                place = {"phase": Phase.QUESTION_CLOSED.value, "opening": place["opening"]}
            await asyncio.sleep(_LOOK_S)
            step = "next"

    async def _until_closed(self, opening: int) -> None:
        """Wait until the session has closed the opening: everybody has answered, or time is up."""
        question = self._quiz.questions[(opening - 1) % len(self._quiz.questions)]
        deadline = time.monotonic() + question.time_limit_ms / 1000 + _SETTLE_S_MAX

        def is_closed() -> bool:
            view = self.view
            # A viewer that was cut may still show an earlier opening, and that one closed.
            is_next = view is not None and (
                view.opening_no > opening
                or (view.opening_no == opening and view.phase is Phase.QUESTION_CLOSED)
            )
            return is_next and not self.ledger.outstanding(opening)

        while not is_closed():
            if time.monotonic() > deadline:
                raise DemoError(f"opening {opening} was not closed, or its answers stayed unknown")
            await asyncio.sleep(_POLL_S)

    # --- afterwards -------------------------------------------------------------------------------

    async def _outcome(
        self, api: httpx.AsyncClient, session_id: str, host_token: str
    ) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        path = f"/sessions/{session_id}"
        memory: list[dict[str, Any]] = []
        for offset in range(0, len(self._players) + 1, limits.SCOREBOARD_PAGE_ROWS_MAX):
            page = await self._call(api, "GET", f"{path}/scoreboard?offset={offset}", host_token)
            if page["source"] != "memory":
                raise DemoError("the session's actor has left, so its memory cannot be compared")
            memory += page["items"]

        async def results() -> httpx.Response:
            return await api.get(f"{path}/results", headers=_bearer(host_token))

        # The end is noted beside the last event, a moment after it.
        found = await _patiently(results, lambda response: response.status_code in (409, 503))
        return memory, found

    async def _call(
        self, api: httpx.AsyncClient, method: str, path: str, token: str, body: Any = None
    ) -> dict[str, Any]:
        """One request, sent again with the same keys while its outcome is unknown."""

        async def send() -> httpx.Response:
            return await api.request(method, path, json=body, headers=_bearer(token))

        return await _patiently(send, lambda response: response.status_code in (502, 503, 504))


def _bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"} if token else {}


async def _patiently(
    send: Callable[[], Awaitable[httpx.Response]], is_for_later: Callable[[httpx.Response], bool]
) -> dict[str, Any]:
    """Send until an answer is final.

    Raises:
        DemoError: it is a refusal, or none came in time.
    """
    deadline = time.monotonic() + _RETRY_S_MAX
    said = "nothing"
    while time.monotonic() < deadline:
        try:
            response = await send()
        except httpx.TransportError as error:
            said = repr(error)
        else:
            said = f"{response.status_code}: {response.text[:300]}"
            if response.is_success:
                found: dict[str, Any] = response.json()
                return found
            if not is_for_later(response):
                raise DemoError(f"the site refused a request ({said})")
        await asyncio.sleep(_POLL_S * 4)
    raise DemoError(f"no answer within {_RETRY_S_MAX:.0f} s; the last was {said}")
