"""Results from the tables alone: what a session's memory is checked against, what outlives it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from datetime import datetime
from typing import NamedTuple

import asyncpg
import msgspec

from actors.library import make_cursor, parse_cursor
from actors.postgres import AWAY, Database
from actors.sql import queries
from engine import limits
from engine.errors import Conflict, NotFound, Unavailable
from engine.ids import OpeningNo, ParticipantId, SessionId
from engine.model import QuestionKind, Quiz, SessionSettings
from engine.scoreboard import Scoreboard
from engine.scoring import Given, is_too_fast, points_in_all
from engine.wire import choices_of

_quiz_decoder = msgspec.json.Decoder(Quiz)
_settings_decoder = msgspec.json.Decoder(SessionSettings)


class ResultRow(msgspec.Struct, frozen=True):
    """One line of the scoreboard."""

    participant_id: int
    nickname: str
    points: int
    rank: int
    answered: int
    correct: int
    #: Answers that came within less than ``HUMAN_MS_MIN``, whether they count or were left out.
    too_fast: int


class ParticipantRow(msgspec.Struct, frozen=True):
    """Somebody who joined. The removed stand on no scoreboard, and their answers count nowhere."""

    participant_id: int
    nickname: str
    removed: bool


class AnswerRow(msgspec.Struct, frozen=True):
    """One stored answer. Those of the removed are among them."""

    opening: int
    question_index: int
    participant_id: int
    choices: tuple[int, ...]
    text: str
    elapsed_ms: int
    correct: bool
    points: int
    #: Whether it came within less than ``HUMAN_MS_MIN``.
    too_fast: bool


class FastRow(msgspec.Struct, frozen=True):
    """Somebody whose answers came sooner than anybody reads, and how many did."""

    participant_id: int
    nickname: str
    answers: int


class OpeningSummary(msgspec.Struct, frozen=True):
    """How one opening was answered; openings without an answer are left out.

    Answers of the removed do not count. ``distribution`` counts the answers that picked each
    choice; for a typed question it is [right, wrong].
    """

    opening: int
    question_index: int
    answered: int
    correct: int
    distribution: tuple[int, ...]
    too_fast: int


class SessionResults(msgspec.Struct, frozen=True):
    """Everything about a session that was played.

    ``leaves_out_too_fast``: answers within less than ``HUMAN_MS_MIN`` are left out everywhere, as if
    they had not been given: from points and ranks (with the streak bonuses that were built on them),
    counts, summaries and ``answers``. Other people's points stay as they were.
    """

    session_id: SessionId
    title: str
    created_at: datetime
    finished_at: datetime | None
    cancelled: bool
    settings: SessionSettings
    quiz: Quiz
    scoreboard: list[ResultRow]
    participants: list[ParticipantRow]
    openings: list[OpeningSummary]
    answers: list[AnswerRow]
    leaves_out_too_fast: bool = False


class SessionRow(NamedTuple):
    """A session in a listing."""

    session_id: SessionId
    pin: str
    title: str
    created_at: datetime
    finished_at: datetime | None
    ended_at: datetime | None


class ResultsReader:
    """Every method raises Unavailable while the database is away, NotFound for an unusable id."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def scoreboard(self, session_id: SessionId, offset: int, rows: int) -> list[ResultRow]:
        """Rows of the scoreboard, best first; of a session that nobody joined, none.

        Every stored answer counts, so it agrees with the session's memory once no question is open.
        """
        return await self._scoreboard(session_id, offset, rows, leave_out=False)

    async def _scoreboard(
        self, session_id: SessionId, offset: int, rows: int, *, leave_out: bool
    ) -> list[ResultRow]:
        found = await self._fetch(
            "result_scoreboard", session_id, offset, rows, limits.HUMAN_MS_MIN, leave_out
        )
        return [ResultRow(**dict(row)) for row in found]

    async def too_fast(self, session_id: SessionId) -> list[FastRow]:
        """Whose answers came within less than ``HUMAN_MS_MIN``, most often first; at most a page."""
        found = await self._fetch(
            "result_too_fast", session_id, limits.HUMAN_MS_MIN, limits.LISTING_ROWS_MAX
        )
        return [FastRow(**dict(row)) for row in found]

    async def require_finished(self, session_id: SessionId) -> None:
        """Return when all that was stored of a finished session can be read from this database.

        The end is noted after everything else is stored, and a replica replays in the order of the
        commits: where the end is seen, nothing before it is missing.

        Raises:
            NotFound: there is no such session.
            Conflict: it is not finished, as far as this database knows.
        """
        found = await self._fetch("is_finished", session_id)
        if not found:
            raise NotFound(f"session: {session_id} does not exist")
        if not found[0]["finished"]:
            raise Conflict("the session is not finished yet")

    async def answers_count(self, session_id: SessionId) -> int:
        """How many answers are stored."""
        found = await self._fetch("result_answers_count", session_id)
        return int(found[0]["answers"])

    async def results(
        self, session_id: SessionId, *, leave_out_too_fast: bool = False
    ) -> SessionResults:
        """The whole session, with its quiz (key included) and every answer.

        Args:
            session_id: of the session.
            leave_out_too_fast: see :class:`SessionResults`.

        Raises:
            NotFound: there is no such session.
        """
        found = await self._fetch("result_session", session_id)
        if not found:
            raise NotFound(f"session: {session_id} does not exist")
        session = found[0]
        quiz = _quiz_decoder.decode(session["body"])
        people = await self._fetch("result_participants", session_id)
        answers = [_answer(row) for row in await self._fetch("result_answers", session_id)]
        settings = _settings_decoder.decode(session["settings"])
        scoreboard = await self._scoreboard(
            session_id, 0, limits.PARTICIPANTS_MAX, leave_out=leave_out_too_fast
        )
        if leave_out_too_fast:
            answers = [answer for answer in answers if not answer.too_fast]
            if settings.streak_bonus:
                scoreboard = _without_bonuses_on_too_fast(scoreboard, quiz, settings, answers)
        return SessionResults(
            session_id=session_id,
            title=quiz.title,
            created_at=session["created_at"],
            finished_at=session["finished_at"],
            cancelled=session["cancelled"],
            settings=settings,
            quiz=quiz,
            scoreboard=scoreboard,
            participants=[ParticipantRow(**dict(row)) for row in people],
            openings=summarize(
                quiz, answers, {row["participant_id"] for row in people if row["removed"]}
            ),
            answers=answers,
            leaves_out_too_fast=leave_out_too_fast,
        )

    async def page(self, rows: int, cursor: str | None) -> tuple[list[SessionRow], str | None]:
        """One page of the sessions, newest first, and the cursor of the next one."""
        found = await self._fetch("list_sessions", rows + 1, *parse_cursor(cursor))
        page = [
            SessionRow(
                SessionId(str(row["session_id"])),
                row["pin"],
                row["title"],
                row["created_at"],
                row["finished_at"],
                row["ended_at"],
            )
            for row in found[:rows]
        ]
        more = len(found) > rows
        return page, make_cursor(page[-1].created_at, page[-1].session_id) if more else None

    async def _fetch(self, query: str, *args: object) -> list[asyncpg.Record]:
        try:
            return await self._database.fetch(queries[query], *args)
        except AWAY as error:
            raise Unavailable(f"the database is away: {error!r}") from error
        except asyncpg.DataError:
            raise NotFound(f"session: {args[0]} does not exist") from None


def summarize(
    quiz: Quiz, answers: Iterable[AnswerRow], removed: AbstractSet[int]
) -> list[OpeningSummary]:
    """How each opening was answered by those who are still in, in the order of openings."""
    by_opening: dict[int, list[AnswerRow]] = defaultdict(list)
    for answer in answers:
        if answer.participant_id in removed:
            continue
        by_opening[answer.opening].append(answer)
    return [_summary(quiz, by_opening[opening]) for opening in sorted(by_opening)]


def _summary(quiz: Quiz, answers: list[AnswerRow]) -> OpeningSummary:
    question = quiz.questions[answers[0].question_index]
    correct = sum(answer.correct for answer in answers)
    if question.kind is QuestionKind.TYPED:
        distribution: tuple[int, ...] = (correct, len(answers) - correct)
    else:
        distribution = tuple(
            sum(index in answer.choices for answer in answers)
            for index in range(len(question.choices))
        )
    return OpeningSummary(
        opening=answers[0].opening,
        question_index=answers[0].question_index,
        answered=len(answers),
        correct=correct,
        distribution=distribution,
        too_fast=sum(answer.too_fast for answer in answers),
    )


def _without_bonuses_on_too_fast(
    scoreboard: list[ResultRow], quiz: Quiz, settings: SessionSettings, answers: list[AnswerRow]
) -> list[ResultRow]:
    """The scoreboard after the streak bonuses that were built on answers which are left out.

    Only those who gave such answers are scored anew; nobody's points depend on somebody else's.
    """
    given: dict[int, list[Given]] = {row.participant_id: [] for row in scoreboard if row.too_fast}
    for answer in answers:  # in the order of openings
        if answer.participant_id in given:
            question = quiz.questions[answer.question_index]
            given[answer.participant_id].append(
                Given(OpeningNo(answer.opening), question, answer.elapsed_ms, answer.correct)
            )
    rows = [
        msgspec.structs.replace(row, points=points_in_all(settings, given[row.participant_id]))
        if row.participant_id in given
        else row
        for row in scoreboard
    ]
    board = Scoreboard()
    by_id = {row.participant_id: row for row in rows}
    for row in rows:
        board.set(ParticipantId(row.participant_id), row.points)
    return [msgspec.structs.replace(by_id[who], rank=rank) for who, _, rank in board.ranked()]


def _answer(row: asyncpg.Record) -> AnswerRow:
    return AnswerRow(
        opening=row["opening_no"],
        question_index=row["question_index"],
        participant_id=row["participant_id"],
        choices=choices_of(row["choice_mask"]),
        text=row["text"],
        elapsed_ms=row["elapsed_ms"],
        correct=row["correct"],
        points=row["points"],
        too_fast=is_too_fast(row["elapsed_ms"]),
    )
