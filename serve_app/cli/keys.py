"""``rayquiz keys``: the keys that sign the tokens, changed while everybody plays on."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from actors.settings import SettingsError
from engine import limits
from serve_app.cli.console import DEFAULT_DATA, DataOption, out
from serve_app.embedded.data_folder import DataFolder, write_private
from serve_app.embedded.errors import StartError
from serve_app.keys import Key, Keyring, encode_keys, read_keys, rotated

app = typer.Typer(help="The keys that sign the tokens.", no_args_is_help=True)

FileOption = Annotated[
    Path | None,
    typer.Option(
        "--file",
        envvar="RAYQUIZ_KEYS_FILE",
        help="The file of keys; the data folder's if not given.",
    ),
]


@app.command()
def rotate(
    leaked: Annotated[
        bool,
        typer.Option(
            "--leaked",
            help="Believe the former keys no longer: all links and places end, and are made again.",
        ),
    ] = False,
    file: FileOption = None,
    data: DataOption = DEFAULT_DATA,
) -> None:
    """Add a key that signs from now on. Nobody is cut off, and nothing has to be started again.

    Every process reads the file again within seconds. What the former key has signed is believed for
    as long as it lives.
    """
    path = _file(file, data)
    try:
        keys = rotated(read_keys(path), leaked=leaked)
    except SettingsError as error:
        raise StartError(str(error)) from error
    write_private(path, encode_keys(keys))
    former = "the former end then" if leaked else "the former are believed as long as their tokens"
    out.print(
        f"{path}: key {keys[-1].key_id} signs in {limits.KEY_SETTLE_S} s; {former}",
        highlight=False,
        markup=False,
    )


@app.command(name="list")
def list_keys(file: FileOption = None, data: DataOption = DEFAULT_DATA) -> None:
    """List the keys by their ids, which tell nothing about them."""
    path = _file(file, data)
    try:
        keys = read_keys(path)
    except SettingsError as error:
        raise StartError(str(error)) from error
    table = Table("key", "state", "believed until, UTC", box=None)
    signing = Keyring(keys).signing()
    for key in keys:
        table.add_row(key.key_id, _state(key, signing), _until(key))
    out.print(table)


def _file(file: Path | None, data: Path) -> Path:
    return file if file is not None else DataFolder(data).keys


def _state(key: Key, signing: Key) -> str:
    now = time.time()
    if key.ends_s() <= now:
        return "over"
    if key == signing:
        return "signs"
    return "will sign" if key.signs_from > now else "believed"


def _until(key: Key) -> str:
    if key.believed_until is None:
        return "-"
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(key.believed_until))
