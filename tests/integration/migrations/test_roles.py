"""Roles on a real PostgreSQL: the services do all that they do, and nothing more."""

import asyncpg
import pytest

from actors.library import QuizLibrary
from actors.sql import queries
from engine.testing.factories import make_quiz
from migrations import Login, MigrationError, Migrator, check_schema, make_roles

OWNER, SERVICES = Login("rayquiz_owner", "a'b\"c%"), Login("rayquiz_app", "b")
STANDBY = Login("rayquiz_standby", "c")


def as_role(url, role, database="rayquiz"):
    return url.replace("postgres@", f"{role.name}@").replace("/rayquiz?", f"/{database}?")


@pytest.fixture
async def roles(own_postgres):
    """A database with today's schema, whose roles were made after it, twice."""
    for _ in range(2):
        await make_roles(own_postgres.url, OWNER, SERVICES, STANDBY)
    return own_postgres.url


@pytest.fixture
async def services(roles):
    connection = await asyncpg.connect(as_role(roles, SERVICES))
    yield connection
    await connection.close()


async def test_every_statement_of_the_services_is_allowed(services):
    for statement in queries.values():
        # The rights are looked at, and nothing is done.
        await services.execute(f"EXPLAIN (GENERIC_PLAN) {statement}")


async def test_the_services_work(roles, services):
    await check_schema(as_role(roles, SERVICES))
    row = await QuizLibrary(services).create(make_quiz())
    assert (await QuizLibrary(services).page(1, None))[0][0].quiz_id == row.quiz_id


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE mine (n int)",
        "DROP TABLE answers",
        "ALTER TABLE answers ADD COLUMN n int",
        "TRUNCATE answers",
        "CREATE ROLE another SUPERUSER",
        "COPY answers FROM PROGRAM 'id'",
        "SELECT pg_read_file('/etc/passwd')",
        "SET ROLE postgres",
        "SET ROLE rayquiz_owner",
        "ALTER SYSTEM SET fsync = off",
    ],
)
async def test_what_the_services_may_not(services, statement):
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await services.execute(statement)


async def test_the_owner_migrates_and_what_it_makes_is_granted(roles):
    """An empty database: the roles first, then the schema."""
    admin = await asyncpg.connect(roles)
    await admin.execute("CREATE DATABASE fresh")
    await make_roles(roles.replace("/rayquiz?", "/fresh?"), OWNER, SERVICES, None)
    owner = as_role(roles, OWNER, "fresh")
    assert await Migrator(owner).up()
    await check_schema(as_role(roles, SERVICES, "fresh"))
    services = await asyncpg.connect(as_role(roles, SERVICES, "fresh"))
    for statement in queries.values():
        await services.execute(f"EXPLAIN (GENERIC_PLAN) {statement}")
    await services.close()
    await Migrator(owner).down(0)
    rows = await admin.fetch(
        "SELECT rolname, rolsuper, rolreplication FROM pg_roles WHERE rolname LIKE 'rayquiz%'"
    )
    assert {row["rolname"]: (row["rolsuper"], row["rolreplication"]) for row in rows} == {
        OWNER.name: (False, False),
        SERVICES.name: (False, False),
        STANDBY.name: (False, True),
    }
    await admin.close()


async def test_the_superuser_is_none_of_them(own_postgres):
    with pytest.raises(MigrationError, match="none of the roles"):
        await make_roles(own_postgres.url, Login("postgres", "x"), SERVICES, None)


@pytest.mark.parametrize("url", ["postgresql://host/db", "postgresql://name@host/db", "x"])
def test_an_address_without_user_or_password(url):
    with pytest.raises(MigrationError, match="a user and a password"):
        Login.of(url)
