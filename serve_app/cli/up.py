"""``rayquiz up``: the embedded profile, from nothing to a running system, until Ctrl-C."""

from __future__ import annotations

import signal
import time
from types import FrameType
from typing import Annotated

import typer

from engine.pins import group_pin
from serve_app.auth import Tokens
from serve_app.cli.console import DEFAULT_DATA, DataOption, errors, out
from serve_app.cli.first_session import FirstSession, first_session
from serve_app.embedded.stack import EmbeddedStack, Profile

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _Stop(BaseException):
    """A signal asked us to end. Not an Exception, so that nothing on the way swallows it."""


def up(
    data: DataOption = DEFAULT_DATA,
    port: Annotated[
        int,
        typer.Option(envvar="RAYQUIZ_HTTP_PORT", min=1, max=65535, help="Where people connect."),
    ] = 8000,
    lan: Annotated[bool, typer.Option("--lan", help="Let phones in the same network in.")] = False,
    profile: Annotated[
        Profile,
        typer.Option(
            help="cluster: RabbitMQ in front of the writers, and a database replica;"
            " external: the servers that the RAYQUIZ_… variables name, after `rayquiz migrate up`."
        ),
    ] = Profile.EMBEDDED,
) -> None:
    """Start everything on this machine, and stop it again on Ctrl-C."""
    started = time.monotonic()

    def progress(what: str) -> None:
        errors.print(f"[dim]{time.monotonic() - started:5.1f} s[/]  {what}", highlight=False)

    stack = EmbeddedStack(data, port, lan=lan, progress=progress, profile=profile)
    _on_signals(_raise_stop)
    try:
        stack.start()
        # Ray has put a handler of its own in the place of ours.
        _on_signals(_raise_stop)
        progress("the applications")
        from serve_app.deploy import deploy  # noqa: PLC0415 - imports ray, after its environment

        deploy(stack.settings, stack.local_url)
        progress("a session to begin with")
        session = first_session(stack.local_url, Tokens.of(stack.settings))
        progress("ready; Ctrl-C stops it")
        _print_addresses(stack, session)
        while True:
            signal.pause()
    except (_Stop, SystemExit):
        progress("stopping")
    finally:
        # A second Ctrl-C must not leave half of it running.
        _on_signals(signal.SIG_IGN)
        stack.stop()
    progress("stopped; the data is kept")


def _print_addresses(stack: EmbeddedStack, session: FirstSession) -> None:
    site = stack.settings.public_url
    operator = Tokens.of(stack.settings).operator()
    for name, value in (
        ("Host", f"{site}/host#token={session.host_token}"),
        ("Join", f"{site}/play?pin={session.pin}   (PIN {group_pin(session.pin)} at {site})"),
        ("Scoreboard", f"{site}/board?pin={session.pin}"),
        ("Quizzes", f"{site}/library#token={operator}"),
        ("Ray dashboard", stack.dashboard_url),
        ("Metrics", stack.metrics_url),
        ("Operator token", operator),
    ):
        out.print(f"[bold]{name:<16}[/]{value}", highlight=False)


def _raise_stop(_number: int, _frame: FrameType | None) -> None:
    raise _Stop


def _on_signals(handler: signal.Handlers | signal._HANDLER) -> None:
    for number in _SIGNALS:
        signal.signal(number, handler)
