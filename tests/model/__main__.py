"""The model with more actors than the tests have time for: ``python -m tests.model``."""

from __future__ import annotations

import sys

from rich.console import Console

from tests.model.handover import Rules, explore


def main() -> None:
    """Command line."""
    console = Console(soft_wrap=True, highlight=False)
    found = explore(Rules(connections=(1, 1, 1)))
    console.print(f"three actors: {found.states:,} states, {found.problem or 'none is broken'}")
    for step in found.trace:
        console.print(f"  {step}")
    sys.exit(found.problem is not None)


if __name__ == "__main__":
    main()
