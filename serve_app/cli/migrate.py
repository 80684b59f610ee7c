"""``rayquiz migrate``: the database's schema, up, down and as it is."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Sequence
from typing import Annotated

import typer
from rich.table import Table

from migrations import Login, Migration, MigrationError, Migrator, make_roles
from serve_app.cli.console import DEFAULT_DATA, DataOption, out
from serve_app.cli.database import database
from serve_app.embedded.errors import StartError

_ROLES = ("ADMIN", "OWNER", "DATABASE")

app = typer.Typer(
    help="The schema of the database, on each of its primaries.", no_args_is_help=True
)


@app.command()
def up(
    data: DataOption = DEFAULT_DATA,
    to: Annotated[int | None, typer.Option(help="Last version to apply; all by default.")] = None,
) -> None:
    """Apply the migrations that are missing."""
    with database(data) as urls:
        for url in _each(urls):
            _report("applied", asyncio.run(Migrator(url).up(to)))


@app.command()
def down(
    data: DataOption = DEFAULT_DATA,
    to: Annotated[int | None, typer.Option(help="Version to go back to; 0 undoes all.")] = None,
) -> None:
    """Undo the newest migration, or all above a version. Data in what is undone is lost."""
    with database(data) as urls:
        for url in _each(urls):
            _report("undone", asyncio.run(Migrator(url).down(to)))


@app.command()
def roles() -> None:
    """Make the roles of a database: an owner for migrations, and one with rows only for the services.

    RAYQUIZ_ADMIN_URL is the database as a superuser; RAYQUIZ_OWNER_URL, RAYQUIZ_DATABASE_URL and, where
    there is a standby, RAYQUIZ_STANDBY_URL name the roles with their passwords.
    """
    try:
        admin, owner, services = (os.environ[f"RAYQUIZ_{name}_URL"] for name in _ROLES)
        standby = os.environ.get("RAYQUIZ_STANDBY_URL")
        asyncio.run(
            make_roles(
                admin, Login.of(owner), Login.of(services), Login.of(standby) if standby else None
            )
        )
    except KeyError as error:
        raise StartError(
            f"{error.args[0]} is missing; see `rayquiz migrate roles --help`"
        ) from None
    except MigrationError as error:
        raise StartError(str(error)) from error
    out.print("the roles are there", highlight=False)


@app.command()
def status(data: DataOption = DEFAULT_DATA) -> None:
    """List the migrations. Exit status 1 when one is missing, unknown or was changed."""
    found = []
    with database(data) as urls:
        for url in _each(urls):
            lines = asyncio.run(Migrator(url).status())
            found += lines
            table = Table("version", "name", "state", box=None)
            for line in lines:
                state = line.problem or ("applied" if line.applied else "missing")
                table.add_row(f"{line.version:04}", line.name, state)
            out.print(table)
    if any(line.problem or not line.applied for line in found):
        raise typer.Exit(1)


def _each(urls: Sequence[str]) -> Iterator[str]:
    """Each primary, with a heading where there are several."""
    for number, url in enumerate(urls):
        if len(urls) > 1:
            out.print(f"primary {number}", highlight=False)
        yield url


def _report(verb: str, migrations: Sequence[Migration]) -> None:
    for migration in migrations:
        out.print(f"{verb} {migration.version:04} {migration.name}", highlight=False)
    if not migrations:
        out.print("nothing to do")
