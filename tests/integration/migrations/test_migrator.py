"""The Migrator on a real PostgreSQL, with the project's own migrations and with small ones."""

import asyncio
import re
import uuid

import asyncpg
import pytest
from typer.testing import CliRunner

from actors.postgres import create_pool
from actors.settings import Settings
from engine.model import Mode
from migrations import MigrationError, Migrator, SchemaMismatch, check_schema, check_schemas
from migrations.migrator import load
from serve_app.cli import app
from serve_app.replica import Replica
from tests.large_session import fill

#: Where what people did is kept.
_LOG = ("participants", "answers", "session_events")
#: What a schema is made of: columns, constraints, indexes; and every type, function and sequence.
SCHEMA = """
SELECT format('%s.%s %s %s %s', table_name, column_name, data_type, is_nullable, column_default)
FROM information_schema.columns
WHERE table_schema = 'public' AND table_name <> 'schema_migrations'
UNION ALL
SELECT format('%s %s %s', conrelid::regclass, conname, pg_get_constraintdef(oid))
FROM pg_constraint
WHERE connamespace = 'public'::regnamespace AND conrelid::regclass::text <> 'schema_migrations'
UNION ALL
SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename <> 'schema_migrations'
UNION ALL
SELECT format('type %s', typname) FROM pg_type
WHERE typnamespace = 'public'::regnamespace AND typrelid = 0 AND typelem = 0
UNION ALL
SELECT format('function %s', proname) FROM pg_proc WHERE pronamespace = 'public'::regnamespace
UNION ALL
SELECT format('relation %s %s', relkind, relname) FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relname NOT LIKE 'schema_migrations%'
ORDER BY 1
"""


@pytest.fixture
async def url(database_url):
    """An empty database of its own."""
    name = f"m_{uuid.uuid4().hex}"
    server = await asyncpg.connect(database_url)
    await server.execute(f"CREATE DATABASE {name}")
    yield database_url.replace("/rayquiz?", f"/{name}?")
    await server.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await server.close()


@pytest.fixture
def folder(tmp_path):
    """Two small migrations."""
    write(tmp_path, 1, "one", "CREATE TABLE one (n integer);", "DROP TABLE one;")
    write(tmp_path, 2, "two", "ALTER TABLE one ADD m integer;", "ALTER TABLE one DROP m;")
    return tmp_path


def write(folder, version, name, up, down):
    (folder / f"{version:04}_{name}.up.sql").write_text(up)
    (folder / f"{version:04}_{name}.down.sql").write_text(down)


async def ask(url, query):
    connection = await asyncpg.connect(url)
    try:
        return [row[0] for row in await connection.fetch(query)]
    finally:
        await connection.close()


def versions(migrations):
    return [migration.version for migration in migrations]


async def test_the_whole_way_up_down_and_up_again(url):
    every = versions(load())
    assert versions(await Migrator(url).up()) == every
    schema = await ask(url, SCHEMA)
    assert any(line.startswith("answers.points integer") for line in schema)
    assert versions(await Migrator(url).down(0)) == every[::-1]
    assert await ask(url, SCHEMA) == []
    assert versions(await Migrator(url).up()) == every
    assert await ask(url, SCHEMA) == schema


async def test_every_step_down_undoes_exactly_its_step_up(url):
    migrator = Migrator(url)
    for version in versions(load()):
        before = await ask(url, SCHEMA)
        assert versions(await migrator.up(version)) == [version]
        after = await ask(url, SCHEMA)
        assert versions(await migrator.down()) == [version]
        assert await ask(url, SCHEMA) == before
        await migrator.up(version)
        assert await ask(url, SCHEMA) == after


async def test_what_is_applied_is_not_applied_again(url, folder):
    migrator = Migrator(url, folder)
    assert versions(await migrator.up(1)) == [1]
    assert [(line.version, line.applied, line.problem) for line in await migrator.status()] == [
        (1, True, ""),
        (2, False, ""),
    ]
    assert versions(await migrator.up()) == [2]
    assert await migrator.up() == []


async def test_without_a_number_the_newest_step_alone_is_undone(url, folder):
    migrator = Migrator(url, folder)
    assert await migrator.down() == []
    await migrator.up()
    assert versions(await migrator.down()) == [2]
    assert versions(await migrator.down()) == [1]
    assert await migrator.down() == []


async def test_the_status_of_an_empty_database_changes_nothing_in_it(url, folder):
    assert [line.applied for line in await Migrator(url, folder).status()] == [False, False]
    assert await ask(url, "SELECT to_regclass('schema_migrations')::text") == [None]


async def test_two_at_once_do_the_work_once(url, folder):
    done = await asyncio.gather(*(Migrator(url, folder).up() for _ in range(4)))
    assert sorted(versions(done[0] + done[1] + done[2] + done[3])) == [1, 2]
    undone = await asyncio.gather(*(Migrator(url, folder).down(0) for _ in range(4)))
    assert sorted(versions(undone[0] + undone[1] + undone[2] + undone[3])) == [1, 2]


async def test_a_migrator_waits_for_another_one(url, folder):
    async with Migrator(url, folder)._locked():
        up = asyncio.create_task(Migrator(url, folder).up())
        waits = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        async with asyncio.timeout(20):
            while await ask(url, waits) == [0]:  # noqa: ASYNC110 - a server tells nobody
                await asyncio.sleep(0.01)
        assert not up.done()
    assert versions(await up) == [1, 2]


async def test_a_step_that_fails_is_rolled_back_and_those_before_it_stay(url, folder):
    write(folder, 3, "three", "CREATE TABLE three (); ALTER TABLE nobody ADD n integer;", "")
    with pytest.raises(MigrationError, match=r"0003 three up failed and was rolled back: .*nobody"):
        await Migrator(url, folder).up()
    assert [line.applied for line in await Migrator(url, folder).status()] == [True, True, False]
    assert await ask(url, "SELECT to_regclass('three')::text") == [None]


async def test_a_step_down_that_fails_is_rolled_back(url, folder):
    write(folder, 3, "three", "CREATE TABLE three ();", "DROP TABLE three; DROP TABLE nobody;")
    await Migrator(url, folder).up()
    with pytest.raises(MigrationError, match="0003 three down failed and was rolled back"):
        await Migrator(url, folder).down(0)
    assert [line.applied for line in await Migrator(url, folder).status()] == [True, True, True]
    assert await ask(url, "SELECT to_regclass('three')::text") == ["three"]


async def test_a_file_that_was_changed_after_it_ran_stops_everything(url, folder):
    await Migrator(url, folder).up(1)
    write(folder, 1, "one", "CREATE TABLE one (n bigint);", "DROP TABLE one;")
    migrator = Migrator(url, folder)
    for attempt in (migrator.up(), migrator.down(), check_schema(url, folder)):
        with pytest.raises(SchemaMismatch, match="0001 one: its file was changed"):
            await attempt
    assert [bool(line.problem) for line in await migrator.status()] == [True, False]
    assert [line.applied for line in await migrator.status()] == [True, False]


async def test_a_step_that_this_program_does_not_know_stops_everything(url, folder):
    await Migrator(url, folder).up()
    for path in folder.glob("0002_*"):
        path.unlink()
    migrator = Migrator(url, folder)
    for attempt in (migrator.up(), migrator.down(), check_schema(url, folder)):
        with pytest.raises(SchemaMismatch, match="0002 two"):
            await attempt
    assert [(line.version, line.applied, line.problem) for line in await migrator.status()] == [
        (1, True, ""),
        (2, True, "this program does not know it"),
    ]


async def test_a_schema_is_accepted_when_it_is_exactly_todays(url, folder):
    with pytest.raises(SchemaMismatch, match="lacks 0001 one, 0002 two; run `rayquiz migrate up`"):
        await check_schema(url, folder)
    await Migrator(url, folder).up(1)
    with pytest.raises(SchemaMismatch, match="lacks 0002 two"):
        await check_schema(url, folder)
    await Migrator(url, folder).up()
    await check_schema(url, folder)


async def test_a_service_refuses_to_start_on_a_schema_that_it_does_not_know(url, monkeypatch):
    settings = Settings(
        database_url=url,
        redis_url="unix:///nowhere",
        secret="a-secret-of-at-least-32-characters",
        public_url="http://localhost",
    )
    for name, value in settings.to_env().items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SchemaMismatch, match="rayquiz migrate up"):
        await Replica.create()
    await Migrator(url).up()
    await (await Replica.create()).close()


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["0001_one.up.sql"], "0001_one.down.sql, is missing"),
        (["0002_two.up.sql", "0002_two.down.sql"], "without gaps"),
        (["0001_a.up.sql", "0001_a.down.sql", "0001_b.up.sql", "0001_b.down.sql"], "without gaps"),
        (["one.up.sql", "one.down.sql"], "one.up.sql: a migration is named"),
    ],
)
def test_a_folder_that_is_no_sequence_is_refused(tmp_path, files, message):
    for name in files:
        (tmp_path / name).write_text("SELECT 1;")
    with pytest.raises(MigrationError, match=message):
        load(tmp_path)


async def test_of_several_primaries_the_first_must_be_there_and_none_may_differ(
    url, database_url, tmp_path, caplog
):
    away = f"postgresql://postgres@/rayquiz?host={tmp_path}"
    await check_schemas((database_url, away))
    assert "action=schema_unknown primary=1" in caplog.text
    with pytest.raises(OSError):
        await check_schemas((away, database_url))
    with pytest.raises(SchemaMismatch, match="primary 1: the database lacks 0001"):
        await check_schemas((database_url, url))


def test_the_command_migrates_every_primary(database_url, url, monkeypatch):
    monkeypatch.setenv("RAYQUIZ_DATABASE_URL", database_url)
    monkeypatch.setenv("RAYQUIZ_SHARD_URLS", url)

    def run(*arguments):
        return CliRunner().invoke(app, ["migrate", *arguments])

    status = run("status")
    assert status.exit_code == 1
    assert len(re.findall(r"0003 +shards", status.output)) == 2
    done = run("up")
    assert done.exit_code == 0
    assert "primary 0\nnothing to do" in done.output
    assert "primary 1\napplied 0001 sessions" in done.output
    assert run("status").exit_code == 0


async def test_the_step_for_tries_is_undone_and_done_again_under_what_is_stored(url, monkeypatch):
    """As operators do who go back to the version before it, and come again: nothing else is touched."""
    monkeypatch.setenv("RAYQUIZ_DATABASE_URL", url)
    await Migrator(url).up(7)
    async with await create_pool(url, size_max=1) as pool:
        await fill(pool, str(uuid.uuid4()), people=20, questions=3, mode=Mode.LIVE, finished=True)
        note = "INSERT INTO store_tries (digest, writer_id) VALUES ($1, $2)"
        await pool.execute(note, b"a message", uuid.uuid4())
    stored = {table: await ask(url, f"SELECT t::text FROM {table} t ORDER BY 1") for table in _LOG}
    assert [len(rows) for rows in stored.values()] == [20, 60, 7]

    async def run(*arguments):
        done = await asyncio.to_thread(CliRunner().invoke, app, ["migrate", *arguments])
        assert done.exit_code == 0, done.output
        for table, rows in stored.items():
            assert await ask(url, f"SELECT t::text FROM {table} t ORDER BY 1") == rows
        return done.output

    assert "undone 0007 store_tries" in await run("down", "--to", "6")
    assert await ask(url, "SELECT to_regclass('store_tries')::text") == [None]
    assert "applied 0007 store_tries" in await run("up", "--to", "7")
    assert await ask(url, "SELECT count(*) FROM store_tries") == [0]
