"""``rayquiz dead-letters``: what no writer could store, and its way back."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.table import Table

from actors.dead_letters import list_dead_letters, replay_dead_letters
from engine.errors import Unavailable
from serve_app.cli.console import DEFAULT_DATA, DataOption, complain, out, print_json
from serve_app.embedded.data_folder import DataFolder

_T = TypeVar("_T")

app = typer.Typer(help="Answers that no writer could store.", no_args_is_help=True)


@app.command(name="list")
def list_them(
    as_json: Annotated[bool, typer.Option("--json", help="Everything, as JSON.")] = False,
    data: DataOption = DEFAULT_DATA,
) -> None:
    """List the dead letters, oldest first. Exit status 1 when there is one."""
    found = _on_broker(data, list_dead_letters)
    if as_json:
        print_json([letter._asdict() for letter in found])
    elif found:
        table = Table("died", "queue", "reason", "session", "epoch", "rows", "problem", box=None)
        for letter in found:
            table.add_row(
                letter.died_at,
                letter.queue,
                letter.reason,
                letter.session_id,
                str(letter.epoch),
                str(letter.rows),
                letter.problem,
            )
        out.print(table)
    else:
        out.print("no dead letters")
    if found:
        raise typer.Exit(1)


@app.command()
def replay(data: DataOption = DEFAULT_DATA) -> None:
    """Send the dead letters to the writers again, once their reason is gone. Doing it twice is safe."""
    count = _on_broker(data, replay_dead_letters)
    out.print(f"replayed {count}", highlight=False)


def _on_broker(data: Path, work: Callable[[str], Coroutine[Any, Any, _T]]) -> _T:
    """Do some work on the broker.

    Raises:
        typer.Exit: status 2, after a sentence that says what is wrong.
    """
    try:
        return asyncio.run(work(_broker(data)))
    except Unavailable as error:
        complain(error.detail)
        raise typer.Exit(2) from error


def _broker(data: Path) -> str:
    """The broker that the environment names, or of the instance that runs on a folder."""
    if url := os.environ.get("RAYQUIZ_RABBITMQ_URL"):
        return url
    settings = DataFolder(data).running()
    if settings is not None and settings.rabbitmq_url:
        return settings.rabbitmq_url
    raise Unavailable(
        f"no broker: nothing with one runs on {data}; name it in RAYQUIZ_RABBITMQ_URL"
    )
