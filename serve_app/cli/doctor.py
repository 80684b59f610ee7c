"""``rayquiz doctor``: what on this machine would keep Rayquiz from running, and what to do."""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated

import typer

from actors.postgres import LoneConnection
from actors.quarantine import QuarantinedSession, list_quarantined
from actors.read_replicas import catch_up_ms
from actors.shards import Shards
from engine.errors import Unavailable
from serve_app.cli.console import DEFAULT_DATA, DataOption, out
from serve_app.embedded.data_folder import DataFolder
from serve_app.embedded.errors import StartError
from serve_app.embedded.ports import LOOPBACK, PortBlock, require_free
from serve_app.embedded.postgres import server_binaries
from serve_app.embedded.ray_environment import haproxy_binary
from serve_app.embedded.valkey import server_binary

_PYTHON_MIN = (3, 11)
_OPEN_FILES_MIN = 4_096
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - Linux's name for it
_SHARED_MEMORY_BYTES_MIN = 192 * 1024**2
_PACKAGES = ("ray", "asyncpg", "fastapi", "msgspec", "picows", "redis", "uvicorn", "websockets")
_SOCKET_PATH_MAX = 107
#: The longest path of a Unix socket below the temporary folder; Ray's.
_SOCKET_SUFFIX = len(
    "/rq-xxxxxxxx/ray/session_2000-01-01_00-00-00_000000_0000000/sockets/plasma_store"
)


def doctor(
    data: DataOption = DEFAULT_DATA,
    port: Annotated[int, typer.Option(envvar="RAYQUIZ_HTTP_PORT", min=1, max=65535)] = 8000,
) -> None:
    """Check this machine. Exit status 1 when something must be mended first."""
    folder = DataFolder(data)
    settings = folder.running()
    checks: list[tuple[str, Callable[[], str]]] = [
        ("Python", _python),
        ("packages", _packages),
        ("PostgreSQL", lambda: _program([str(server_binaries() / "postgres"), "--version"])),
        ("Valkey", lambda: _program([str(server_binary()), "--version"])),
        ("HAProxy", lambda: _program([str(haproxy_binary()), "-v"])),
        ("open files", _open_files),
        ("shared memory", _shared_memory),
        ("temporary folder", _temporary_folder),
        ("ports", _ports),
    ]
    if settings is None:  # else it holds both itself
        checks += [
            (f"port {port}", lambda: _port(port)),
            ("data folder", lambda: _data_folder(folder)),
        ]
    else:
        checks.append(("sessions", partial(_sessions, settings.primaries)))
        checks += [
            (f"read replica {number}", partial(_replica, settings.database_url, url))
            for number, url in enumerate(settings.replicas, 1)
        ]
    failed = 0
    for name, check in checks:
        try:
            out.print(f"[green]ok[/]    {name}: {check()}", highlight=False)
        except (StartError, OSError) as error:
            failed += 1
            out.print(f"[red]wrong[/] {name}: {error}", highlight=False)
    if settings is not None:
        out.print(f"[green]ok[/]    Rayquiz is running on {folder.path}", highlight=False)
    if failed:
        raise typer.Exit(1)


def _python() -> str:
    if sys.version_info < _PYTHON_MIN:
        raise StartError(f"{sys.version.split()[0]} is too old; Python 3.11 or newer is needed")
    return sys.version.split()[0]


def _packages() -> str:
    found = []
    for name in _PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            raise StartError(f"`{name}` is missing; run `make run` again") from None
    return ", ".join(found)


def _program(command: list[str]) -> str:
    done = subprocess.run(  # noqa: S603 - programs of our own wheels
        command, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise StartError(
            f"{command[0]} does not run here ({(done.stderr or done.stdout).strip()}); its wheel "
            "is for another system: install Rayquiz on Linux with glibc, x86-64 or ARM64"
        )
    return done.stdout.splitlines()[0].strip()


def _open_files() -> str:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < _OPEN_FILES_MIN:
        raise StartError(
            f"a process may open {hard} files, {_OPEN_FILES_MIN} are needed; raise it with "
            f"`ulimit -n {_OPEN_FILES_MIN}` or in /etc/security/limits.conf"
        )
    return "no limit" if hard == resource.RLIM_INFINITY else f"up to {hard}"


def _shared_memory() -> str:
    free = shutil.disk_usage(_SHARED_MEMORY).free
    if free < _SHARED_MEMORY_BYTES_MIN:
        raise StartError(
            f"{_SHARED_MEMORY} has {free // 1024**2} MiB free, "
            f"{_SHARED_MEMORY_BYTES_MIN // 1024**2} are needed; in a container, start it with --shm-size=1g"
        )
    return f"{free // 1024**2} MiB free"


def _temporary_folder() -> str:
    folder = tempfile.gettempdir()
    if len(os.fsencode(folder)) + _SOCKET_SUFFIX > _SOCKET_PATH_MAX:
        raise StartError(f"the path {folder} is too long for sockets; set TMPDIR to a shorter one")
    return folder


def _ports() -> str:
    PortBlock.claim().release()
    return "enough are free"


def _port(port: int) -> str:
    require_free(LOOPBACK, port)
    return "free"


def _replica(primary_url: str, url: str) -> str:
    try:
        took_ms = asyncio.run(catch_up_ms(primary_url, url))
    except Unavailable as error:
        raise StartError(f"{error}; the primary answers in its place") from None
    return f"shows what is committed after {took_ms:.0f} ms"


def _sessions(primaries: Sequence[str]) -> str:
    async def look() -> list[QuarantinedSession]:
        connections = [LoneConnection(url) for url in primaries]
        try:
            return await list_quarantined(Shards(connections))
        finally:
            for connection in connections:
                await connection.close()

    try:
        found = asyncio.run(look())
    except Unavailable as error:
        raise StartError(error.detail) from None
    if found:
        raise StartError(
            "; ".join(f"{each.session_id} is quarantined ({each.reason})" for each in found)
            + "; see `rayquiz quarantine --help`"
        )
    return "none is quarantined"


def _data_folder(folder: DataFolder) -> str:
    if folder.path.exists():
        folder.claim()
        folder.release()
    existing = next(path for path in (folder.path, *folder.path.parents) if path.exists())
    if not os.access(existing, os.W_OK | os.X_OK):
        raise StartError(f"{existing} cannot be written; choose another folder with --data")
    free = shutil.disk_usage(existing).free
    return f"{folder.path} can be written, {free // 1024**2} MiB free"
