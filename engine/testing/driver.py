"""A session without any input or output: every decision is taken for stored at once."""

from __future__ import annotations

from collections.abc import Iterable

from engine.commands import Command, Join, Move, SubmitAnswer
from engine.events import Event, Joined
from engine.ids import OpeningNo, ParticipantId, SessionId
from engine.model import Mode, Quiz, ScoringPolicy, SessionSettings
from engine.phases import Step
from engine.session import Decision, Pending, SessionState, decide, evolve
from engine.testing.factories import make_quiz
from engine.wire import mask_of

#: When driven sessions begin, Unix milliseconds.
START_MS = 1_764_000_000_000
SESSION_ID = SessionId("00000000-0000-4000-8000-000000000001")

#: Settings that a test of one rule needs: no preview, no early close.
PLAIN = SessionSettings(preview_ms=0, close_when_all_answered=False)
SELF_PACED = SessionSettings(mode=Mode.SELF_PACED, scoring=ScoringPolicy.ACCURACY)


class SessionDriver:
    """Decides and evolves, and keeps the clock and the log.

    Attributes:
        state: the session.
        events: everything that has happened, in order.
        now_ms: the time at which the next command arrives; change it freely.
    """

    def __init__(self, quiz: Quiz | None = None, settings: SessionSettings = PLAIN) -> None:
        self.state = SessionState(SESSION_ID, quiz or make_quiz(), settings)
        self.pending = Pending()
        self.events: list[Event] = []
        self.now_ms = START_MS
        self._commands = 0

    def do(self, command: Command) -> Decision:
        """Decide a command now and apply what follows.

        Raises:
            ClientFault: it was refused.
        """
        decision = decide(self.state, command, self.now_ms, self.pending)
        for event in decision.events:
            self.do_event(event)
        return decision

    def do_event(self, event: Event) -> None:
        """Apply an event that was decided earlier."""
        self.events.append(event)
        evolve(self.state, event)

    def join(self, nickname: str, join_key: str = "", device: str = "") -> ParticipantId:
        """Let somebody in; the key is made of the nickname when none is given."""
        decision = self.do(Join(join_key or f"key-of-{nickname}", nickname, device))
        fact = decision.events[0] if decision.events else decision.repeats
        assert isinstance(fact, Joined)
        return fact.participant_id

    def move(
        self, step: Step, *, extra_ms: int = 0, who: int = 0, several: Iterable[int] = ()
    ) -> Decision:
        """Send the host's command as one who sees the present phase and opening."""
        self._commands += 1
        state = self.state
        return self.do(
            Move(
                step,
                state.phase,
                state.current_no,
                command_id="" if step is Step.DUE else f"command-{self._commands}",
                extra_ms=extra_ms,
                participant_id=ParticipantId(who),
                participants=tuple(map(ParticipantId, several)),
            )
        )

    def moves(self, *steps: Step) -> None:
        """Send several commands, one behind the other."""
        for step in steps:
            self.move(step)

    def answer(
        self, who: int, *choices: int, text: str = "", elapsed_ms: int = -1, opening_no: int = 0
    ) -> Decision:
        """Answer the present opening, or the one that is named."""
        return self.do(
            SubmitAnswer(
                ParticipantId(who),
                OpeningNo(opening_no or self.state.current_no),
                mask_of(choices),
                text,
                elapsed_ms,
            )
        )

    def wait(self, ms: int) -> None:
        """Let time pass."""
        self.now_ms += ms
