"""``rayquiz import``: a file becomes a quiz in the library."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from actors.library import QuizLibrary
from engine.errors import QuizError
from engine.importers import FORMATS, ImportReport, import_quiz
from serve_app.cli.console import DEFAULT_DATA, DataOption, complain, errors, out
from serve_app.cli.database import run_on_database

#: What a file's ending says about its format.
_FORMAT_OF_SUFFIX: Final = {".json": "rayquiz", ".txt": "opentriviaqa"}

FileArgument = Annotated[Path, typer.Argument(help="The file.", exists=True, dir_okay=False)]
FormatOption = Annotated[
    str | None,
    typer.Option(
        "--format", help=f"One of {', '.join(FORMATS)}; by the file's ending if not given."
    ),
]


def import_file(
    file: FileArgument,
    title: Annotated[str, typer.Option(help="Title; the file's own, or its name, if empty.")] = "",
    format_name: FormatOption = None,
    data: DataOption = DEFAULT_DATA,
) -> None:
    """Put a quiz into the library. What could not be carried over is listed, item by item."""
    report = read_quiz(file, title, format_name)
    row = run_on_database(data, lambda shards: QuizLibrary(shards.catalogue).create(report.quiz))
    for skipped in report.skipped:
        errors.print(
            f"line {skipped.line}: skipped: {skipped.item}: {skipped.reason}", markup=False
        )
    for warned in report.warnings:
        errors.print(f"line {warned.line}: changed: {warned.item}: {warned.reason}", markup=False)
    out.print(
        f"{row.quiz_id}  {row.title}: {row.question_count} questions, "
        f"{len(report.skipped)} skipped, {len(report.warnings)} changed",
        markup=False,
        highlight=False,
    )


def read_quiz(file: Path, title: str = "", format_name: str | None = None) -> ImportReport:
    """Make a quiz of a file.

    Raises:
        typer.Exit: status 1, after a sentence that says what is wrong.
    """
    chosen = format_name or _FORMAT_OF_SUFFIX.get(file.suffix.lower())
    if chosen is None:
        complain(
            f"{file}: its ending does not tell its format; "
            f"give --format, one of {', '.join(FORMATS)}"
        )
        raise typer.Exit(1)
    if not title and chosen != "rayquiz":
        title = file.stem.replace("-", " ").replace("_", " ").capitalize()
    try:
        return import_quiz(file.read_bytes(), chosen, title)
    except QuizError as error:
        complain(f"{file}: {error.detail}")
        raise typer.Exit(1) from None
