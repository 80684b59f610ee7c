"""What an attack is, what it is given, and what is known when it is judged."""

from __future__ import annotations

import asyncio
import ipaddress
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, TypeVar

import aiohttp
import msgspec
import picows

from tests.abuse.memory import Memory
from tests.site import LiveSite

#: Attackers' addresses; honest people come from 127.0.0.1.
_ATTACKERS = ipaddress.ip_network("127.66.0.0/16")
#: The share of an attack that its short form is.
_SHORT_SHARE = 0.1

_Listener = TypeVar("_Listener", bound=picows.WSListener)


class Briefing(msgspec.Struct, frozen=True):
    """What the attacker's process is told when it starts, as JSON.

    Attributes:
        url: of the site, without a slash at the end.
        quiz_pin: the session that honest people play.
        storm_pin: the session that honest people join during the attack.
        is_short: a tenth of the attack is enough.
        seconds_max: the attack ends by itself after so long.
        prepared: what the scenario's ``prepare`` has returned.
    """

    url: str
    quiz_pin: str
    storm_pin: str
    is_short: bool
    seconds_max: float
    prepared: dict[str, Any]


class Ground:
    """Where an attack takes place, in the attacker's process.

    Attributes:
        counts: what the attack saw, by a name of its choice; printed, and judged.
    """

    def __init__(self, briefing: Briefing, over: asyncio.Event, tell: Callable[[], None]) -> None:
        self._briefing = briefing
        self._over = over
        self._tell = tell
        self.counts: Counter[str] = Counter()
        self.url = briefing.url
        self.ws_url = briefing.url.replace("http", "ws", 1) + "/ws"
        self.quiz_pin = briefing.quiz_pin
        self.storm_pin = briefing.storm_pin
        self.prepared = briefing.prepared

    @property
    def is_over(self) -> bool:
        """Whether the attack has to end."""
        return self._over.is_set()

    def at_strength(self) -> None:
        """Say that the attack is under way: honest people begin to play now."""
        self._tell()

    def scaled(self, count: int) -> int:
        """How many of something the long form's ``count`` are in this run, at least one."""
        return max(1, int(count * _SHORT_SHARE)) if self._briefing.is_short else count

    async def wait(self, seconds: float) -> bool:
        """Wait so long, or until the attack has to end; whether it has to."""
        try:
            async with asyncio.timeout(seconds):
                await self._over.wait()
        except TimeoutError:
            pass
        return self.is_over

    def address(self, number: int) -> str:
        """The attackers' address with this number, from 0."""
        return str(_ATTACKERS[number % (_ATTACKERS.num_addresses - 2) + 1])

    def http(self, address: str, *, timeout_s: float = 30.0) -> aiohttp.ClientSession:
        """An HTTP client that comes from an address, with as many connections as it likes."""
        connector = aiohttp.TCPConnector(limit=0, local_addr=(address, 0))
        timeout = aiohttp.ClientTimeout(total=timeout_s)
        return aiohttp.ClientSession(connector=connector, timeout=timeout)

    async def websocket(
        self, address: str, make: Callable[[], _Listener]
    ) -> tuple[picows.WSTransport, _Listener]:
        """A websocket that comes from an address; it has said nothing yet."""
        transport, listener = await picows.ws_connect(
            make, self.ws_url, websocket_handshake_timeout=30, local_addr=(address, 0)
        )
        return transport, listener


class Quiz(msgspec.Struct, frozen=True):
    """How a quiz went for honest people. ``problems``: sentences; empty when all is right."""

    answers: int
    ack_ms_p50: float
    ack_ms_p99: float
    reconnects: int
    problems: list[str]


class Storm(msgspec.Struct, frozen=True):
    """How people got in. ``refused``: answers that told them to come again later."""

    joins: int
    per_s: float
    slowest_ms: float
    refused: int
    problems: list[str]


class Honest(msgspec.Struct, frozen=True):
    """Figures of honest people, before an attack or during it."""

    quiz: Quiz
    storm: Storm


class Evidence(NamedTuple):
    """What is known after a trial.

    Attributes:
        site: the live site, with the operator's powers.
        is_short: whether this was the short form.
        counts: what the attack counted; 0 for what it did not.
        seconds: how long the attack lasted from its full strength on.
        cpu_s: the attacker's own processor time.
        before, during: the honest people; no ``before`` in the short form.
        memory: what the product's processes held, before, at most during, and after.
        prepared: what the scenario's ``prepare`` has returned.
    """

    site: LiveSite
    is_short: bool
    counts: Counter[str]
    seconds: float
    cpu_s: float
    before: Honest | None
    during: Honest
    memory: Memory
    prepared: dict[str, Any]


class Claim(NamedTuple):
    """Something that must hold, in words, and whether it does."""

    text: str
    holds: bool


#: What a busy machine may add to a bound, seconds.
SLACK_S = 5.0


def closed_within(counts: Counter[str], what: str, life_ms_max: int) -> list[Claim]:
    """That none of what an attack has opened lived longer than it may, and a busy machine adds.

    Args:
        counts: has ``opened``, ``still open`` and ``longest life, ms``.
        what: is closed, in words.
        life_ms_max: after how long.
    """
    most_ms = life_ms_max + SLACK_S * 1000
    is_closed = counts["still open"] == 0 < counts["opened"]
    return [
        Claim(
            f"{what} is closed within {most_ms:.0f} ms",
            is_closed and counts["longest life, ms"] <= most_ms,
        )
    ]


def _prepare_nothing(_site: LiveSite) -> dict[str, Any]:
    return {}


class Scenario(NamedTuple):
    """One attack; see :mod:`tests.abuse`.

    Attributes:
        name: as the table shows it.
        attack: runs in the attacker's process until ``ground.is_over``.
        judge: what must hold beside the claims that all trials share.
        prepare: with the operator's powers, before the attack; returns what attackers know, as JSON.
        memory_growth_mb_max: by how much any one process may grow beyond its peak before.
        joins_ratio_min: honest joins a second during the attack, as a share of those before; None
            where the attack takes what joins need by its nature. Looked at in the long form.
    """

    name: str
    attack: Callable[[Ground], Awaitable[None]]
    judge: Callable[[Evidence], list[Claim]]
    prepare: Callable[[LiveSite], dict[str, Any]] = _prepare_nothing
    memory_growth_mb_max: float = 64.0
    joins_ratio_min: float | None = None
