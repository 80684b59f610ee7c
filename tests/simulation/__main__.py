"""Plays seeds: ``python -m tests.simulation --seed N [--verbose]`` or ``--seeds COUNT [--from N]``."""

from __future__ import annotations

import argparse
import gc
import sys
import time

from tests.simulation.ablations import ABLATIONS
from tests.simulation.play import simulate

#: The cycles that seeds leave behind are collected after so many.
_COLLECT_EVERY = 20


def main() -> int:
    """Play what was asked for; the exit status says whether everything held."""
    parser = argparse.ArgumentParser(prog="tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="play this seed alone")
    parser.add_argument("--verbose", action="store_true", help="tell what happens in it")
    parser.add_argument("--seeds", type=int, default=1_000, metavar="COUNT")
    parser.add_argument("--from", type=int, default=1, dest="first", metavar="N")
    parser.add_argument("--without", choices=sorted(ABLATIONS), default="", metavar="SAFEGUARD")
    asked = parser.parse_args()
    if asked.seed is not None:
        outcome = simulate(asked.seed, asked.without, is_verbose=asked.verbose)
        print(outcome)
        return bool(outcome.violations)
    failed = 0
    begun_s = time.perf_counter()
    used_s = time.process_time()
    for seed in range(asked.first, asked.first + asked.seeds):
        outcome = simulate(seed, asked.without)
        if outcome.violations:
            failed += 1
            print(outcome, flush=True)
        if seed % _COLLECT_EVERY == 0:
            gc.collect()
    took_s, used_s = time.perf_counter() - begun_s, time.process_time() - used_s
    print(
        f"{asked.seeds} seeds, {failed} with a violation, "
        f"{asked.seeds / took_s:.0f} seeds/s ({asked.seeds / used_s:.0f} per second of CPU)"
    )
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
