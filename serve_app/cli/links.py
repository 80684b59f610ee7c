"""``rayquiz host-link`` and ``rayquiz operator-link``: links that were lost, made again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from actors.postgres import Pool
from actors.settings import Settings, SettingsError
from actors.shards import Shards
from actors.sql import queries
from engine.errors import Conflict, NotFound
from engine.ids import Pin, SessionId
from serve_app.auth import Role, Tokens
from serve_app.cli.console import DEFAULT_DATA, DataOption, out
from serve_app.cli.database import run_on_database
from serve_app.embedded.data_folder import DataFolder
from serve_app.embedded.errors import StartError

_ID_CHARS = 36


def host_link(
    session: Annotated[str, typer.Argument(help="The session's id, or its PIN.")],
    data: DataOption = DEFAULT_DATA,
) -> None:
    """Print a link to the host's page of a session that is not over."""
    settings = _settings(data)
    session_id, pin = run_on_database(data, lambda shards: _find(shards, session))
    token = Tokens.of(settings).of_session(Role.HOST, session_id, pin)
    out.print(f"{settings.public_url}/host#token={token}", highlight=False, markup=False)


def operator_link(data: DataOption = DEFAULT_DATA) -> None:
    """Print a link to the library of quizzes, which opens sessions and steers all of them."""
    settings = _settings(data)
    token = Tokens.of(settings).operator()
    out.print(f"{settings.public_url}/library#token={token}", highlight=False, markup=False)


def _settings(data: Path) -> Settings:
    """Those of the running site, or of the environment.

    Raises:
        StartError: neither tells.
    """
    running = DataFolder(data).running()
    if running is not None:
        return running
    try:
        return Settings.from_env()
    except SettingsError as error:
        raise StartError(
            f"no Rayquiz runs on {data}, and the environment does not say where one is: {error}"
        ) from error


async def _find(shards: Shards[Pool], session: str) -> tuple[SessionId, Pin]:
    is_pin = len(session) < _ID_CHARS
    query = queries["session_by_pin" if is_pin else "session_by_id"]
    if is_pin:
        rows = await shards.catalogue.fetch(query, session)
    else:
        rows = await shards.of(SessionId(session)).fetch(query, session)
    if not rows:
        raise NotFound(f"session: {session} does not exist")
    if rows[0]["ended_at"] is not None:
        raise Conflict(f"session: {session} is over", "session_over")
    return SessionId(str(rows[0]["session_id"])), Pin(rows[0]["pin"])
