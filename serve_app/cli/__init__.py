"""The command ``rayquiz``. One module for each command; heavy imports stay inside them."""

from __future__ import annotations

import sys

import typer

from actors.logs import install_logs
from serve_app.cli import (
    dead_letters,
    demo,
    doctor,
    import_quiz,
    keys,
    links,
    migrate,
    quarantine,
    results,
    up,
)
from serve_app.cli.console import complain
from serve_app.cli.secret_files import read_secrets
from serve_app.embedded.errors import StartError

app = typer.Typer(
    name="rayquiz",
    help="A realtime quiz engine on the actor model.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,  # locals hold the secret
)
app.command(name="up")(up.up)
app.command(name="demo")(demo.demo)
app.command(name="import")(import_quiz.import_file)
app.command(name="results")(results.results)
app.command(name="doctor")(doctor.doctor)
app.command(name="host-link")(links.host_link)
app.command(name="operator-link")(links.operator_link)
app.add_typer(keys.app, name="keys")
app.add_typer(migrate.app, name="migrate")
app.add_typer(dead_letters.app, name="dead-letters")
app.add_typer(quarantine.app, name="quarantine")


def main() -> None:
    """Run the command line; what the operator can mend is one sentence and exit status 1."""
    install_logs()
    try:
        read_secrets()
        app()
    except StartError as error:
        complain(error)
        sys.exit(1)
