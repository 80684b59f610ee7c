"""A session that was played, from the tables alone, read in statements and steps of bounded size.

However many answers it has, a reader holds one page of them, and gives the loop back every few
milliseconds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence
from datetime import datetime
from typing import Protocol, TypeVar

import asyncpg
import msgspec

from actors.answer_pages import count_answers, read_pages
from actors.postgres import Database
from actors.results import ResultRow, fetch_stored
from actors.sql import queries
from actors.turns import in_turns
from engine import limits
from engine.errors import NotFound
from engine.ids import OpeningNo, ParticipantId, SessionId
from engine.model import QuestionKind, Quiz, SessionSettings
from engine.scoreboard import Scoreboard
from engine.scoring import Given, is_too_fast, points_in_all
from engine.wire import choices_of

_T = TypeVar("_T")
_Row = TypeVar("_Row")
_quiz_decoder = msgspec.json.Decoder(Quiz)
_settings_decoder = msgspec.json.Decoder(SessionSettings)
#: Rows of one step, less than a millisecond of work.
_STEP_ROWS = 200


class Read(Protocol):
    """Reads once what is stored of one session, wherever that is."""

    async def __call__(self, work: Callable[[Database], Awaitable[_T]], /) -> _T:
        """Return what ``work`` reads from a database that has all of the session."""


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


class Overview(msgspec.Struct, frozen=True):
    """Everything about a session that was played, without the single answers.

    ``leaves_out_too_fast``: answers within less than ``HUMAN_MS_MIN`` are left out everywhere, as if
    they had not been given: from points and ranks (with the streak bonuses that were built on them),
    counts and summaries. Other people's points stay as they were.
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
    leaves_out_too_fast: bool


class PersonAnswers(msgspec.Struct, frozen=True):
    """A line of the scoreboard, with the answers that it counts, by opening."""

    row: ResultRow
    answers: dict[int, AnswerRow]


class PlayedSession:
    """Reads one session. Of one that is not over, a later page may know more than the overview.

    Every method raises Unavailable while the database is away, NotFound when there is no such session.

    Args:
        session_id: of the session.
        read: reads from its database, called once for each statement.
        leave_out_too_fast: see :class:`Overview`; such answers are not among the answers either.
    """

    def __init__(
        self, session_id: SessionId, read: Read, *, leave_out_too_fast: bool = False
    ) -> None:
        self.session_id = session_id
        self._read = read
        self._leaves_out = leave_out_too_fast

    async def overview(self) -> Overview:
        """The session with its quiz (key included), everybody who joined, and the scoreboard."""
        found = await self._query("result_session")
        if not found:
            raise NotFound(f"session: {self.session_id} does not exist")
        session = found[0]
        quiz = _quiz_decoder.decode(session["body"])
        settings = _settings_decoder.decode(session["settings"])
        people = await in_turns(
            _made(
                await self._query("result_participants"), lambda row: ParticipantRow(*row.values())
            )
        )
        openings = [
            _summary(quiz, row)
            for row in await self._query("result_openings", limits.HUMAN_MS_MIN, self._leaves_out)
        ]
        scoreboard = await in_turns(
            _made(
                await self._query(
                    "result_scoreboard",
                    0,
                    limits.PARTICIPANTS_MAX,
                    limits.HUMAN_MS_MIN,
                    self._leaves_out,
                ),
                lambda row: ResultRow(*row.values()),
            )
        )
        if self._leaves_out and settings.streak_bonus:
            scoreboard = await self._without_bonuses_on_too_fast(
                scoreboard, quiz, settings, openings
            )
        return Overview(
            session_id=self.session_id,
            title=quiz.title,
            created_at=session["created_at"],
            finished_at=session["finished_at"],
            cancelled=session["cancelled"],
            settings=settings,
            quiz=quiz,
            scoreboard=scoreboard,
            participants=people,
            openings=openings,
            leaves_out_too_fast=self._leaves_out,
        )

    async def answers(self) -> AsyncGenerator[list[AnswerRow], None]:
        """Pages of all answers, in the order of openings and then of participants."""
        counts = await count_answers(self._fetch, self.session_id)
        read = 0
        async for rows in read_pages(self._fetch, self.session_id, counts):
            read += len(rows)
            yield await in_turns(self._answers(rows))
        counted = sum(count.answers for count in counts)
        assert read >= counted, f"{read} answers were read, {counted} are there"

    async def by_person(self, overview: Overview) -> AsyncGenerator[list[PersonAnswers], None]:
        """Pages of the scoreboard, best first, with everybody's answers."""
        async for page in self._pages_by_person(overview.scoreboard, overview.openings):
            yield page

    async def _pages_by_person(
        self, scoreboard: Sequence[ResultRow], openings: Sequence[OpeningSummary]
    ) -> AsyncGenerator[list[PersonAnswers], None]:
        numbers = [summary.opening for summary in openings]
        size = max(1, limits.READ_PAGE_ROWS // max(1, len(numbers)))
        for first in range(0, len(scoreboard), size):
            people = scoreboard[first : first + size]
            rows = await self._query(
                "answers_of_people", numbers, [row.participant_id for row in people]
            )
            answers: dict[int, dict[int, AnswerRow]] = defaultdict(dict)
            for answer in await in_turns(self._answers(rows)):
                answers[answer.participant_id][answer.opening] = answer
            yield [PersonAnswers(row, answers[row.participant_id]) for row in people]

    async def _without_bonuses_on_too_fast(
        self,
        scoreboard: list[ResultRow],
        quiz: Quiz,
        settings: SessionSettings,
        openings: list[OpeningSummary],
    ) -> list[ResultRow]:
        """The scoreboard after the streak bonuses that were built on answers which are left out.

        Only those who gave such answers are scored anew; nobody's points depend on somebody else's.
        """
        by_id = {row.participant_id: row for row in scoreboard}
        fast = [row for row in scoreboard if row.too_fast]
        async for page in self._pages_by_person(fast, openings):
            points = await in_turns(_scored(page, quiz, settings))
            for person, total in zip(page, points, strict=True):
                row = msgspec.structs.replace(person.row, points=total)
                by_id[row.participant_id] = row
        board = Scoreboard()
        for row in by_id.values():
            board.set(ParticipantId(row.participant_id), row.points)
        return [msgspec.structs.replace(by_id[who], rank=rank) for who, _, rank in board.ranked()]

    def _answers(self, rows: Sequence[asyncpg.Record]) -> Generator[None, None, list[AnswerRow]]:
        answers = yield from _made(rows, _answer)
        if self._leaves_out:
            return [answer for answer in answers if not answer.too_fast]
        return answers

    async def _query(self, query: str, *args: object) -> list[asyncpg.Record]:
        return await self._fetch(queries[query], self.session_id, *args)

    async def _fetch(self, sql: str, /, *args: object) -> list[asyncpg.Record]:
        return await self._read(lambda database: fetch_stored(database, sql, *args))


def _made(
    rows: Sequence[asyncpg.Record], make: Callable[[asyncpg.Record], _Row]
) -> Generator[None, None, list[_Row]]:
    """What is made of rows, in steps of bounded work."""
    made: list[_Row] = []
    for first in range(0, len(rows), _STEP_ROWS):
        made += map(make, rows[first : first + _STEP_ROWS])
        yield
    return made


def _scored(
    page: Sequence[PersonAnswers], quiz: Quiz, settings: SessionSettings
) -> Generator[None, None, list[int]]:
    points = []
    for person in page:
        given = (
            Given(
                OpeningNo(answer.opening),
                quiz.questions[answer.question_index],
                answer.elapsed_ms,
                answer.correct,
            )
            for _, answer in sorted(person.answers.items())
        )
        points.append(points_in_all(settings, given))
        yield
    return points


def _summary(quiz: Quiz, row: asyncpg.Record) -> OpeningSummary:
    question = quiz.questions[row["question_index"]]
    answered, correct = row["answered"], row["correct"]
    if question.kind is QuestionKind.TYPED:
        distribution: tuple[int, ...] = (correct, answered - correct)
    else:
        distribution = tuple(row["picks"][: len(question.choices)])
    return OpeningSummary(
        opening=row["opening_no"],
        question_index=row["question_index"],
        answered=answered,
        correct=correct,
        distribution=distribution,
        too_fast=row["too_fast"],
    )


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
