"""``make abuse``: every attack beside a quiz of honest people. Exit status 1 if a claim fails."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from serve_app.embedded.stack import EmbeddedStack
from tests.abuse.scenario import Honest
from tests.abuse.trial import LONG, SHORT, Trial, run, scenarios
from tests.benchmarks.site import machine
from tests.site import LiveSite

#: The actors of sessions that are over leave soon.
_LINGER_MS = 20_000
#: The table does not fit a narrow terminal, and is kept in files as well.
_COLUMNS = 150


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="the form that is run by make test")
    parser.add_argument("--only", nargs="*", default=[], help="modules whose name contains this")
    options = parser.parse_args()
    console = Console(soft_wrap=True, highlight=False, width=_COLUMNS)
    console.print(f"attacks beside 100 honest people, {machine()}")
    trials = []
    with (
        tempfile.TemporaryDirectory(prefix="rq-abuse-") as folder,
        EmbeddedStack(Path(folder), 0, settings={"linger_ms": _LINGER_MS}) as stack,
    ):
        from serve_app.deploy import deploy  # noqa: PLC0415 - imports ray, after its environment

        deploy(stack.settings, stack.local_url)
        site = LiveSite(stack, Path(folder))
        for module in scenarios():
            if not options.only or any(word in module for word in options.only):
                trials.append(run(site, module, SHORT if options.short else LONG))
                console.print(_told(trials[-1]))
    console.print(_table(trials))
    if any(trial.broken for trial in trials):
        sys.exit(1)


def _told(trial: Trial) -> str:
    """The attack and each claim, a line each."""
    evidence = trial.evidence
    saw = ", ".join(f"{what}: {count:,}" for what, count in sorted(evidence.counts.items()))
    head = f"{trial.scenario.name}: {evidence.seconds:.0f} s, {saw}; "
    lines = [f"{head}the attacker used {evidence.cpu_s / evidence.seconds:.2f} cores"]
    lines += [f"  {'holds' if one.holds else 'BROKEN'}: {one.text}" for one in trial.claims]
    for most, process in evidence.memory.growth()[:3]:
        lines.append(
            f"  {process.kind}: {process.before:.0f} MB before, {process.peak:.0f} at most,"
            f" {process.after:.0f} after ({most:+.0f})"
        )
    return "\n".join(lines)


def _table(trials: list[Trial]) -> Table:
    table = Table(
        "attack",
        "honest p99 before, ms",
        "during",
        "ratio",
        "joins/s before",
        "during",
        "ratio",
        "memory before, MB",
        "peak",
        "after",
        "holds",
    )
    for scenario, evidence, claims in trials:
        before, during, memory = evidence.before, evidence.during, evidence.memory
        broken = sum(not claim.holds for claim in claims)
        table.add_row(
            scenario.name,
            *_beside(before, during),
            f"{memory.before:.0f}",
            f"{memory.peak:.0f}",
            f"{memory.after:.0f}",
            f"{len(claims) - broken} of {len(claims)}",
        )
    return table


def _beside(before: Honest | None, during: Honest) -> list[str]:
    p99, per_s = during.quiz.ack_ms_p99, during.storm.per_s
    if before is None:
        return ["", f"{p99:.0f}", "", "", f"{per_s:.0f}", ""]
    p99_before, per_s_before = before.quiz.ack_ms_p99, before.storm.per_s
    return [
        f"{p99_before:.0f}",
        f"{p99:.0f}",
        f"{p99 / p99_before:.2f}",
        f"{per_s_before:.0f}",
        f"{per_s:.0f}",
        f"{per_s / per_s_before:.2f}",
    ]


if __name__ == "__main__":
    main()
