"""What everybody may see of a session, its frames, and each participant's own result.

One law holds, and Hypothesis tests it: ``apply(delta, view_n) == view_n+1``. The right answer is in
a view only after its question has closed; while it is open a view carries counts only, because a
score that moves would give the answer away.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from itertools import islice

import msgspec
from msgspec import UNSET, UnsetType

from engine import limits
from engine.ids import Epoch, FrameVersion, OpeningNo, ParticipantId, QuestionIndex, SessionId
from engine.model import Mode, PointsMode, Question, QuestionKind
from engine.phases import Phase
from engine.scoring import is_too_fast
from engine.session import Lock, Opening, SessionState


class RosterRow(msgspec.Struct, frozen=True):
    """One participant in the lobby's list."""

    participant_id: ParticipantId
    nickname: str


class ScoreRow(msgspec.Struct, frozen=True):
    """One line of the scoreboard. ``rank_before`` is 0 before the first question has closed.

    ``streak`` counts right answers in a row up to now; actors of the version before do not tell it.
    """

    participant_id: ParticipantId
    nickname: str
    points: int
    rank: int
    gained: int
    rank_before: int
    streak: int = 0


class PublicQuestion(msgspec.Struct, frozen=True):
    """A question without its key. Times are Unix milliseconds of the actor's clock.

    ``choices`` is empty during the preview, and for a typed question. ``opened_ms`` is 0 during the
    preview, when ``closes_ms`` says when answers open; in self-paced play ``closes_ms`` is 0.
    """

    opening_no: OpeningNo
    question_index: QuestionIndex
    kind: QuestionKind
    text: str
    choices: tuple[str, ...]
    points: PointsMode
    time_limit_ms: int
    opened_ms: int
    closes_ms: int


class Reveal(msgspec.Struct, frozen=True):
    """What may be told after the close.

    ``distribution`` counts the answers that picked each choice; for a typed question it is
    [right, wrong]. In self-paced play, where a participant is told it with the receipt, it is empty.
    ``fastest`` is who was right first, and after how many milliseconds; None when nobody was, and in
    self-paced play. Answers that no human gave are left out.
    """

    correct: tuple[int, ...]
    accepted: tuple[str, ...]
    distribution: tuple[int, ...]
    explanation: str
    #: Actors of the version before do not tell it.
    fastest: tuple[str, int] | None = None


class View(msgspec.Struct, frozen=True):
    """Everything public about a session at one moment."""

    session_id: SessionId
    epoch: Epoch
    version: FrameVersion
    title: str
    attribution: str
    mode: Mode
    question_count: int
    phase: Phase
    opening_no: OpeningNo
    participants_count: int
    #: The newest participants, newest first.
    roster: tuple[RosterRow, ...]
    question: PublicQuestion | None
    #: Answers of those who are still in, to the current opening; in self-paced play to all of them.
    answers_count: int
    reveal: Reveal | None
    #: The first rows; empty in the lobby and while a question is previewed or open.
    scoreboard: tuple[ScoreRow, ...]
    #: Actors of the version before do not tell it.
    lock: Lock = Lock.OPEN
    #: When self-paced play ends, Unix milliseconds of the actor's clock; 0 where no end is set.
    closes_ms: int = 0


class ViewChanges(msgspec.Struct, frozen=True, omit_defaults=True):
    """The fields of a view that have changed, each with its new value."""

    phase: Phase | UnsetType = UNSET
    opening_no: OpeningNo | UnsetType = UNSET
    participants_count: int | UnsetType = UNSET
    roster: tuple[RosterRow, ...] | UnsetType = UNSET
    question: PublicQuestion | UnsetType | None = UNSET
    answers_count: int | UnsetType = UNSET
    reveal: Reveal | UnsetType | None = UNSET
    scoreboard: tuple[ScoreRow, ...] | UnsetType = UNSET
    lock: Lock | UnsetType = UNSET
    closes_ms: int | UnsetType = UNSET


_CHANGING = ViewChanges.__struct_fields__


class Delta(msgspec.Struct, frozen=True):
    """The step from version ``version - 1`` to ``version`` within one epoch."""

    epoch: Epoch
    version: FrameVersion
    changes: ViewChanges


class Result(msgspec.Struct, frozen=True):
    """What one opening brought one participant, told to that participant alone.

    ``ahead`` is who stands just ahead and by how many points; None at the top.
    """

    opening_no: OpeningNo
    answered: bool
    correct: bool
    gained: int
    points: int
    rank: int
    streak: int
    ahead: tuple[str, int] | None


def build_view(state: SessionState, epoch: Epoch, version: FrameVersion) -> View:
    """The public view of a state. O(rows shown); the close of a question costs O(answers)."""
    opening = state.current
    phase = state.phase
    hides_scores = phase in (Phase.LOBBY, Phase.PREVIEW, Phase.QUESTION_OPEN)
    return View(
        session_id=state.session_id,
        epoch=epoch,
        version=version,
        title=state.quiz.title,
        attribution=state.quiz.attribution,
        mode=state.settings.mode,
        question_count=len(state.quiz.questions),
        phase=phase,
        opening_no=state.current_no,
        participants_count=len(state.scoreboard),
        roster=_roster(state),
        question=public_question(state, opening) if opening is not None else None,
        answers_count=_answers_count(state, opening),
        reveal=_reveal(state, opening) if opening is not None and opening.closed else None,
        scoreboard=() if hides_scores else score_rows(state, limits.SCOREBOARD_ROWS_MAX),
        lock=state.lock,
        closes_ms=state.closes_ms,
    )


def _answers_count(state: SessionState, opening: Opening | None) -> int:
    if opening is not None:
        return state.answers_count(opening)
    return sum(map(state.answers_count, state.openings.values()))


def _roster(state: SessionState) -> tuple[RosterRow, ...]:
    present = (p for p in reversed(state.participants.values()) if not p.removed)
    return tuple(
        RosterRow(p.participant_id, p.nickname) for p in islice(present, limits.ROSTER_ROWS_MAX)
    )


def public_question(state: SessionState, opening: Opening) -> PublicQuestion:
    """A question as everybody may see it: its choices once it is open, never its key."""
    question = state.question(opening)
    return PublicQuestion(
        opening_no=opening.opening_no,
        question_index=opening.question_index,
        kind=question.kind,
        text=question.text,
        choices=question.choices if opening.opened_ms else (),
        points=question.points,
        time_limit_ms=question.time_limit_ms,
        opened_ms=opening.opened_ms,
        closes_ms=opening.closes_ms,
    )


def key_of(state: SessionState, opening: Opening) -> Reveal:
    """What may be told of a question to those who have answered it; nobody's answers are counted."""
    question = state.question(opening)
    return Reveal(question.correct, question.accepted, (), question.explanation)


def _reveal(state: SessionState, opening: Opening) -> Reveal | None:
    if not opening.opened_ms:  # ended during the preview: the question was never asked
        return None
    question = state.question(opening)
    return Reveal(
        question.correct,
        question.accepted,
        distribution(question, opening, state.removed),
        question.explanation,
        _fastest(state, opening),
    )


def _fastest(state: SessionState, opening: Opening) -> tuple[str, int] | None:
    right = (
        (answer.elapsed_ms, answer.participant_id)
        for answer in opening.answers.values()
        if answer.correct
        and not is_too_fast(answer.elapsed_ms)
        and answer.participant_id not in state.removed
    )
    elapsed_ms, who = min(right, default=(0, None))
    return None if who is None else (state.participants[who].nickname, elapsed_ms)


def distribution(
    question: Question, opening: Opening, removed: AbstractSet[ParticipantId]
) -> tuple[int, ...]:
    """How many answers picked each choice; of a typed question, [right, wrong].

    Those of the removed do not count.
    """
    answers = [a for who, a in opening.answers.items() if who not in removed]
    if question.kind is QuestionKind.TYPED:
        right = sum(answer.correct for answer in answers)
        return (right, len(answers) - right)
    counts = [0] * len(question.choices)
    for answer in answers:
        for index in range(len(counts)):
            counts[index] += answer.choice_mask >> index & 1
    return tuple(counts)


def score_rows(state: SessionState, rows: int) -> tuple[ScoreRow, ...]:
    """The first rows of the scoreboard."""
    people = state.participants
    return tuple(
        ScoreRow(who, p.nickname, points, rank, p.gained, p.rank_before, p.streak)
        for who, points, rank in state.scoreboard.top(rows)
        for p in (people[who],)
    )


def diff(before: View, after: View) -> ViewChanges | None:
    """What differs between two views of one session, None when nothing does (versions aside)."""
    changed = {
        name: value
        for name in _CHANGING
        if (value := getattr(after, name)) != getattr(before, name)
    }
    return ViewChanges(**changed) if changed else None


def apply(delta: Delta, view: View) -> View:
    """The view after a delta.

    Raises:
        ValueError: the delta does not follow this view; ask for a snapshot.
    """
    if (delta.epoch, delta.version) != (view.epoch, view.version + 1):
        msg = (
            f"delta {delta.epoch}.{delta.version} does not follow view {view.epoch}.{view.version}"
        )
        raise ValueError(msg)
    changes = {
        name: value for name in _CHANGING if (value := getattr(delta.changes, name)) is not UNSET
    }
    return msgspec.structs.replace(view, version=delta.version, **changes)


def results(state: SessionState, opening: Opening) -> dict[ParticipantId, Result]:
    """Everybody's own result of a closed opening, computed in one pass. O(n)."""
    found: dict[ParticipantId, Result] = {}
    last: tuple[int, ParticipantId] | None = None
    ahead: tuple[int, ParticipantId] | None = None
    for who, points, rank in state.scoreboard.ranked():
        if last is not None and last[0] != points:
            ahead = last
        last = (points, who)
        person = state.participants[who]
        answer = opening.answers.get(who)
        found[who] = Result(
            opening_no=opening.opening_no,
            answered=answer is not None,
            correct=answer is not None and answer.correct,
            gained=person.gained,
            points=points,
            rank=rank,
            streak=person.streak,
            ahead=(state.participants[ahead[1]].nickname, ahead[0] - points) if ahead else None,
        )
    return found
