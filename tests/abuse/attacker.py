"""The attacker, in a process of its own: ``python -m tests.abuse.attacker a6_sockets_without_hello``.

It reads its :class:`~tests.abuse.scenario.Briefing`, says ``"at strength"`` when the scenario does,
attacks until its standard input is closed, and then says what it saw (:class:`Account`).
"""

from __future__ import annotations

import asyncio
import importlib
import os
import resource
import sys
import time

import msgspec
import uvloop

from tests.abuse.scenario import Briefing, Ground, Scenario

#: Attackers have machines of their own. Here they share the cores with those whom they attack, and so
#: their own work goes last: what is measured is what the product has to do for them.
_NICENESS = 19


class Account(msgspec.Struct, frozen=True):
    """What the attack saw. ``seconds``: from its full strength on; ``cpu_s``: its own work."""

    counts: dict[str, int]
    seconds: float
    cpu_s: float


def _say(value: object) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(value) + b"\n")
    sys.stdout.buffer.flush()


async def _attack(scenario: Scenario, briefing: Briefing) -> Account:
    over = asyncio.Event()
    strong_at = time.monotonic()

    def at_strength() -> None:
        nonlocal strong_at
        strong_at = time.monotonic()
        _say("at strength")

    def end() -> None:
        loop.remove_reader(sys.stdin.fileno())
        over.set()

    loop = asyncio.get_running_loop()
    loop.add_reader(sys.stdin.fileno(), end)  # nothing more is said: it is closed
    loop.call_later(briefing.seconds_max, over.set)
    ground = Ground(briefing, over, at_strength)
    await scenario.attack(ground)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return Account(
        dict(ground.counts), time.monotonic() - strong_at, usage.ru_utime + usage.ru_stime
    )


def main() -> None:
    """Attack once."""
    os.nice(_NICENESS)
    briefing = msgspec.json.decode(sys.stdin.buffer.readline(), type=Briefing)
    scenario = importlib.import_module(f"tests.abuse.{sys.argv[1]}").SCENARIO
    _say(uvloop.run(_attack(scenario, briefing)))


if __name__ == "__main__":
    main()
