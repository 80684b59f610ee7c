"""``rayquiz migrate``: the database's schema, up, down and as it is."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated

import typer
from rich.table import Table

from migrations import Migration, Migrator
from serve_app.cli.console import DEFAULT_DATA, DataOption, out
from serve_app.cli.database import database

app = typer.Typer(help="The database's schema.", no_args_is_help=True)


@app.command()
def up(
    data: DataOption = DEFAULT_DATA,
    to: Annotated[int | None, typer.Option(help="Last version to apply; all by default.")] = None,
) -> None:
    """Apply the migrations that are missing."""
    with database(data) as url:
        _report("applied", asyncio.run(Migrator(url).up(to)))


@app.command()
def down(
    data: DataOption = DEFAULT_DATA,
    to: Annotated[int | None, typer.Option(help="Version to go back to; 0 undoes all.")] = None,
) -> None:
    """Undo the newest migration, or all above a version. Data in what is undone is lost."""
    with database(data) as url:
        _report("undone", asyncio.run(Migrator(url).down(to)))


@app.command()
def status(data: DataOption = DEFAULT_DATA) -> None:
    """List the migrations. Exit status 1 when one is missing, unknown or was changed."""
    with database(data) as url:
        lines = asyncio.run(Migrator(url).status())
    table = Table("version", "name", "state", box=None)
    for line in lines:
        state = line.problem or ("applied" if line.applied else "missing")
        table.add_row(f"{line.version:04}", line.name, state)
    out.print(table)
    if any(line.problem or not line.applied for line in lines):
        raise typer.Exit(1)


def _report(verb: str, migrations: Sequence[Migration]) -> None:
    for migration in migrations:
        out.print(f"{verb} {migration.version:04} {migration.name}", highlight=False)
    if not migrations:
        out.print("nothing to do")
