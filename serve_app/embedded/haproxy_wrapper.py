"""Stands in for the HAProxy program: corrects the configuration that Serve wrote, then becomes it.

Serve's template binds HAProxy's statistics and metrics to every interface, and no setting says
otherwise; and Serve ties the replicas' address to the front's, so that phones in the same network
could only be let in by opening the replicas too. And it has HAProxy answer 500, which tells clients
not to try again, where no replica can be reached for the moment. And it tells replicas nothing of
where a request came from. A few lines decide.

Run as a script, by Serve, through the small file that :func:`install` writes; standard library
only, because it starts once for every change of replicas.
"""

from __future__ import annotations

import ctypes
import os
import re
import shlex
import signal
import sys
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_ERROR_FILE = re.compile(r"^(\s*errorfile\s+\d+\s+)\S+", re.MULTILINE)
_DEFAULTS = re.compile(r"^defaults\b.*$", re.MULTILINE)
_BIND = re.compile(r"^(\s*bind\s+)(\S*):(\d+)(?!\S)", re.MULTILINE)


def install(folder: Path, binary: Path, front_port: int, front_host: str, away: bytes) -> Path:
    """Write the program that Serve starts in the place of HAProxy; return its path.

    Args:
        folder: where to write it.
        binary: the real HAProxy.
        front_port: the port that people connect to.
        front_host: where that port listens; every other port listens on loopback.
        away: the whole HTTP response of HAProxy when no replica can be reached, or none answers.
    """
    away_path = folder / "away.http"
    away_path.write_bytes(away)
    where = [front_host, str(front_port), str(away_path)]
    script = [sys.executable, "-IS", __file__, str(binary), *where]
    path = folder / "haproxy"
    path.write_text(f'#!/bin/sh\nexec {shlex.join(script)} "$@"\n')
    path.chmod(0o700)
    return path


def excuse(config: str, away: Path) -> str:
    """The configuration with another response in the place of each error of HAProxy's own.

    >>> excuse("    errorfile 503 /tmp/500.http", Path("/tmp/away.http"))
    '    errorfile 503 /tmp/away.http'
    """
    return _ERROR_FILE.sub(lambda match: f"{match[1]}{away}", config)


def name_clients(config: str) -> str:
    r"""The configuration with the client's address appended to each request's ``X-Forwarded-For``.

    What the client wrote there stays to the left of it; ``serve_app.client_address`` reads from the
    right.

    >>> name_clients("defaults\n    mode http")
    'defaults\n    option forwardfor\n    mode http'
    """
    return _DEFAULTS.sub(lambda match: f"{match[0]}\n    option forwardfor", config)


def confine(config: str, front_port: int, front_host: str) -> str:
    """The configuration with every ``bind`` on loopback, but the front's where it is wanted.

    >>> confine("  bind *:8404", 8000, "0.0.0.0")
    '  bind 127.0.0.1:8404'
    >>> confine("  bind 127.0.0.1:8000", 8000, "0.0.0.0")
    '  bind 0.0.0.0:8000'
    >>> confine("  bind [::]:9000 proto h2", 8000, "0.0.0.0")
    '  bind 127.0.0.1:9000 proto h2'
    """

    def place(match: re.Match[str]) -> str:
        host = front_host if int(match[3]) == front_port else "127.0.0.1"
        return f"{match[1]}{host}:{match[3]}"

    return _BIND.sub(place, config)


def main(argv: list[str]) -> None:
    """Correct the file after ``-f``, then become HAProxy with the arguments that Serve gave.

    The path stays the same, since Serve finds its HAProxy processes by it, and so does the process.
    """
    _, binary, front_host, front_port, away, *arguments = argv
    if "-f" in arguments:
        path = Path(arguments[arguments.index("-f") + 1])
        config = confine(path.read_text(), int(front_port), front_host)
        path.write_text(name_clients(excuse(config, Path(away))))
    # Serve leaves HAProxy running when its own process is killed; the next start would find the
    # port taken.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    os.execv(binary, [binary, *arguments])  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main(sys.argv)
