"""Plays seeds: ``--seed N [--verbose]``, ``--seeds COUNT [--from N]``, ``--ablations``, ``--find``.

``--without SAFEGUARD`` takes one out; ``--find SAFEGUARD`` looks for the first seed that misses it;
``--ablations`` takes each out in turn and prints a table. Seeds are played on all cores.
"""

from __future__ import annotations

import argparse
import functools
import multiprocessing
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress

from rich.console import Console
from rich.table import Table

from tests.simulation.ablations import ABLATIONS
from tests.simulation.cluster import SETTINGS
from tests.simulation.play import SEEDS_AT_ONCE, Outcome, simulate, simulate_some

#: Seeds among which a missing safeguard must be found; the rarest takes some hundreds.
_SEEDS_TO_FIND_MAX = 4_000


def main() -> int:
    """Play what was asked for; the exit status says whether everything held."""
    parser = argparse.ArgumentParser(prog="tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="play this seed alone")
    parser.add_argument("--verbose", action="store_true", help="tell what happens in it")
    parser.add_argument("--seeds", type=int, default=1_000, metavar="COUNT")
    parser.add_argument("--from", type=int, default=1, dest="first", metavar="N")
    parser.add_argument("--without", choices=sorted(ABLATIONS), default="", metavar="SAFEGUARD")
    parser.add_argument("--profile", choices=sorted(SETTINGS), default="cluster")
    parser.add_argument("--find", choices=sorted(ABLATIONS), metavar="SAFEGUARD")
    parser.add_argument("--ablations", action="store_true")
    asked = parser.parse_args()
    if asked.find:
        return _find(asked.find, asked.first)
    if asked.ablations:
        return _print_table(asked.first, asked.seeds)
    if asked.seed is not None:
        outcome = simulate(
            asked.seed, asked.without, asked.profile, tell=_tell if asked.verbose else None
        )
        _tell(str(outcome))
        return bool(outcome.violations)
    begun_s = time.perf_counter()
    played = failed = acknowledged = 0
    with suppress(KeyboardInterrupt):  # what was played until then counts
        for outcome in _outcomes(asked.first, asked.seeds, asked.without, asked.profile):
            played += 1
            acknowledged += outcome.acknowledged
            if outcome.violations:
                failed += 1
                _tell(str(outcome))
    took_s = time.perf_counter() - begun_s
    _tell(
        f"{played} seeds, {failed} with a violation, {acknowledged} acknowledgements, "
        f"{played / took_s:.0f} seeds/s"
    )
    return bool(failed)


def _tell(what: str) -> None:
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


def _outcomes(first: int, count: int, without: str, profile: str = "") -> Iterator[Outcome]:
    """What comes of each seed, in their order."""
    with multiprocessing.get_context("spawn").Pool() as pool:
        starts = range(first, first + count, SEEDS_AT_ONCE)
        play = functools.partial(simulate_some, without, profile, first + count)
        for outcomes in pool.imap(play, starts):
            yield from outcomes


def _find(name: str, first: int) -> int:
    for outcome in _outcomes(first, _SEEDS_TO_FIND_MAX, name):
        if outcome.violations:
            _tell(str(outcome))
            return 0
    _tell(f"none of {_SEEDS_TO_FIND_MAX} seeds from {first} on misses {name}")
    return 1


def _print_table(first: int, count: int) -> int:
    """For each safeguard, the share of seeds that miss it, and by what. Status 1 if none does."""
    table = Table("without", "found by", "first", "what breaks", "what is missing")
    table.title = f"{count} seeds from {first} on"
    missed = False
    for name, ablation in ABLATIONS.items():
        found: Counter[str] = Counter()
        seeds = []
        for outcome in _outcomes(first, count, name):
            if outcome.violations:
                seeds.append(outcome.seed)
                found[outcome.violations[0][0]] += 1
        missed = missed or not seeds
        by = "\n".join(f"{invariant} ({times})" for invariant, times in found.most_common())
        earliest = str(seeds[0]) if seeds else "none"
        table.add_row(name, f"{len(seeds) / count:.1%}", earliest, by, ablation.means)
    Console(width=150).print(table)
    return missed


if __name__ == "__main__":
    sys.exit(main())
