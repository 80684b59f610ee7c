"""The phases of a session and every step between them, as one table.

``docs/ARCHITECTURE.md`` draws its diagram from :data:`TRANSITIONS`; a test keeps the two equal.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Phase(StrEnum):
    """What a session is doing."""

    LOBBY = "lobby"
    PREVIEW = "preview"
    QUESTION_OPEN = "question_open"
    QUESTION_CLOSED = "question_closed"
    SCOREBOARD = "scoreboard"
    SELF_PACED_OPEN = "self_paced_open"
    FINISHED = "finished"
    CANCELLED = "cancelled"

    @property
    def is_over(self) -> bool:
        """Whether nothing can follow."""
        return self in (Phase.FINISHED, Phase.CANCELLED)


class Step(StrEnum):
    """What moves a session: the host's actions, and the clock's ``due``."""

    START = "start"
    NEXT = "next"
    CLOSE = "close"
    EXTEND = "extend"
    #: Self-paced play gets an end, or another one.
    DEADLINE = "deadline"
    FINISH = "finish"
    CANCEL = "cancel"
    #: A deadline has passed, or everybody has answered; never sent by a client.
    DUE = "due"
    #: Not moves, and possible in every phase: the host removes participants; the host lets nobody
    #: new in, or everybody again.
    REMOVE = "remove"
    LOCK = "lock"
    UNLOCK = "unlock"


#: phase -> step -> the phases it may lead to. Two targets: START and NEXT leave the preview out
#: when the session has none, NEXT skips the scoreboard after the last question.
TRANSITIONS: Final[dict[Phase, dict[Step, tuple[Phase, ...]]]] = {
    Phase.LOBBY: {
        Step.START: (Phase.PREVIEW, Phase.QUESTION_OPEN, Phase.SELF_PACED_OPEN),
        Step.CANCEL: (Phase.CANCELLED,),
    },
    Phase.PREVIEW: {
        Step.NEXT: (Phase.QUESTION_OPEN,),
        Step.DUE: (Phase.QUESTION_OPEN,),
        Step.FINISH: (Phase.FINISHED,),
        Step.CANCEL: (Phase.CANCELLED,),
    },
    Phase.QUESTION_OPEN: {
        Step.CLOSE: (Phase.QUESTION_CLOSED,),
        Step.DUE: (Phase.QUESTION_CLOSED,),
        Step.EXTEND: (Phase.QUESTION_OPEN,),
        Step.FINISH: (Phase.FINISHED,),
        Step.CANCEL: (Phase.CANCELLED,),
    },
    Phase.QUESTION_CLOSED: {
        Step.NEXT: (Phase.SCOREBOARD, Phase.FINISHED),
        Step.FINISH: (Phase.FINISHED,),
        Step.CANCEL: (Phase.CANCELLED,),
    },
    Phase.SCOREBOARD: {
        Step.NEXT: (Phase.PREVIEW, Phase.QUESTION_OPEN),
        Step.FINISH: (Phase.FINISHED,),
        Step.CANCEL: (Phase.CANCELLED,),
    },
    Phase.SELF_PACED_OPEN: {
        Step.DEADLINE: (Phase.SELF_PACED_OPEN,),
        Step.DUE: (Phase.FINISHED,),
        Step.FINISH: (Phase.FINISHED,),
        Step.CANCEL: (Phase.CANCELLED,),
    },
    Phase.FINISHED: {},
    Phase.CANCELLED: {},
}


def phase_diagram() -> str:
    """:data:`TRANSITIONS` as a Mermaid state diagram, one line for each pair of phases.

    REMOVE, LOCK and UNLOCK are left out: they are possible in every phase and lead nowhere.
    """
    lines = ["stateDiagram-v2", f"    [*] --> {Phase.LOBBY}"]
    for phase, steps in TRANSITIONS.items():
        labels: dict[Phase, list[Step]] = {}
        for step, targets in steps.items():
            for target in targets:
                labels.setdefault(target, []).append(step)
        lines += [f"    {phase} --> {to}: {', '.join(how)}" for to, how in labels.items()]
        if phase.is_over:
            lines.append(f"    {phase} --> [*]")
    return "\n".join(lines)
