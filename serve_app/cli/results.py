"""``rayquiz results``: what was played, from the tables."""

from __future__ import annotations

import csv
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, TypeVar

import typer
from rich.table import Table
from rich.text import Text

from actors.played import AnswerRow, Overview, PlayedSession
from actors.postgres import Database, Pool
from actors.results import ResultsReader, SessionRow
from actors.shards import Shards
from engine import limits
from engine.ids import SessionId
from engine.model import QuestionKind
from engine.pins import group_pin
from serve_app.cli.console import DEFAULT_DATA, DataOption, out, print_json
from serve_app.cli.database import run_on_database
from serve_app.results_files import harmless, json_file

_T = TypeVar("_T")


def results(
    session: Annotated[
        str | None, typer.Argument(help="A session's id; without one, the newest are listed.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Everything, as JSON.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="One line for each answer.")] = False,
    leave_out: Annotated[
        bool,
        typer.Option(
            "--leave-out-too-fast",
            help=f"Without answers that came within less than {limits.HUMAN_MS_MIN} ms.",
        ),
    ] = False,
    data: DataOption = DEFAULT_DATA,
) -> None:
    """Show the results of a session, or list the sessions."""
    if session is None:
        rows, _ = run_on_database(
            data, lambda shards: ResultsReader(shards.catalogue).page(limits.LISTING_ROWS_MAX, None)
        )
        if as_json:
            print_json([row._asdict() for row in rows])
        else:
            out.print(_listing(rows))
        return
    session_id = SessionId(session)
    show = _print_json if as_json else _print_csv if as_csv else _print_tables

    async def read_and_show(shards: Shards[Pool]) -> None:
        database = shards.of(session_id)

        async def read(work: Callable[[Database], Awaitable[_T]]) -> _T:
            return await work(database)

        await show(PlayedSession(session_id, read, leave_out_too_fast=leave_out))

    run_on_database(data, read_and_show)


async def _print_json(session: PlayedSession) -> None:
    async for piece in json_file(session):
        sys.stdout.buffer.write(piece)


async def _print_csv(session: PlayedSession) -> None:
    """Print the answers of those who are still in: the removed stand on no scoreboard either."""
    found = await session.overview()
    names = {
        person.participant_id: person.nickname
        for person in found.participants
        if not person.removed
    }
    lines = csv.writer(sys.stdout)
    lines.writerow(
        [
            "opening",
            "question",
            "participant_id",
            "nickname",
            "answer",
            "correct",
            "elapsed_ms",
            "points",
            "too_fast",
        ]
    )
    async for answers in session.answers():
        lines.writerows(_line(found, names, a) for a in answers if a.participant_id in names)


def _line(found: Overview, names: dict[int, str], answer: AnswerRow) -> tuple[object, ...]:
    question = found.quiz.questions[answer.question_index]
    said = answer.text or " | ".join(question.choices[index] for index in answer.choices)
    return (
        answer.opening,
        question.text,
        answer.participant_id,
        harmless(names[answer.participant_id]),
        harmless(said),
        answer.correct,
        answer.elapsed_ms,
        answer.points,
        answer.too_fast,
    )


def _listing(rows: Sequence[SessionRow]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    # All but the title are needed whole: ids are copied from here.
    for name, width in (
        ("session", 36),
        ("PIN", limits.PIN_LONG_DIGITS + 1),
        ("opened, UTC", 16),
        ("state", 8),
    ):
        table.add_column(name, no_wrap=True, min_width=width)
    table.add_column("quiz", overflow="ellipsis", no_wrap=True)
    for row in rows:
        state = "live" if row.finished_at is None else "finished"
        opened = f"{row.created_at:%Y-%m-%d %H:%M}"
        table.add_row(row.session_id, group_pin(row.pin), opened, state, Text(row.title))
    return table


async def _print_tables(session: PlayedSession) -> None:
    found = await session.overview()
    state = "cancelled" if found.cancelled else "finished" if found.finished_at else "not finished"
    out.print(f"{found.title} ({state})", markup=False, style="bold")
    if found.leaves_out_too_fast:
        out.print(f"without answers within less than {limits.HUMAN_MS_MIN} ms")
    board = Table("rank", "nickname", "points", "right", "answered", "too fast", box=None)
    for row in found.scoreboard:
        board.add_row(
            str(row.rank),
            Text(row.nickname),
            str(row.points),
            str(row.correct),
            str(row.answered),
            str(row.too_fast or ""),
        )
    out.print(board)
    questions = Table("question", "", "answers", "right", "distribution", box=None)
    for opening in found.openings:
        question = found.quiz.questions[opening.question_index]
        labels = ("right", "wrong") if question.kind is QuestionKind.TYPED else question.choices
        shares = zip(labels, opening.distribution, strict=True)
        questions.add_row(
            str(opening.opening),
            Text(question.text),
            str(opening.answered),
            str(opening.correct),
            Text(", ".join(f"{label}: {count}" for label, count in shares)),
        )
    out.print(questions)
