"""Sessions in PostgreSQL: who may act for one, and what is stored of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import msgspec

from actors.lease import check_epoch
from actors.pinned_quizzes import ReadQuiz, read_from_primary
from actors.postgres import LoneConnection
from actors.sql import queries
from engine.errors import Fenced
from engine.events import AnswerAccepted, Joined, decode_phase_event
from engine.ids import Epoch, OpeningNo, ParticipantId, QuestionIndex, QuizId, SessionId
from engine.model import Quiz, SessionSettings
from engine.recovery import restore, state_digest
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


async def fold(connection: LoneConnection, claimed: Claim) -> Takeover:
    """Read what is stored of a claimed session and fold it into a state.

    Raises:
        Fenced: another actor has taken the session over since.
        Unavailable: the database is away; call again.
    """
    session_id = claimed.session_id
    joined, last_join = await _joins(connection, session_id)
    answers, last_answer = await _answers(connection, session_id)
    events = await connection.fetch(queries["stored_events"], session_id)
    # Whoever is paused between these readings finds answers of people whose joins it never read.
    await check_epoch(connection, session_id, claimed.epoch)
    state = restore(
        session_id,
        claimed.quiz,
        claimed.settings,
        joined,
        [decode_phase_event(event["event"]) for event in events],
        answers,
    )
    last_event = events[-1]["seq"] if events else 0
    return Takeover(state, claimed.epoch, max(last_join, last_answer, last_event) + 1)


async def digest_of_tables(connection: LoneConnection, state: SessionState, epoch: Epoch) -> str:
    """The fingerprint (:func:`engine.recovery.state_digest`) of what is stored of a state's session.

    Raises:
        Fenced, Unavailable: as :func:`fold`.
    """
    claimed = Claim(state.session_id, epoch, 0, state.quiz, state.settings, None)
    return state_digest((await fold(connection, claimed)).state)


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


async def _joins(connection: LoneConnection, session_id: SessionId) -> tuple[list[Joined], int]:
    rows = await connection.fetch(queries["stored_joins"], session_id)
    joins = [
        Joined(
            ParticipantId(r["participant_id"]),
            r["join_key"],
            r["nickname"],
            r["at_ms"],
            r["device"],
        )
        for r in rows
    ]
    return joins, max((r["seq"] for r in rows), default=0)


async def _answers(
    connection: LoneConnection, session_id: SessionId
) -> tuple[list[AnswerAccepted], int]:
    rows = await connection.fetch(queries["stored_answers"], session_id)
    answers = [
        AnswerAccepted(
            ParticipantId(r["participant_id"]),
            OpeningNo(r["opening_no"]),
            QuestionIndex(r["question_index"]),
            r["choice_mask"],
            r["text"],
            r["elapsed_ms"],
            r["correct"],
            r["points"],
            r["at_ms"],
        )
        for r in rows
    ]
    return answers, max((r["seq"] for r in rows), default=0)
