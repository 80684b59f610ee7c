"""``make chaos``: every fault in the middle of a burst, and what was lost. Exit status 1 if anything."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import NamedTuple
from unittest import mock
from urllib.parse import urlsplit

from rich.console import Console
from rich.table import Table

from engine.model import QuestionKind
from engine.testing.factories import make_question, make_quiz
from serve_app.embedded import stack as stack_module
from serve_app.embedded.stack import EmbeddedStack, Profile
from tests.acceptance.rounds import Round
from tests.chaos.faults import HEAD, LONG, NETWORK, NODES, SHORT, Fault
from tests.chaos.head import Head, RuntimeWithHead
from tests.chaos.network import POSTGRES_SOCKET, Wires
from tests.site import LiveSite

#: Long enough for every fault to heal within the question that it hits.
_QUIZ = make_quiz(*(make_question(QuestionKind.SINGLE, time_limit_ms=60_000) for _ in range(4)))
_HIT_OPENING = 2
_FLOW_S_MAX = 100.0
_POLL_S = 0.01
#: What Ray's head is told that it has: then every SessionActor runs on another node.
_NO_ROOM_AT_HEAD = '{"memory": 1}'


class Outcome(NamedTuple):
    """One line of the table. Seconds are NaN where nothing was left to flow."""

    fault: str
    acknowledged: int
    stored: int
    lost: int
    doubled: int
    answers_flow_s: float
    viewers_see_s: float
    problems: list[str]


def play(site: LiveSite, fault: Fault, participants: int) -> Outcome:
    """Play a quiz, do harm in its second question, and look what came of it."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        played = Round(site, pool)
        played.begin(participants, _QUIZ)
        # Looking takes a while, in which the burst would pass.
        played.wait_for_burst(_HIT_OPENING - 1)
        epoch = played.session_row()["epoch"]
        strike = fault.aim(played)
        played.wait_for_burst(_HIT_OPENING)
        hit_ns = time.monotonic_ns()
        strike()
        flow_s = _until_flow(played, hit_ns, fault)
        see_s = _until_seen(played, hit_ns)
        if fault.away_s:
            time.sleep(max(0.0, hit_ns / 1e9 + fault.away_s - time.monotonic()))
            # In this thread: a server ends with the one that starts it.
            fault.mend(played)
        report = played.report()
        has_moved = played.session_row()["epoch"] > epoch
    problems = list(report.problems)
    if fault.away_s and not flow_s < fault.away_s:
        problems.append(f"no answer was acknowledged for {fault.away_s:.0f} s")
    if fault.moves is True and not has_moved:
        problems.append("no other actor has taken the session over")
    if fault.moves is False and has_moved:
        problems.append("another actor has taken the session over, and none was lost")
    return Outcome(
        fault.name,
        report.answers_acknowledged,
        report.answers_stored,
        sum("is not stored" in problem for problem in report.problems),
        sum("times" in problem for problem in report.problems),
        flow_s,
        see_s,
        problems,
    )


def _until_flow(played: Round, hit_ns: int, fault: Fault) -> float:
    """Seconds from the hit until an answer is acknowledged that was sent long enough after it."""
    ledger = played.demo.ledger
    from_ns = hit_ns + fault.flows_from_s * 1e9
    deadline = time.monotonic() + (fault.away_s or _FLOW_S_MAX)
    while time.monotonic() < deadline:
        times = [
            at for key, at in ledger.acknowledged_at.copy().items() if ledger.sent[key] > from_ns
        ]
        if times:
            return (min(times) - hit_ns) / 1e9
        time.sleep(_POLL_S)
    return float("nan")


def _until_seen(played: Round, hit_ns: int) -> float:
    """Seconds from the hit until a viewer sees something newer than what it sees now."""
    deadline = time.monotonic() + _FLOW_S_MAX
    before = played.stamp()
    while time.monotonic() < deadline:
        if played.stamp() > before:
            return (time.monotonic_ns() - hit_ns) / 1e9
        time.sleep(_POLL_S)
    return float("nan")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="the faults that matter most")
    parser.add_argument("--participants", type=int, default=1_000)
    parser.add_argument("--only", nargs="*", default=[], help="faults whose name contains this")
    parser.add_argument("--nodes", action="store_true", help="lose nodes, with actors on others")
    parser.add_argument("--head", action="store_true", help="lose the head, whose state is kept")
    parser.add_argument("--network", action="store_true", help="cut the wires to the servers")
    options = parser.parse_args()
    console = Console(soft_wrap=True)
    chosen = [
        fault
        for fault in _faults(options)
        if not options.only or any(word in fault.name for word in options.only)
    ]
    outcomes = []
    if options.nodes:
        os.environ["RAY_OVERRIDE_RESOURCES"] = _NO_ROOM_AT_HEAD
    with (
        tempfile.TemporaryDirectory(prefix="rq-chaos-") as folder,
        ExitStack() as ends,
    ):
        wires = None
        if options.network:
            (wires_folder := Path(folder) / "wires").mkdir()
            wires = Wires(wires_folder)
            ends.callback(wires.end)
        head = None
        if options.head:
            (store := Path(folder) / "store").mkdir()
            head = Head(store)
            ends.callback(head.end)
            runtime = partial(RuntimeWithHead, head)
            ends.enter_context(mock.patch.object(stack_module, "RayRuntime", runtime))
        stack = EmbeddedStack(
            Path(folder), 0, settings=wires and wires.settings, profile=Profile.CLUSTER
        )
        if wires is not None:
            wires.lead_to(
                database=lambda: f"{stack.postgres.sockets}/{POSTGRES_SOCKET}",
                valkey=lambda: urlsplit(stack.valkey.url).path,
                broker=lambda: urlsplit(stack.rabbitmq.url).port,
            )
        ends.enter_context(stack)
        from serve_app.deploy import deploy  # noqa: PLC0415 - imports ray, after its environment

        deploy(stack.settings, stack.local_url)
        site = LiveSite(stack, Path(folder))
        site.wires, site.head = wires, head
        if options.nodes:
            import ray  # noqa: PLC0415 - as above

            from tests.chaos.nodes import OtherNodes  # noqa: PLC0415

            del os.environ["RAY_OVERRIDE_RESOURCES"]
            node = ray._private.worker.global_worker.node
            site.nodes = OtherNodes(node.gcs_address, node.get_temp_dir_path())
            ends.callback(site.nodes.end)
        for fault in chosen:
            if site.nodes is not None:
                site.nodes.fill_up()
            outcomes.append(play(site, fault, options.participants))
            console.print(_line(outcomes[-1]), highlight=False)
    console.print(_table(outcomes))
    if any(outcome.problems for outcome in outcomes):
        sys.exit(1)


def _faults(options: argparse.Namespace) -> tuple[Fault, ...]:
    if options.short:
        return SHORT
    if options.nodes:
        return NODES
    if options.head:
        return HEAD
    return NETWORK if options.network else LONG


def _line(outcome: Outcome) -> str:
    problems = "".join(f"\n  {problem}" for problem in outcome.problems)
    return (
        f"{outcome.fault}: {outcome.acknowledged} acknowledged, {outcome.stored} stored,"
        f" answers flow after {outcome.answers_flow_s:.1f} s, seen after"
        f" {outcome.viewers_see_s:.1f} s{problems}"
    )


def _table(outcomes: list[Outcome]) -> Table:
    table = Table(
        "fault", "acknowledged", "stored", "lost", "doubled", "answers flow, s", "seen, s"
    )
    for one in outcomes:
        table.add_row(
            one.fault,
            str(one.acknowledged),
            str(one.stored),
            str(one.lost),
            str(one.doubled),
            f"{one.answers_flow_s:.1f}",
            f"{one.viewers_see_s:.1f}",
        )
    return table


if __name__ == "__main__":
    main()
