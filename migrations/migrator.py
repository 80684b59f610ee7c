"""Applies ``NNNN_name.up.sql`` in order, undoes with ``NNNN_name.down.sql``.

Each migration runs in a transaction of its own, together with the note that it ran; all of them run
under one advisory lock, so two migrators at once do the work once. A file that was changed after it
ran is an error: a schema is what its files say.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import asyncpg

log = logging.getLogger(__name__)

#: Any number that no other user of the database takes for an advisory lock.
_LOCK_KEY = 0x52_41_59_51
_AWAY = (OSError, TimeoutError, asyncpg.PostgresConnectionError, asyncpg.CannotConnectNowError)
#: How long opening and closing a connection may take, and reading which steps ran, seconds.
_CONNECT_S_MAX, _CLOSE_S_MAX, _STATUS_S_MAX = 5.0, 2.0, 10.0
#: How long another migrator may hold the lock, and one step may take, seconds: a large table is
#: rewritten, or an index of it built.
_LOCK_S_MAX = _STEP_S_MAX = 3_600.0
_FILE = re.compile(r"^(\d{4})_(\w+)\.up\.sql$")
_FOLDER = Path(__file__).parent

_CREATE_NOTES = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    version    integer PRIMARY KEY,
    name       text NOT NULL,
    checksum   text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)
"""


class MigrationError(Exception):
    """A migration cannot be carried out; the message says which and why."""

    code = "migration_failed"


class SchemaMismatch(MigrationError):
    """The database's schema is not the one that this program was written for."""

    code = "schema_mismatch"


class Migration(NamedTuple):
    """One step of the schema."""

    version: int
    name: str
    up: str
    down: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the step up, hexadecimal."""
        return hashlib.sha256(self.up.encode()).hexdigest()


class MigrationStatus(NamedTuple):
    """One line of a status report."""

    version: int
    name: str
    applied: bool
    #: Empty when all is well; else what is wrong with it.
    problem: str


def load(folder: Path = _FOLDER) -> list[Migration]:
    """Read the migrations of a folder, in order.

    Raises:
        MigrationError: numbers with gaps or twice, or a step up without its step down.
    """
    found = []
    for path in sorted(folder.glob("*.up.sql")):
        match = _FILE.match(path.name)
        if match is None:
            raise MigrationError(f"{path.name}: a migration is named NNNN_name.up.sql")
        down = path.with_name(path.name.replace(".up.sql", ".down.sql"))
        if not down.exists():
            raise MigrationError(f"{path.name}: its way back, {down.name}, is missing")
        up = path.read_text("utf-8")
        found.append(Migration(int(match[1]), match[2], up, down.read_text("utf-8")))
    if [m.version for m in found] != list(range(1, len(found) + 1)):
        raise MigrationError("the migrations are not numbered 0001, 0002, … without gaps")
    return found


class Migrator:
    """Brings one database to a version.

    Args:
        url: a PostgreSQL address.
        folder: where the SQL files are.
    """

    def __init__(self, url: str, folder: Path = _FOLDER) -> None:
        self._url = url
        self._migrations = load(folder)

    async def up(self, to: int | None = None) -> list[Migration]:
        """Apply what is missing, up to and with version ``to``; return what was applied.

        Raises:
            MigrationError: a step failed (it and all later ones are not applied), or the database
                holds a step that this program does not know or whose file was changed.
        """
        done = []
        async with self._locked() as connection:
            applied = await self._applied(connection)
            self._compare(applied)
            for migration in self._migrations:
                if migration.version in applied or (to is not None and migration.version > to):
                    continue
                await self._run(connection, migration, migration.up, is_up=True)
                done.append(migration)
        return done

    async def down(self, to: int | None = None) -> list[Migration]:
        """Undo every step above version ``to`` (0: all), newest first; return what was undone.

        Without ``to``, the newest step alone.

        Raises:
            MigrationError: as for :meth:`up`.
        """
        done = []
        async with self._locked() as connection:
            applied = await self._applied(connection)
            self._compare(applied)
            if to is None:
                to = max(applied, default=0) - 1
            for migration in reversed(self._migrations):
                if migration.version > to and migration.version in applied:
                    await self._run(connection, migration, migration.down, is_up=False)
                    done.append(migration)
        return done

    async def status(self) -> list[MigrationStatus]:
        """Every known step, and every applied one that is not known."""
        async with _connected(self._url) as connection:
            applied = await self._applied(connection)
        known = {m.version: m for m in self._migrations}
        lines = [
            MigrationStatus(m.version, m.name, m.version in applied, _problem(m, applied))
            for m in self._migrations
        ]
        lines += [
            MigrationStatus(version, name, applied=True, problem="this program does not know it")
            for version, (name, _) in sorted(applied.items())
            if version not in known
        ]
        return lines

    async def _run(
        self,
        connection: asyncpg.Connection[asyncpg.Record],
        migration: Migration,
        sql: str,
        *,
        is_up: bool,
    ) -> None:
        label = f"{migration.version:04} {migration.name} {'up' if is_up else 'down'}"
        try:
            async with connection.transaction():
                await connection.execute(sql, timeout=_STEP_S_MAX)
                if is_up:
                    await connection.execute(
                        "INSERT INTO schema_migrations (version, name, checksum) VALUES ($1,$2,$3)",
                        migration.version,
                        migration.name,
                        migration.checksum,
                    )
                else:
                    await connection.execute(
                        "DELETE FROM schema_migrations WHERE version = $1", migration.version
                    )
        except asyncpg.PostgresError as error:
            raise MigrationError(
                f"migration {label} failed and was rolled back: {error}"
            ) from error
        except TimeoutError as error:
            raise MigrationError(
                f"migration {label} did not end within {_STEP_S_MAX:.0f} s; whether it ran is unknown"
            ) from error

    @asynccontextmanager
    async def _locked(self) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
        async with _connected(self._url) as connection:  # its end is the end of the lock
            lock = "SELECT pg_advisory_lock($1)"
            await connection.execute(lock, _LOCK_KEY, timeout=_LOCK_S_MAX)
            await connection.execute(_CREATE_NOTES)
            yield connection

    async def _applied(
        self, connection: asyncpg.Connection[asyncpg.Record]
    ) -> dict[int, tuple[str, str]]:
        try:
            rows = await connection.fetch("SELECT version, name, checksum FROM schema_migrations")
        except asyncpg.UndefinedTableError:
            return {}
        return {row["version"]: (row["name"], row["checksum"]) for row in rows}

    def _compare(self, applied: dict[int, tuple[str, str]]) -> None:
        known = {m.version: m for m in self._migrations}
        for version, (name, _) in sorted(applied.items()):
            if version not in known:
                raise SchemaMismatch(
                    f"the database has migration {version:04} {name}, which this program does not "
                    "know; run a program of that version or newer"
                )
            if problem := _problem(known[version], applied):
                raise SchemaMismatch(f"migration {version:04} {name}: {problem}")


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """A connection whose every wait has a bound, also when the server falls silent."""
    connection = await asyncpg.connect(url, timeout=_CONNECT_S_MAX, command_timeout=_STATUS_S_MAX)
    try:
        yield connection
    finally:
        with suppress(*_AWAY, asyncpg.InterfaceError):
            await connection.close(timeout=_CLOSE_S_MAX)


def _problem(migration: Migration, applied: dict[int, tuple[str, str]]) -> str:
    if migration.version in applied and applied[migration.version][1] != migration.checksum:
        return "its file was changed after it was applied; restore the file and add a new migration"
    return ""


async def check_schema(url: str, folder: Path = _FOLDER) -> None:
    """Return when the database has exactly this program's schema; services call it at their start.

    Raises:
        SchemaMismatch: it has not; the message says what to do.
    """
    lines = await Migrator(url, folder).status()
    for line in lines:
        if line.problem:
            raise SchemaMismatch(f"migration {line.version:04} {line.name}: {line.problem}")
    missing = [line for line in lines if not line.applied]
    if missing:
        names = ", ".join(f"{line.version:04} {line.name}" for line in missing)
        raise SchemaMismatch(f"the database lacks {names}; run `rayquiz migrate up` first")


async def check_schemas(urls: Sequence[str]) -> None:
    """Return when the first database, and every other one that is there, has this program's schema.

    Raises:
        SchemaMismatch: one has not; the message says which and what to do.
    """
    await check_schema(urls[0])
    for number, url in enumerate(urls[1:], 1):
        try:
            await check_schema(url)
        except SchemaMismatch as error:
            raise SchemaMismatch(f"primary {number}: {error}") from None
        except _AWAY as error:
            # What it has is away with it; what the others have is not.
            log.warning("action=schema_unknown primary=%d reason=%r", number, error)
