"""From stored records back to a state, whatever order the records come in.

The law, tested with Hypothesis: folding the events in the order in which they happened gives the
same :func:`snapshot` as :func:`restore` over the stored records.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import msgspec

from engine.events import AnswerAccepted, Joined, Opened, PhaseEvent, SelfPacedOpened
from engine.ids import OpeningNo, SessionId
from engine.model import Quiz, SessionSettings
from engine.session import SessionState, evolve


def restore(
    session_id: SessionId,
    quiz: Quiz,
    settings: SessionSettings,
    joined: Iterable[Joined],
    phase_events: Iterable[PhaseEvent],
    answers: Iterable[AnswerAccepted],
) -> SessionState:
    """Fold stored records into a state.

    Args:
        session_id: the session's own id.
        quiz: the version that the session has pinned.
        settings: what the session was created with.
        joined: every participant, in any order; folded first, by id. A participant who was not
            there yet when a question closed has 0 points and no answer either way.
        phase_events: in the order of their ``seq``.
        answers: in any order; each opening's are folded when it opens, because scores do not
            depend on when within an opening an answer came. One whose opening never came to be
            stored cannot exist: openings are durable before they take answers.
    """
    state = SessionState(session_id, quiz, settings)
    for join in sorted(joined, key=lambda event: event.participant_id):
        evolve(state, join)
    by_opening: dict[OpeningNo, list[AnswerAccepted]] = defaultdict(list)
    for answer in sorted(answers, key=lambda event: event.participant_id):
        by_opening[answer.opening_no].append(answer)
    for event in phase_events:
        evolve(state, event)
        if isinstance(event, Opened):
            _fold(state, by_opening.pop(event.opening_no, []))
        elif isinstance(event, SelfPacedOpened):
            for opening_no in list(state.openings):
                _fold(state, by_opening.pop(opening_no, []))
    assert not by_opening, f"answers without an opening: {sorted(by_opening)}"
    return state


def _fold(state: SessionState, answers: Iterable[AnswerAccepted]) -> None:
    for answer in answers:
        evolve(state, answer)


def snapshot(state: SessionState) -> dict[str, Any]:
    """Everything in a state that outlives its actor, as plain data in a fixed order.

    Left out is what only decorates the next frame: ``gained`` and ``rank_before``, which in
    self-paced play and for late joiners depend on the order of arrival.
    """
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
            )
            for _, person in sorted(state.participants.items())
        ],
        "by_join_key": sorted(state.by_join_key.items()),
        "nicknames": sorted(state.nicknames.items()),
        "banned_devices": sorted(state.banned_devices),
        "lock": state.lock.value,
        "flood_lock_off": state.flood_lock_off,
        "openings": [
            (
                opening.opening_no,
                opening.question_index,
                opening.opened_ms,
                opening.closes_ms,
                opening.closed,
                sorted(opening.answers.values(), key=lambda answer: answer.participant_id),
            )
            for _, opening in sorted(state.openings.items())
        ],
        "scoreboard": list(state.scoreboard.ranked()),
        "commands_done": [
            state.commands_done[command_id] for command_id in sorted(state.commands_done)
        ],
    }


def state_digest(state: SessionState) -> str:
    """A short fingerprint of :func:`snapshot`: equal states have equal digests (16 hex digits)."""
    return hashlib.sha256(msgspec.json.encode(snapshot(state))).hexdigest()[:16]
