"""What must be true after a quiz, from three sides: the clients, the memory, the tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from engine.testing.auditor import audit
from simulation.player import Ledger

#: Problems of one kind that are told; the first ones say enough.
_SHOWN_MAX = 5

#: (participant_id, points, rank), best first.
Board = list[tuple[int, int, int]]


def check_answers(ledger: Ledger, results: Mapping[str, Any]) -> list[str]:
    """Say what is wrong between the clients' receipts and the stored answers; empty: nothing.

    Every acknowledged answer must be stored once, with the content of its receipt; every stored
    answer must have been sent.
    """
    stored: dict[tuple[int, int], Mapping[str, Any]] = {}
    problems = list(ledger.contradictions)
    counts = Counter((row["participant_id"], row["opening"]) for row in results["answers"])
    problems += [f"{key} is stored {count} times" for key, count in counts.items() if count > 1]
    for row in results["answers"]:
        stored[row["participant_id"], row["opening"]] = row
    for key, receipt in ledger.acknowledged.items():
        row = stored.get(key)
        if row is None:
            problems.append(f"{key} was acknowledged and is not stored")
        elif (tuple(row["choices"]), row["text"], row["elapsed_ms"]) != (
            receipt.choices,
            receipt.text,
            receipt.elapsed_ms,
        ):
            problems.append(f"{key} is stored otherwise than its receipt says")
    problems += [f"{key} is stored and was never sent" for key in stored if key not in ledger.sent]
    return _shown(problems)


def check_boards(memory: Sequence[Mapping[str, Any]], results: Mapping[str, Any]) -> list[str]:
    """Say where memory, tables and an independent scorer disagree; empty: nowhere."""
    people = results["participants"]
    audited = audit(
        results["quiz"],
        results["settings"],
        [person["participant_id"] for person in people],
        results["answers"],
        [person["participant_id"] for person in people if person["removed"]],
    )
    problems = []
    for name, board in (("memory", _board(memory)), ("tables", _board(results["scoreboard"]))):
        if len(board) != len(audited):
            problems.append(f"{name}: {len(board)} rows; the scorer has {len(audited)}")
        problems += [
            f"{name}: {ours}; the scorer has {theirs}"
            for ours, theirs in zip(board, audited, strict=False)
            if ours != theirs
        ]
    return _shown(problems)


def _board(rows: Sequence[Mapping[str, Any]]) -> Board:
    return [(row["participant_id"], row["points"], row["rank"]) for row in rows]


def _shown(problems: list[str]) -> list[str]:
    more = len(problems) - _SHOWN_MAX
    return problems if more <= 0 else [*problems[:_SHOWN_MAX], f"… and {more} more"]
