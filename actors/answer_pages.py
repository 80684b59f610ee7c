"""A session's stored answers in pages of bounded size, each read by a statement of its own.

How many answers each opening has is asked first. So a page names exactly the rows that it has, and
costs what they cost, whatever plan the server chooses: a page of the form ``ORDER BY … LIMIT`` reads
and sorts the whole session each time while the server takes the session for a small one, which it does
until its statistics catch up.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Sequence
from typing import NamedTuple, Protocol

import asyncpg

from actors.sql import queries
from engine import limits
from engine.ids import SessionId


class OpeningCount(NamedTuple):
    """How many answers of an opening are stored, and the highest participant among them."""

    opening_no: int
    answers: int
    last_participant: int


class Page(NamedTuple):
    """All answers of some openings, by some participants: at most ``READ_PAGE_ROWS``. Both ends count."""

    first_opening: int
    last_opening: int
    first_participant: int
    last_participant: int


class Fetch(Protocol):
    """Runs a statement."""

    async def __call__(self, query: str, /, *args: object) -> list[asyncpg.Record]:
        """Return its rows."""


async def count_answers(fetch: Fetch, session_id: SessionId) -> list[OpeningCount]:
    """The openings that have answers, in their order."""
    rows = await fetch(queries["answers_by_opening"], session_id)
    return [OpeningCount(*row.values()) for row in rows]


def pages_of(counts: Sequence[OpeningCount]) -> Iterator[Page]:
    """Pages that have every answer once, in the order of openings and then of participants."""
    size = limits.READ_PAGE_ROWS
    gathered: list[OpeningCount] = []
    answers = 0
    for count in counts:
        if gathered and answers + count.answers > size:
            yield _whole(gathered)
            gathered, answers = [], 0
        if count.answers <= size:
            gathered.append(count)
            answers += count.answers
            continue
        for first in range(1, count.last_participant + 1, size):
            yield Page(count.opening_no, count.opening_no, first, first + size - 1)
    if gathered:
        yield _whole(gathered)


def _whole(counts: list[OpeningCount]) -> Page:
    highest = max(count.last_participant for count in counts)
    return Page(counts[0].opening_no, counts[-1].opening_no, 1, highest)


async def read_pages(
    fetch: Fetch, session_id: SessionId, counts: Sequence[OpeningCount]
) -> AsyncGenerator[list[asyncpg.Record], None]:
    """The rows of ``stored_answers``, page by page."""
    for page in pages_of(counts):
        yield await fetch(queries["stored_answers"], session_id, *page)
