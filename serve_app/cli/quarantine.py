"""``rayquiz quarantine``: sessions that no actor could take over, and their way back."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from actors.quarantine import list_quarantined, retry_quarantined
from engine.ids import SessionId
from serve_app.cli.console import DEFAULT_DATA, DataOption, out, print_json
from serve_app.cli.database import run_on_database

app = typer.Typer(help="Sessions that were set aside because of a fault.", no_args_is_help=True)


@app.command(name="list")
def list_them(
    as_json: Annotated[bool, typer.Option("--json", help="Everything, as JSON.")] = False,
    data: DataOption = DEFAULT_DATA,
) -> None:
    """List the sessions that are set aside, oldest first. Exit status 1 when there is one."""
    found = run_on_database(data, list_quarantined)
    if as_json:
        print_json([session._asdict() for session in found])
    elif found:
        table = Table("since", "session", "PIN", "quiz", "tries", "reason", box=None)
        for session in found:
            table.add_row(
                session.quarantined_at,
                session.session_id,
                session.pin,
                session.title,
                str(session.tries),
                session.reason,
            )
        out.print(table)
    else:
        out.print("no session is quarantined")
    if found:
        raise typer.Exit(1)


@app.command()
def retry(
    session: Annotated[str, typer.Argument(help="The session's id, as the list shows it.")],
    data: DataOption = DEFAULT_DATA,
) -> None:
    """Let a session go on, once the reason is gone. Its people come back with their links."""
    run_on_database(data, lambda shards: retry_quarantined(shards, SessionId(session)))
    out.print(f"session {session} is live again", highlight=False)
