"""From stored records back to a state, whatever order the records come in.

The law, tested with Hypothesis: folding the events in the order in which they happened gives the
same state as :func:`restore` over the stored records.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

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
        session_id, quiz, settings: what the session was created with.
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
    """Everything in a state as plain data in a fixed order, for comparison."""
    return {
        "session_id": state.session_id,
        "phase": state.phase.value,
        "current_no": state.current_no,
        "next_participant_id": state.next_participant_id,
        "participants": [
            (p.participant_id, p.nickname, p.join_key, p.points, p.streak)
            + (p.correct_count, p.removed)
            for _, p in sorted(state.participants.items())
        ],
        "nicknames": sorted(state.nicknames.items()),
        "openings": [
            (o.opening_no, o.question_index, o.opened_ms, o.closes_ms, o.closed)
            + (sorted(o.answers.values(), key=lambda a: a.participant_id),)
            for _, o in sorted(state.openings.items())
        ],
        "scoreboard": list(state.scoreboard.ranked()),
        "commands_done": sorted(state.commands_done),
    }


