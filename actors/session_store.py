"""Sessions in PostgreSQL: who may act for one, and what is stored of it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import NamedTuple

import asyncpg
import msgspec

from actors.answer_pages import count_answers, read_pages
from actors.lease import check_epoch
from actors.pinned_quizzes import ReadQuiz, read_from_primary
from actors.postgres import LoneConnection
from actors.sql import queries
from actors.turns import in_turns
from engine import limits
from engine.errors import Fenced, LaterVersion
from engine.events import AnswerAccepted, Joined, StoredEvent, decode_phase_event
from engine.ids import Epoch, OpeningNo, ParticipantId, QuestionIndex, QuizId, SessionId
from engine.model import Quiz, SessionSettings
from engine.recovery import Digest, Fold
from engine.session import SessionState

_settings_decoder = msgspec.json.Decoder(SessionSettings)


class Takeover(NamedTuple):
    """A session that this actor now owns, as the tables tell it."""

    state: SessionState
    epoch: Epoch
    next_seq: int


class Place(NamedTuple):
    """Where an actor runs: Ray's node id, and the process id there."""

    node: str
    pid: int


class Claim(NamedTuple):
    """A session whose epoch was raised for this actor; what is stored of it is not read yet."""

    session_id: SessionId
    epoch: Epoch
    partition: int
    quiz: Quiz
    settings: SessionSettings
    #: Where the actor of the epoch before ran, None when it told nobody.
    earlier: Place | None


class Raised(NamedTuple):
    """A session whose epoch was raised; nothing else of it was read or decoded yet."""

    session_id: SessionId
    epoch: Epoch
    #: Take-overs, this one too, that were begun since the last one that lasted.
    take_overs: int


def _ignore(_: Raised) -> None:
    """Nobody wants to know."""


async def claim(
    connection: LoneConnection,
    actor_name: str,
    read_quiz: ReadQuiz = read_from_primary,
    on_raised: Callable[[Raised], None] = _ignore,
    *,
    counts: bool = True,
) -> Claim | None:
    """Raise the epoch of the session that is assigned to this actor: all earlier ones are fenced.

    Args:
        connection: to the session's primary.
        actor_name: of this actor.
        read_quiz: where the quiz comes from.
        on_raised: told as soon as the epoch is raised; whatever fails afterwards belongs to that session.
        counts: whether this take-over is one more of those that did not last so far.

    Returns:
        None when no live session is assigned to the name (a blank actor of the warm pool).

    Raises:
        Unavailable: the database is away; call again.
    """
    rows = await connection.fetch(queries["take_over"], actor_name, int(counts))
    if not rows:
        return None
    row = rows[0]
    raised = Raised(SessionId(str(row["session_id"])), Epoch(row["epoch"]), row["take_overs"])
    on_raised(raised)
    return Claim(
        raised.session_id,
        raised.epoch,
        row["partition"],
        await read_quiz(connection, QuizId(str(row["quiz_id"])), row["quiz_version"]),
        _settings_decoder.decode(row["settings"]),
        Place(row["actor_node"], row["actor_pid"]) if row["actor_pid"] is not None else None,
    )


async def fold(
    connection: LoneConnection, claimed: Claim, digest: Digest | None = None
) -> Takeover:
    """Read what is stored of a claimed session, page by page, and fold it into a state.

    Nobody else writes any more, so the pages fit together; that it is so is looked at last. The loop
    is given back every few milliseconds.

    Args:
        connection: to the session's primary.
        claimed: the session.
        digest: as for :class:`engine.recovery.Fold`.

    Raises:
        Fenced: another actor has taken the session over since.
        LaterVersion: there is an event that only a later version can act on.
        Unavailable: the database is away; call again.
    """
    try:
        found = await _fold(connection, claimed, digest)
    except (AssertionError, LookupError, LaterVersion):
        # Whoever is overtaken while it reads finds answers of people whose joins it never read, or
        # what an actor of a later version has stored since.
        await check_epoch(connection, claimed.session_id, claimed.epoch)
        raise
    await check_epoch(connection, claimed.session_id, claimed.epoch)
    return found


async def _fold(connection: LoneConnection, claimed: Claim, digest: Digest | None) -> Takeover:
    session_id = claimed.session_id
    last_seq = 0
    events: list[StoredEvent] = []
    joins: list[Joined] = []
    async with aclosing(_pages(connection, "stored_joins", session_id, "participant_id")) as pages:
        async for rows in pages:
            joins += map(_join, rows)
            last_seq = max(last_seq, *(row["seq"] for row in rows))
    async with aclosing(_pages(connection, "stored_events", session_id, "seq")) as pages:
        async for rows in pages:
            events += (decode_phase_event(row["event"]) for row in rows)
            last_seq = max(last_seq, rows[-1]["seq"])
    folding = Fold(session_id, claimed.quiz, claimed.settings, events, digest)
    await in_turns(folding.join(joins))
    read = _Reader()
    counts = await count_answers(connection.fetch, session_id)
    async with aclosing(read_pages(connection.fetch, session_id, counts)) as pages:
        async for rows in pages:
            await in_turns(folding.answer(map(read.answer, rows)))
    state = await in_turns(folding.end())
    assert state.answers_total == sum(count.answers for count in counts)
    return Takeover(state, claimed.epoch, max(last_seq, read.last_seq) + 1)


async def digest_of_tables(connection: LoneConnection, state: SessionState, epoch: Epoch) -> str:
    """The fingerprint (:func:`engine.recovery.state_digest`) of what is stored of a state's session.

    Answers are read page by page and not kept: memory does not grow with them.

    Raises:
        Fenced, Unavailable: as :func:`fold`.
    """
    claimed = Claim(state.session_id, epoch, 0, state.quiz, state.settings, None)
    digest = Digest()
    return digest.of((await fold(connection, claimed, digest)).state)


async def take_over(
    connection: LoneConnection,
    actor_name: str,
    read_quiz: ReadQuiz = read_from_primary,
    on_raised: Callable[[Raised], None] = _ignore,
    *,
    counts: bool = True,
) -> Takeover | None:
    """Own the session that is assigned to this actor: raise its epoch, then fold what is stored.

    For logs that write to the tables themselves: the raise waits for a statement of the earlier
    owner that is under way, and fences all later ones; so what is read afterwards is all that was
    ever acknowledged. Behind a broker, :mod:`actors.handover` stands between the two.

    Args:
        connection: to the session's primary.
        actor_name: of this actor.
        read_quiz: where the quiz comes from.
        on_raised: as for :func:`claim`.
        counts: as for :func:`claim`.

    Returns:
        None when no live session is assigned to the name (a blank actor of the warm pool).

    Raises:
        Fenced: another actor has taken it over meanwhile.
        LaterVersion: as for :func:`fold`.
        Unavailable: the database is away; call again.
    """
    claimed = await claim(connection, actor_name, read_quiz, on_raised, counts=counts)
    return None if claimed is None else await fold(connection, claimed)


async def note_place(connection: LoneConnection, claimed: Claim, place: Place) -> None:
    """Tell whoever comes next where this actor runs.

    Raises:
        Fenced: somebody has come already.
        Unavailable: the database is away; call again.
    """
    rows = await connection.fetch(
        queries["note_place"], claimed.session_id, claimed.epoch, place.node, place.pid
    )
    if not rows:
        raise Fenced(f"session {claimed.session_id}: epoch {claimed.epoch} is over")


async def _pages(
    connection: LoneConnection, query: str, session_id: SessionId, key: str
) -> AsyncGenerator[list[asyncpg.Record], None]:
    """The rows of a statement in the order of a key, in pages; each page is a statement of its own."""
    after = 0  # every key is 1 or more
    while True:
        rows = await connection.fetch(queries[query], session_id, limits.READ_PAGE_ROWS, after)
        if rows:
            yield rows
        if len(rows) < limits.READ_PAGE_ROWS:
            return
        after = rows[-1][key]


def _join(row: asyncpg.Record) -> Joined:
    return Joined(
        ParticipantId(row["participant_id"]),
        row["join_key"],
        row["nickname"],
        row["at_ms"],
        row["device"],
    )


class _Reader:
    """Makes answers of rows, with one object for all numbers that are equal: 110 bytes fewer for each."""

    def __init__(self) -> None:
        self.last_seq = 0
        self._numbers: dict[int, int] = {}

    def answer(self, row: asyncpg.Record) -> AnswerAccepted:
        """The answer of a row of ``stored_answers``."""
        self.last_seq = max(self.last_seq, row["seq"])
        return AnswerAccepted(
            ParticipantId(self._one(row["participant_id"])),
            OpeningNo(self._one(row["opening_no"])),
            QuestionIndex(self._one(row["question_index"])),
            row["choice_mask"],
            row["text"],
            row["elapsed_ms"],
            row["correct"],
            self._one(row["points"]),
            row["at_ms"],
        )

    def _one(self, number: int) -> int:
        return self._numbers.setdefault(number, number)
