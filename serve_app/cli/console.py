"""What the commands share: where they print, and the options that several have."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console

#: Results go to standard output, what happens meanwhile and errors to standard error.
out = Console(soft_wrap=True)
errors = Console(stderr=True, soft_wrap=True)

DataOption = Annotated[
    Path,
    typer.Option(
        "--data", envvar="RAYQUIZ_DATA_DIR", help="Folder of the database and the secret."
    ),
]
DEFAULT_DATA = Path(".data")


def print_json(found: object) -> None:
    """Print what a program reads: indented JSON on standard output."""
    sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(found)) + b"\n")


def complain(sentence: object) -> None:
    """Say on standard error what is wrong, as every command does."""
    errors.print(f"[bold red]rayquiz:[/] {sentence}", highlight=False)
