"""``make prove``: every long proof, on fresh seeds. Exit status 1 if one of them fails.

The seed of a run is printed first and last; ``make prove SEED=…`` repeats that run, ``ONLY=…`` a part
of it.
"""

from __future__ import annotations

import argparse
import secrets
import subprocess
import sys
import time
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

#: Seeds of the simulation that one run plays in each profile: some minutes on two cores.
_SEEDS = 5_000
#: Seeds are at most so large; they are typed and read by people.
_SEED_MAX = 10**9


class Proof(NamedTuple):
    """One proof, by the arguments for Python's ``-m``."""

    name: str
    module: str
    arguments: tuple[str, ...] = ()


def proofs(seed: int) -> tuple[Proof, ...]:
    """All proofs, the quick ones first."""
    laws = ("tests/unit", "-q", "-m", "hypothesis", "-n", "auto")
    seeded = ("--hypothesis-profile=long", f"--hypothesis-seed={seed}", f"--randomly-seed={seed}")
    seeds = ("--seeds", str(_SEEDS), "--from", str(seed), "--profile")
    return (
        Proof("laws", "pytest", (*laws, *seeded)),
        Proof("model", "tests.model"),
        Proof("simulation, cluster", "tests.simulation", (*seeds, "cluster")),
        Proof("simulation, embedded", "tests.simulation", (*seeds, "embedded")),
        Proof("simulation, sockets", "tests.simulation", (*seeds, "sockets")),
        Proof("large session", "tests.prove.large"),
        Proof(
            "large session, self-paced", "tests.prove.large", ("--people", "500", "--self-paced")
        ),
        Proof("chaos", "tests.chaos"),
        Proof("chaos, network", "tests.chaos", ("--network",)),
        Proof("chaos, nodes", "tests.chaos", ("--nodes",)),
        Proof("chaos, head", "tests.chaos", ("--head",)),
    )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="tests.prove", description=__doc__)
    parser.add_argument("--seed", type=int, help="repeat a run; otherwise a fresh one is drawn")
    parser.add_argument("--only", default="", help="proofs whose name contains this")
    options = parser.parse_args()
    console = Console(soft_wrap=True, highlight=False)
    seed = options.seed if options.seed is not None else 1 + secrets.randbelow(_SEED_MAX)
    console.print(f"seed {seed}; `make prove SEED={seed}` repeats this run")
    table = Table("proof", "minutes", "outcome")
    failed = []
    for proof in proofs(seed):
        if options.only not in proof.name:
            continue
        command = [sys.executable, "-m", proof.module, *proof.arguments]
        console.rule(f"{proof.name}: python -m {' '.join(command[2:])}")
        begun = time.monotonic()
        status = subprocess.run(command, check=False).returncode
        minutes = (time.monotonic() - begun) / 60
        table.add_row(
            proof.name, f"{minutes:.1f}", f"FAILED, status {status}" if status else "holds"
        )
        failed += [proof.name] if status else []
    console.print(table)
    if failed:
        console.print(f"failed: {', '.join(failed)}; `make prove SEED={seed}` repeats this run")
        sys.exit(1)


if __name__ == "__main__":
    main()
