"""The roles of a database: one that owns the schema, one that may only read and write rows.

``rayquiz migrate roles`` makes them, as a superuser; the migrator then works as the owner, the services
as the other one, and neither is a superuser. What the migrator makes later is granted by itself.
"""

from __future__ import annotations

from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

import asyncpg

from migrations.migrator import MigrationError

#: A role that may come in, and nothing more; %I and %L are PostgreSQL's own quoting.
_LOGIN = "ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS PASSWORD %L"
_STEPS = (
    "ALTER DATABASE {database} OWNER TO {owner}",
    "ALTER SCHEMA public OWNER TO {owner}",
    "REVOKE ALL ON SCHEMA public FROM PUBLIC",
    "GRANT USAGE ON SCHEMA public TO {services}",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {services}",
    (
        "ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA public"
        " GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {services}"
    ),
)


class Login(NamedTuple):
    """A role's name and password."""

    name: str
    password: str

    @classmethod
    def of(cls, url: str) -> Login:
        """What an address signs in with.

        Raises:
            MigrationError: it names no user, or no password.
        """
        parts = urlsplit(url)
        if not parts.username or not parts.password:
            raise MigrationError("roles: each address must have a user and a password")
        return cls(unquote(parts.username), unquote(parts.password))


async def make_roles(admin_url: str, owner: Login, services: Login, standby: Login | None) -> None:
    """Make the roles, or give those that are there these passwords and rights. Runs again harmlessly.

    Args:
        admin_url: the database, as a superuser.
        owner: of the database and all that is in it, also of what is there already.
        services: may read and write rows.
        standby: may copy the whole server, if there is a standby.

    Raises:
        MigrationError: the superuser is one of them, or the database refuses.
    """
    named = {login.name for login in (owner, services, standby) if login is not None}
    try:
        admin = await asyncpg.connect(admin_url, timeout=10)
        try:
            if await admin.fetchval("SELECT current_user") in named:
                raise MigrationError("roles: a superuser is none of the roles that it makes")
            async with admin.transaction():
                await _make(admin, owner, services, standby)
        finally:
            await admin.close()
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise MigrationError(f"roles: the database cannot be asked: {error}") from error


async def _make(
    admin: asyncpg.Connection[Any], owner: Login, services: Login, standby: Login | None
) -> None:
    for login, more in ((owner, ""), (services, ""), (standby, " REPLICATION")):
        if login is not None:
            known = await admin.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", login.name)
            verb = "ALTER " if known else "CREATE "
            await _run(admin, f"{verb}{_LOGIN}{more}", login.name, login.password)
    quoted = await admin.fetchrow(
        "SELECT quote_ident(current_database()) AS database, quote_ident($1) AS owner,"
        " quote_ident($2) AS services",
        owner.name,
        services.name,
    )
    assert quoted is not None
    tables = await admin.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    for table in tables:
        await _run(admin, "ALTER TABLE public.%I OWNER TO %I", table["tablename"], owner.name)
    for step in _STEPS:
        await admin.execute(step.format(**quoted))


async def _run(admin: asyncpg.Connection[Any], statement: str, *values: str) -> None:
    """Run a statement that takes no arguments, with PostgreSQL quoting what is put into it."""
    marks = ", ".join(f"${n}::text" for n in range(2, len(values) + 2))
    text = await admin.fetchval(f"SELECT format($1::text, {marks})", statement, *values)
    await admin.execute(text)
