"""``rayquiz demo``: simulated participants play a whole quiz over real websockets, and all is checked."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from actors.settings import Settings
from engine import limits
from engine.model import Quiz
from engine.pins import group_pin
from serve_app.auth import Tokens
from serve_app.cli.console import DEFAULT_DATA, DataOption, errors, out, print_json
from serve_app.cli.import_quiz import read_quiz
from serve_app.embedded.data_folder import DataFolder
from serve_app.embedded.errors import StartError
from serve_app.embedded.stack import EmbeddedStack
from serve_app.samples import welcome_quiz
from simulation.demo import Demo, DemoError, DemoReport

_ROWS_SHOWN = 10
_PICTURES_PER_S = 8


def demo(
    participants: Annotated[
        int, typer.Option(min=1, max=limits.PARTICIPANTS_MAX, help="How many take part.")
    ] = 50,
    questions: Annotated[
        int | None,
        typer.Option(min=1, help="Play the first so many questions; all if not given."),
    ] = None,
    quiz: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="A quiz file; a sample if not given."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Same seed, same players.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    data: DataOption = DEFAULT_DATA,
) -> None:
    """Play a whole quiz on the running Rayquiz, or on one that is started for it.

    Exit status 1 when an acknowledged answer is not stored exactly once, or when the scoreboards in
    memory, in the tables and of an independent scorer disagree.
    """
    chosen = _chosen(quiz, questions)
    try:
        with _site(data) as settings:
            token = Tokens.of(settings).operator()
            run = Demo(settings.public_url, token, chosen, participants, seed)
            report = asyncio.run(_play(run, is_live=not as_json and out.is_terminal))
    except DemoError as error:
        raise StartError(f"the demo could not be played to its end: {error}") from None
    if as_json:
        print_json(report)
    else:
        out.print(_verdict(report))
    if not report.is_right:
        raise typer.Exit(1)


def _chosen(file: Path | None, questions: int | None) -> Quiz:
    quiz = read_quiz(file).quiz if file is not None else welcome_quiz()
    if questions is None:
        return quiz
    if questions > len(quiz.questions):
        raise StartError(
            f"the quiz has {len(quiz.questions)} questions that can be used; "
            f"--questions {questions} is too many"
        )
    return msgspec.structs.replace(quiz, questions=quiz.questions[:questions])


@contextmanager
def _site(data: Path) -> Iterator[Settings]:
    """The running instance, or one that runs as long as the demo does."""
    settings = DataFolder(data).running()
    if settings is not None:
        yield settings
        return

    def progress(what: str) -> None:
        errors.print(f"[dim]starting[/]  {what}", highlight=False)

    with EmbeddedStack(data, 0, progress=progress) as stack:
        from serve_app.deploy import deploy  # noqa: PLC0415 - imports ray, after its environment

        progress("the applications")
        deploy(stack.settings, stack.local_url)
        yield stack.settings


async def _play(run: Demo, *, is_live: bool) -> DemoReport:
    logging.getLogger("httpx").setLevel(logging.WARNING)
    playing = asyncio.get_running_loop().create_task(run.play())
    if is_live:
        with Live(console=out, auto_refresh=False, transient=True) as screen:
            while not playing.done():
                screen.update(_picture(run), refresh=True)
                await asyncio.wait([playing], timeout=1 / _PICTURES_PER_S)
    return await playing


def _picture(run: Demo) -> RenderableType:
    view = run.view
    if view is None:
        return Text("opening a session …")
    pin, title = group_pin(run.pin), escape(view.title)
    head = f"[bold]{title}[/]  PIN {pin}  [dim]{view.phase}[/]  {run.joined} players"
    parts: list[RenderableType] = [Text.from_markup(head)]
    if view.question is not None:
        number = f"{view.question.question_index + 1}/{view.question_count}"
        parts.append(Text(f"{number}  {view.question.text}"))
        parts.append(Text(f"{view.answers_count} answers"))
    board = Table("rank", "nickname", "points", box=None)
    for row in view.scoreboard[:_ROWS_SHOWN]:
        board.add_row(str(row.rank), escape(row.nickname), f"{row.points} (+{row.gained})")
    if view.scoreboard:
        parts.append(board)
    ledger = run.ledger
    parts.append(
        Text(f"{len(ledger.sent)} answers sent, {len(ledger.acknowledged)} acknowledged", "dim")
    )
    return Group(*parts)


def _verdict(report: DemoReport) -> RenderableType:
    table = Table(show_header=False, box=None, pad_edge=False)
    rows = (
        ("participants", f"{report.participants}"),
        ("questions", f"{report.questions}"),
        ("answers sent", f"{report.answers_sent}"),
        ("answers acknowledged", f"{report.answers_acknowledged}"),
        ("answers stored", f"{report.answers_stored}"),
        ("acknowledged after, p50", f"{report.ack_latency_ms_p50:.1f} ms"),
        ("acknowledged after, p99", f"{report.ack_latency_ms_p99:.1f} ms"),
        ("reconnects", f"{report.reconnects}"),
        ("scoreboards agree", "yes" if report.scoreboards_agree else "[bold red]no[/]"),
        ("took", f"{report.seconds:.1f} s"),
    )
    for name, value in rows:
        table.add_row(name, value)
    problems = [Text(problem, "red") for problem in report.problems]
    verdict = (
        Text("Every acknowledged answer is stored once, and all scoreboards agree.", "green")
        if report.is_right
        else Text("Something is wrong.", "bold red")
    )
    return Group(table, *problems, verdict)
