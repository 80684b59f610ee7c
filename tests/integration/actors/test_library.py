"""The library of quizzes in a real PostgreSQL."""

import asyncio

import pytest

from actors.library import QuizLibrary, make_cursor
from actors.postgres import create_pool
from actors.sql import queries
from engine.errors import Malformed, NotFound, Unavailable
from engine.model import Quiz
from engine.testing.factories import make_question, make_quiz

NOBODY = "00000000-0000-4000-8000-000000000001"


@pytest.fixture
def library(pool):
    return QuizLibrary(pool)


def titled(title, *questions):
    return Quiz(title, questions or (make_question(),))


async def test_a_quiz_comes_back_as_it_was_stored(library):
    row = await library.create(make_quiz())
    assert (row.title, row.question_count, row.version) == ("A quiz", 4, 1)
    assert await library.get(row.quiz_id) == (row, make_quiz())


async def test_an_update_makes_a_new_version_and_keeps_the_old_one(library):
    first = await library.create(titled("Old"))
    second = await library.update(first.quiz_id, titled("New", make_question(), make_question()))
    assert (second.quiz_id, second.version, second.question_count) == (first.quiz_id, 2, 2)
    assert await library.get(first.quiz_id) == (
        second, titled("New", make_question(), make_question())
    )  # fmt: skip
    assert await library.get(first.quiz_id, version=1) == (first, titled("Old"))
    with pytest.raises(NotFound):
        await library.get(first.quiz_id, version=3)


async def test_updates_at_once_get_versions_of_their_own(library):
    quiz_id = (await library.create(titled("t"))).quiz_id
    rows = await asyncio.gather(*(library.update(quiz_id, titled(f"t{n}")) for n in range(8)))
    assert sorted(row.version for row in rows) == list(range(2, 10))
    for row in rows:
        assert (await library.get(quiz_id, row.version))[1].title == row.title


async def test_pages_hold_every_quiz_once_newest_first(library, pool):
    for n in range(7):
        await library.create(titled(f"quiz {n}"))
    # Three in the same instant: only the id tells them apart.
    await pool.execute(
        "UPDATE quizzes SET created_at = '2026-01-01' WHERE title IN ('quiz 2', 'quiz 3', 'quiz 4')"
    )
    seen, cursor = [], None
    while True:
        rows, cursor = await library.page(2, cursor)
        seen += rows
        if cursor is None:
            break
        assert len(rows) == 2
    assert len({row.quiz_id for row in seen}) == len(seen) == 7
    assert seen == sorted(seen, key=lambda row: (row.created_at, row.quiz_id), reverse=True)


async def test_a_quiz_that_is_made_meanwhile_does_not_disturb_the_pages(library):
    for n in range(4):
        await library.create(titled(f"quiz {n}"))
    first, cursor = await library.page(2, None)
    await library.create(titled("newer"))
    second, _ = await library.page(2, cursor)
    assert [row.title for row in first + second] == ["quiz 3", "quiz 2", "quiz 1", "quiz 0"]


async def test_a_deleted_quiz_is_gone_and_its_versions_stay(library, pool):
    row = await library.create(titled("t"))
    await library.delete(row.quiz_id)
    assert await library.page(10, None) == ([], None)
    assert await pool.fetchval("SELECT count(*) FROM quiz_versions") == 1
    for attempt in (
        library.get(row.quiz_id),
        library.get(row.quiz_id, 1),
        library.update(row.quiz_id, titled("again")),
        library.delete(row.quiz_id),
    ):
        with pytest.raises(NotFound):
            await attempt


@pytest.mark.parametrize("quiz_id", [NOBODY, "", "x", "1; DROP TABLE quizzes", "\0"])
async def test_an_id_of_nothing_is_not_found(library, quiz_id):
    for attempt in (library.get(quiz_id), library.delete(quiz_id)):
        with pytest.raises(NotFound):
            await attempt


async def test_what_is_no_quiz_and_no_cursor_is_refused(library):
    with pytest.raises(Malformed):
        await library.create(titled(""))
    with pytest.raises(Malformed):
        await library.page(10, "somewhere")
    empty = await library.page(
        10, make_cursor((await library.create(make_quiz())).created_at, NOBODY)
    )
    assert empty == ([], None)


async def test_a_database_that_is_away_is_said_to_be(tmp_path):
    pool = await create_pool(f"postgresql://nobody@/nothing?host={tmp_path}", size_max=1)
    with pytest.raises(Unavailable):
        await QuizLibrary(pool).page(1, None)
    await pool.close()


async def test_the_listing_reads_its_index(library, pool):
    await pool.execute(
        "INSERT INTO quizzes (quiz_id, title, question_count, version, created_at)"
        " SELECT gen_random_uuid(), 't', 1, 1, now() - n * interval '1 minute'"
        " FROM generate_series(1, 5000) AS n"
    )
    await pool.execute("ANALYZE quizzes")
    rows, cursor = await library.page(20, None)
    plan = await explain(pool, "list_quizzes", 20, rows[-1].created_at, rows[-1].quiz_id)
    assert "quizzes_listing" in plan
    assert "Seq Scan" not in plan
    assert cursor is not None


async def explain(pool, name, *args):
    return "\n".join(row[0] for row in await pool.fetch(f"EXPLAIN {queries[name]}", *args))
