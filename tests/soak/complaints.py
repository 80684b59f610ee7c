"""Warnings and errors of our own in the logs that a run leaves."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

#: Our log lines name an action; below WARNING nothing is written. Tracebacks are anybody's.
_OURS = re.compile(r"action=(\w+)|^(Traceback)")


def complaints_in(logs: Path) -> Counter[str]:
    """How often something was complained of, by an example of it with its numbers left out."""
    found: Counter[str] = Counter()
    examples: dict[str, str] = {}
    for path in sorted(logs.rglob("*")):
        # Ray tells the driver again what its workers have said.
        if path.suffix not in (".err", ".log") or not path.is_file():
            continue
        for line in path.read_text(errors="replace").splitlines():
            if match := _OURS.search(line):
                key = match[1] or f"{match[2]} in {path.name.split('-')[0]}"
                found[examples.setdefault(key, line.strip()[:200])] += 1
    return found
