"""From stored records back to a state, whatever order the records come in.

The law, tested with Hypothesis: folding the events in the order in which they happened gives the
same :func:`snapshot` as :class:`Fold` over the stored records, however they are cut into pages.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from collections.abc import Set as AbstractSet
from itertools import islice
from typing import Any, Final, TypeVar

import msgspec

from engine.events import AnswerAccepted, Closed, Joined, Opened, SelfPacedOpened, StoredEvent
from engine.ids import OpeningNo, SessionId
from engine.model import Mode, Quiz, SessionSettings
from engine.session import Opening, SessionState, evolve

_T = TypeVar("_T")
_R = TypeVar("_R", AnswerAccepted, Joined)
#: Records of one step: about a millisecond of work.
_STEP_RECORDS: Final = 200
_encoder = msgspec.json.Encoder()


class Fold:
    """Folds stored records into a state as they are read: joins first, then answers, page by page.

    Its generators stop after every step of bounded work, so that the caller can let others run.

    Args:
        session_id: the session's own id.
        quiz: the version that the session has pinned.
        settings: what the session was created with.
        phase_events: in the order of their ``seq``.
        digest: takes every answer for a fingerprint; the answers are then not kept in the state
            longer than their points need them.
    """

    def __init__(
        self,
        session_id: SessionId,
        quiz: Quiz,
        settings: SessionSettings,
        phase_events: Iterable[StoredEvent],
        digest: Digest | None = None,
    ) -> None:
        self._state = SessionState(session_id, quiz, settings)
        self._events = iter(phase_events)
        self._digest = digest
        #: Openings whose answers may come next.
        self._folding: AbstractSet[OpeningNo] = frozenset()

    def join(self, joined: Iterable[Joined]) -> Generator[None, None, None]:
        """Fold participants: every one, and in the order of their ids, before the first answer.

        A participant who was not there yet when a question closed has 0 points and no answer either
        way.
        """
        for batch in _batches(joined):
            for join in batch:
                evolve(self._state, join)
            yield

    def answer(self, answers: Iterable[AnswerAccepted]) -> Generator[None, None, None]:
        """Fold answers, in the order of openings and then of participants.

        Each is folded when its opening opens, because scores do not depend on when within an opening
        an answer came. One whose opening never came to be stored cannot exist: openings are durable
        before they take answers.
        """
        state, digest = self._state, self._digest
        for batch in _batches(answers):
            for answer in batch:
                if answer.opening_no not in self._folding:
                    yield from self._advance(answer.opening_no)
                evolve(state, answer)
            if digest is not None:
                digest.add(batch)
                if state.settings.mode is Mode.SELF_PACED:
                    for opening_no in {answer.opening_no for answer in batch}:
                        state.openings[opening_no].answers.clear()
            yield

    def end(self) -> Generator[None, None, SessionState]:
        """Fold what is left, and return the state."""
        yield from self._advance(None)
        return self._state

    def _advance(self, opening_no: OpeningNo | None) -> Generator[None, None, None]:
        """Fold phase events until an opening takes answers; None: all."""
        state = self._state
        for event in self._events:
            evolve(state, event)
            if isinstance(event, Opened):
                self._folding = {event.opening_no}
            elif isinstance(event, SelfPacedOpened):
                self._folding = state.openings.keys()
            elif isinstance(event, Closed) and self._digest is not None:
                state.openings[event.opening_no].answers.clear()
            if opening_no in self._folding:
                return
            yield
        assert opening_no is None, f"answers without an opening: {opening_no}"


def restore(
    session_id: SessionId,
    quiz: Quiz,
    settings: SessionSettings,
    joined: Iterable[Joined],
    phase_events: Iterable[StoredEvent],
    answers: Iterable[AnswerAccepted],
) -> SessionState:
    """Fold stored records into a state at once; joins and answers may come in any order.

    See :class:`Fold` for the arguments.
    """
    fold = Fold(session_id, quiz, settings, phase_events)
    deque(fold.join(sorted(joined, key=lambda event: event.participant_id)), 0)
    in_order = sorted(answers, key=lambda event: (event.opening_no, event.participant_id))
    deque(fold.answer(in_order), 0)
    return run(fold.end())


def run(steps: Generator[None, None, _T]) -> _T:
    """Take all steps of a generator at once, and return its result."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: _T = end.value
            return result


def _batches(records: Iterable[_R]) -> Iterator[list[_R]]:
    records = iter(records)
    while batch := list(islice(records, _STEP_RECORDS)):
        yield batch


def snapshot(state: SessionState) -> dict[str, Any]:
    """Everything in a state that outlives its actor, as plain data in a fixed order.

    Left out is what only decorates the next frame: ``gained`` and ``rank_before``, which in
    self-paced play and for late joiners depend on the order of arrival.
    """
    return _snapshot(state, with_answers=True)


def _in_order(opening: Opening) -> list[AnswerAccepted]:
    return sorted(opening.answers.values(), key=lambda answer: answer.participant_id)


def _snapshot(state: SessionState, *, with_answers: bool) -> dict[str, Any]:
    return {
        "session_id": state.session_id,
        "phase": state.phase.value,
        "current_no": state.current_no,
        "next_participant_id": state.next_participant_id,
        "participants": [
            (
                person.participant_id,
                person.nickname,
                person.join_key,
                person.points,
                person.streak,
                person.correct_count,
                person.removed,
                person.device,
                person.joined_ms,
                person.returns,
            )
            for _, person in sorted(state.participants.items())
        ],
        "by_join_key": sorted(state.by_join_key.items()),
        "nicknames": sorted(state.nicknames.items()),
        "banned_devices": sorted(state.banned_devices),
        "lock": state.lock.value,
        "closes_ms": state.closes_ms,
        "flood_lock_off": state.flood_lock_off,
        "openings": [
            (
                opening.opening_no,
                opening.question_index,
                opening.opened_ms,
                opening.closes_ms,
                opening.closed,
                _in_order(opening) if with_answers else (),
            )
            for _, opening in sorted(state.openings.items())
        ],
        "scoreboard": list(state.scoreboard.ranked()),
        "commands_done": [
            state.commands_done[command_id] for command_id in sorted(state.commands_done)
        ],
    }


class Digest:
    """A fingerprint of a session, of answers first, which need not be in memory all at once."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def add(self, answers: Iterable[AnswerAccepted]) -> None:
        """Take answers, in the order of openings and then of participants."""
        self._hash.update(_encoder.encode_lines(answers))

    def of(self, state: SessionState) -> str:
        """The fingerprint of all answers that were taken and of a state without its answers."""
        self._hash.update(msgspec.json.encode(_snapshot(state, with_answers=False)))
        return self._hash.hexdigest()[:16]


def digest_steps(state: SessionState) -> Generator[None, None, str]:
    """What :func:`state_digest` returns, in steps of bounded work."""
    digest = Digest()
    for _, opening in sorted(state.openings.items()):
        for batch in _batches(_in_order(opening)):
            digest.add(batch)
            yield
    return digest.of(state)


def state_digest(state: SessionState) -> str:
    """A short fingerprint of :func:`snapshot`: equal states have equal digests (16 hex digits)."""
    return run(digest_steps(state))
