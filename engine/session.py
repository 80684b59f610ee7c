"""START HERE. The rules of a session: ``decide`` says what follows from a command, ``evolve`` applies it.

``decide(state, command, now_ms, pending)`` changes nothing; it returns the events that the command
causes, or the earlier event that it repeats, or raises a coded error. ``evolve(state, event)``
updates a state in place and returns it. The SessionActor, the recovery, the simulator and the tests
all call these two. Between them stands durability: events that are decided but not yet stored are
handed to ``decide`` as ``pending``, so that a repeat finds its first and nobody sees a score that a
crash could take back.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from enum import StrEnum
from typing import Final, NamedTuple, cast

import msgspec

from engine import limits
from engine.commands import Command, Join, Move, Return, SubmitAnswer
from engine.errors import ClientFault, Conflict, Malformed, NotFound, TooMany, Unauthorized
from engine.events import (
    AnswerAccepted,
    Cancelled,
    Closed,
    DeadlineSet,
    Event,
    Extended,
    Finished,
    Joined,
    Locked,
    Opened,
    Previewed,
    Removed,
    Returned,
    ScoreboardShown,
    SelfPacedOpened,
    Skipped,
    StoredEvent,
    Unlocked,
)
from engine.ids import OpeningNo, ParticipantId, QuestionIndex, SessionId
from engine.model import Mode, Question, QuestionKind, Quiz, SessionSettings, preview_ms_of
from engine.names import clean_nickname, fold_nickname, look_of_nickname
from engine.phases import TRANSITIONS, Phase, Step
from engine.scoreboard import Scoreboard
from engine.scoring import is_correct, points_for


class Participant(msgspec.Struct):
    """One person in the session. Points count closed openings only, except in self-paced play."""

    participant_id: ParticipantId
    nickname: str
    join_key: str
    points: int = 0
    #: Right answers in a row.
    streak: int = 0
    correct_count: int = 0
    #: Points that the last closed opening brought, and the rank before it (0: none yet).
    gained: int = 0
    rank_before: int = 0
    removed: bool = False
    #: See :class:`engine.commands.Join`.
    device: str = ""
    joined_ms: int = 0
    #: How often the place went to another device; a token belongs to one of them.
    returns: int = 0


class Lock(StrEnum):
    """Whether somebody new may join."""

    OPEN = "open"
    #: The host has locked the session.
    HOST = "host"
    #: The session has locked itself, because a flood of joins was seen.
    FLOOD = "flood"


class Opening(msgspec.Struct):
    """One time that a question is open. All times are Unix milliseconds."""

    opening_no: OpeningNo
    question_index: QuestionIndex
    #: When answers opened, 0 during the preview.
    opened_ms: int
    #: The deadline; during the preview, when answers will open.
    closes_ms: int
    closed: bool = False
    #: The most that a replica's measurement of an elapsed time may lie below the session's own.
    slack_ms: int = limits.DELIVERY_SLACK_MS_MAX
    answers: dict[ParticipantId, AnswerAccepted] = msgspec.field(default_factory=dict)


class Done(msgspec.Struct, frozen=True):
    """The receipt of a host's command: where the session stood after it."""

    command_id: str
    phase: Phase
    opening_no: OpeningNo


class SessionState:
    """Everything that a session knows. Owned by one caller; :func:`evolve` updates it in place."""

    __slots__ = (
        "answers_total",
        "banned_devices",
        "by_join_key",
        "closes_ms",
        "commands_done",
        "current_no",
        "flood_lock_off",
        "lock",
        "looks",
        "next_participant_id",
        "nicknames",
        "openings",
        "participants",
        "phase",
        "quiz",
        "removed",
        "scoreboard",
        "session_id",
        "settings",
    )

    def __init__(self, session_id: SessionId, quiz: Quiz, settings: SessionSettings) -> None:
        self.session_id = session_id
        self.quiz = quiz
        self.settings = settings
        self.phase = Phase.LOBBY
        self.participants: dict[ParticipantId, Participant] = {}
        self.by_join_key: dict[str, ParticipantId] = {}
        #: Folded nickname -> participant, without the removed ones.
        self.nicknames: dict[str, ParticipantId] = {}
        #: How a nickname looks -> participant, without the removed ones.
        self.looks: dict[str, ParticipantId] = {}
        #: Whom the host has removed. Their answers are kept, and count nowhere.
        self.removed: set[ParticipantId] = set()
        #: Devices of the removed.
        self.banned_devices: set[str] = set()
        self.lock = Lock.OPEN
        #: The host has undone a lock of the session's own; another one would be in the way.
        self.flood_lock_off = False
        self.next_participant_id = ParticipantId(1)
        self.openings: dict[OpeningNo, Opening] = {}
        #: Answers of all openings, those of the removed among them.
        self.answers_total = 0
        #: The opening that is previewed, open or closed last; 0 in the lobby and in self-paced play.
        self.current_no = OpeningNo(0)
        #: When self-paced play ends, Unix milliseconds; 0 as long as the host has said nothing.
        self.closes_ms = 0
        self.scoreboard = Scoreboard()
        self.commands_done: dict[str, Done] = {}

    @property
    def current(self) -> Opening | None:
        """The opening that the session is at, if any."""
        return self.openings.get(self.current_no)

    def question(self, opening: Opening) -> Question:
        """The question of an opening."""
        return self.quiz.questions[opening.question_index]

    @property
    def all_answered(self) -> bool:
        """Whether every participant that is still in has answered the current opening."""
        opening = self.current
        if opening is None or not self.scoreboard:
            return False
        if len(opening.answers) < len(self.scoreboard):
            return False
        return self.answers_count(opening) == len(self.scoreboard)

    def answers_count(self, opening: Opening) -> int:
        """How many of those who are still in have answered an opening.

        O(the fewer of its answers and the removed).
        """
        return len(opening.answers) - len(opening.answers.keys() & self.removed)


class Pending:
    """Events that are decided and not yet stored: the second place in which a repeat is looked for."""

    __slots__ = ("answers", "joins", "looks", "next_participant_id", "nicknames")

    def __init__(self) -> None:
        self.answers: dict[tuple[OpeningNo, ParticipantId], AnswerAccepted] = {}
        self.joins: dict[str, Joined] = {}
        self.nicknames: set[str] = set()
        self.looks: set[str] = set()
        self.next_participant_id = ParticipantId(0)

    def __contains__(self, event: AnswerAccepted | Joined) -> bool:
        if isinstance(event, AnswerAccepted):
            return (event.opening_no, event.participant_id) in self.answers
        return event.join_key in self.joins

    def add(self, event: AnswerAccepted | Joined) -> None:
        """Note an event that was decided."""
        if isinstance(event, AnswerAccepted):
            self.answers[event.opening_no, event.participant_id] = event
        else:
            self.joins[event.join_key] = event
            self.nicknames.add(fold_nickname(event.nickname))
            self.looks.add(look_of_nickname(event.nickname))
            self.next_participant_id = ParticipantId(event.participant_id + 1)

    def discard(self, event: AnswerAccepted | Joined) -> None:
        """Forget an event that has been stored and evolved."""
        if isinstance(event, AnswerAccepted):
            self.answers.pop((event.opening_no, event.participant_id), None)
        else:
            self.joins.pop(event.join_key, None)
            self.nicknames.discard(fold_nickname(event.nickname))
            self.looks.discard(look_of_nickname(event.nickname))


class Decision(NamedTuple):
    """What a command leads to: new events, or the earlier fact that it repeats (never both)."""

    events: tuple[Event, ...] = ()
    repeats: AnswerAccepted | Joined | Done | None = None


def decide(state: SessionState, command: Command, now_ms: int, pending: Pending) -> Decision:
    """Say what a command leads to. Pure: the same arguments give the same result.

    Raises:
        ClientFault: with a stable code, when the command cannot be carried out; nothing changes.
    """
    if isinstance(command, SubmitAnswer):
        return decide_answer(state, command, now_ms, pending)
    if isinstance(command, Join):
        return _decide_join(state, command, now_ms, pending)
    if isinstance(command, Return):
        return _decide_return(state, command, now_ms, pending)
    return _decide_move(state, command, now_ms)


def decide_answer(
    state: SessionState, command: SubmitAnswer, now_ms: int, pending: Pending
) -> Decision:
    """Decide an answer. O(1). A repeat is looked for before the phase (it may come after the close)."""
    who, opening_no = command.participant_id, command.opening_no
    opening = state.openings.get(opening_no)
    if opening is not None:
        earlier = opening.answers.get(who) or pending.answers.get((opening_no, who))
        if earlier is not None:
            return Decision(repeats=earlier)
    participant = state.participants.get(who)
    if participant is None:
        raise Unauthorized(f"participant {who} is not in this session", "not_found")
    if participant.removed:
        raise Unauthorized("the host removed this participant from the session", "removed")
    if is_left(participant, command.returns):
        raise Unauthorized(_LEFT)
    if opening is None:
        raise NotFound(
            f"opening: {opening_no} does not exist; the session is at opening {state.current_no}"
        )
    if opening.closed:
        raise Conflict(f"opening {opening_no} is closed", "late")
    if not opening.opened_ms:
        raise Conflict(f"opening {opening_no} does not take answers yet", "not_open")
    elapsed_ms = _elapsed_ms(state, opening, command, now_ms)
    if _is_late(state, opening, elapsed_ms, now_ms):
        raise Conflict(f"opening {opening_no} was past its deadline", "late")
    question = state.quiz.questions[opening.question_index]
    _check_answer(question, command)
    correct = is_correct(question, command.choice_mask, command.text)
    points = points_for(
        state.settings.scoring,
        question,
        elapsed_ms,
        correct=correct,
        streak_before=participant.streak,
        streak_bonus=state.settings.streak_bonus,
    )
    event = AnswerAccepted(
        # The session's own numbers, not those that came with the command: a million answers share them.
        participant.participant_id,
        opening.opening_no,
        opening.question_index,
        command.choice_mask,
        command.text,
        elapsed_ms,
        correct,
        points,
        now_ms,
    )
    return Decision((event,))


def _is_late(state: SessionState, opening: Opening, elapsed_ms: int, now_ms: int) -> bool:
    if state.closes_ms:
        return now_ms > state.closes_ms + limits.CLOSE_GRACE_MS
    return bool(opening.closes_ms) and elapsed_ms > opening.closes_ms - opening.opened_ms


def _elapsed_ms(state: SessionState, opening: Opening, command: SubmitAnswer, now_ms: int) -> int:
    """The replica's measurement, clamped by the session's own time since the opening."""
    own_ms = max(0, now_ms - opening.opened_ms)
    if command.elapsed_ms < 0:
        return own_ms
    if state.settings.mode is Mode.LIVE:
        return min(max(command.elapsed_ms, own_ms - opening.slack_ms), own_ms)
    return min(command.elapsed_ms, own_ms)


def _check_answer(question: Question, command: SubmitAnswer) -> None:
    mask = command.choice_mask
    if question.kind is QuestionKind.TYPED:
        if mask or not normalize_nonempty(command.text):
            raise Malformed("answer: this question takes `text` that is not blank", "bad_choice")
        if len(command.text) > limits.TYPED_CHARS_MAX:
            raise Malformed(
                f"text: {len(command.text)} characters; at most {limits.TYPED_CHARS_MAX} are allowed",
                "bad_choice",
            )
        return
    count = len(question.choices)
    if command.text:
        raise Malformed("answer: this question takes `choices`, not `text`", "bad_choice")
    if mask <= 0 or mask >> count:
        raise Malformed(
            f"choices: one or more of 0 to {count - 1} are allowed for this question", "bad_choice"
        )
    if mask & (mask - 1) and question.kind is not QuestionKind.MULTIPLE:
        raise Malformed("choices: this question takes exactly one", "bad_choice")


def normalize_nonempty(text: str) -> bool:
    """Whether a text has anything to see, and nothing that cannot be stored."""
    return bool(text.strip()) and _is_storable(text)


def _is_storable(text: str) -> bool:
    """Whether the log can hold a text: PostgreSQL takes no NUL, UTF-8 no lone surrogate."""
    return not any(unicodedata.category(char) in ("Cc", "Cs") for char in text)


def _check_key(name: str, key: str) -> None:
    """Refuse a key of a client's that no log could store: its append would fail for ever."""
    if not _is_storable(key):
        raise Malformed(f"{name}: control characters are not allowed")


def _decide_join(state: SessionState, command: Join, now_ms: int, pending: Pending) -> Decision:
    _check_key("join_key", command.join_key)
    known = state.by_join_key.get(command.join_key)
    if known is not None:
        participant = state.participants[known]
        if participant.removed:
            raise Unauthorized("the host removed this participant from the session", "removed")
        if participant.join_key != command.join_key:
            raise Unauthorized(_LEFT)
        return Decision(repeats=Joined(known, command.join_key, participant.nickname, now_ms))
    waiting = pending.joins.get(command.join_key)
    if waiting is not None:
        return Decision(repeats=waiting)
    _check_door(state, command)
    nickname = clean_nickname(command.nickname)
    folded = fold_nickname(nickname)
    if folded in state.nicknames or folded in pending.nicknames:
        raise Conflict(f"nickname: {nickname!r} is taken in this session", "nickname_taken")
    look = look_of_nickname(nickname)
    if look in state.looks or look in pending.looks:
        raise Conflict(
            f"nickname: {nickname!r} looks like another one in this session", "nickname_taken"
        )
    if len(state.scoreboard) + len(pending.joins) >= limits.PARTICIPANTS_MAX:
        raise TooMany(
            f"participants: at most {limits.PARTICIPANTS_MAX} are allowed", "session_full"
        )
    people = len(state.scoreboard) + len(pending.joins) + 1
    if state.answers_total + _answers_to_come(state, people) > limits.ANSWERS_MAX:
        raise TooMany(
            f"participants: {people} of them could give more than the {limits.ANSWERS_MAX} answers "
            f"that a session may have; the quiz has {len(state.quiz.questions)} questions",
            "session_full",
        )
    participant_id = max(state.next_participant_id, pending.next_participant_id)
    if participant_id > limits.PARTICIPANT_ID_MAX:
        raise TooMany(
            f"participants: at most {limits.PARTICIPANT_ID_MAX} may join, the removed included",
            "session_full",
        )
    joined = Joined(
        ParticipantId(participant_id), command.join_key, nickname, now_ms, command.device
    )
    return Decision((joined,))


_LEFT: Final = "this participant has come back on another device, which has the place now"


def is_left(participant: Participant, returns: int) -> bool:
    """Whether a token was made before the place went to another device; -1: that is not known."""
    return 0 <= returns != participant.returns


def _decide_return(state: SessionState, command: Return, now_ms: int, pending: Pending) -> Decision:
    _check_key("join_key", command.join_key)
    if state.phase.is_over:
        raise Conflict(f"the session is {state.phase}", "session_over")
    participant = state.participants.get(command.participant_id)
    if participant is None:
        raise NotFound(f"participant: {command.participant_id} is not in this session")
    if participant.removed:
        raise Unauthorized("the host removed this participant from the session", "removed")
    if command.device and command.device in state.banned_devices:
        raise Unauthorized("the host removed a participant who joined from this device", "removed")
    who = participant.participant_id
    if participant.join_key == command.join_key:
        return Decision(repeats=Joined(who, command.join_key, participant.nickname, now_ms))
    if command.join_key in state.by_join_key or command.join_key in pending.joins:
        raise Malformed("join_key: it was used before; make another one")
    if participant.returns >= limits.RETURNS_MAX:
        raise TooMany(f"returns: at most {limits.RETURNS_MAX} of one participant are allowed")
    return Decision((Returned(participant_id=who, join_key=command.join_key, at_ms=now_ms),))


#: What :func:`door_of` says when a session has started and takes nobody after its lobby.
STARTED: Final = "started"


def door_of(state: SessionState) -> str:
    """Whether somebody new may join: a value of :class:`Lock`, or :data:`STARTED`."""
    if state.lock is Lock.OPEN and state.phase is not Phase.LOBBY and not state.settings.late_join:
        return STARTED
    return state.lock.value


def _check_door(state: SessionState, command: Join) -> None:
    """Refuse somebody new whom the session does not let in now, whatever the name."""
    if state.phase.is_over:
        raise Conflict(f"the session is {state.phase}", "session_over")
    if command.device and command.device in state.banned_devices:
        raise Unauthorized("the host removed a participant who joined from this device", "removed")
    if state.lock is not Lock.OPEN:
        raise Conflict("the session is locked: nobody new may join", "locked")
    if state.phase is not Phase.LOBBY and not state.settings.late_join:
        raise Conflict(f"the session is in phase {state.phase} and takes nobody after the lobby")


def _answers_to_come(state: SessionState, people: int) -> int:
    """The most answers that so many people can give from now on."""
    questions = len(state.quiz.questions)
    opening = state.current
    if opening is not None:
        questions -= opening.question_index + opening.closed
    return people * questions


def _decide_move(state: SessionState, command: Move, now_ms: int) -> Decision:
    _check_key("command_id", command.command_id)
    done = state.commands_done.get(command.command_id) if command.command_id else None
    if done is not None:
        return Decision(repeats=done)
    if command.step is Step.REMOVE:
        return _decide_remove(state, command, now_ms)
    if command.step in (Step.LOCK, Step.UNLOCK):
        return _decide_lock(state, command, now_ms)
    if (command.phase, command.opening_no) != (state.phase, state.current_no):
        raise Conflict(
            f"the command was meant for phase {command.phase}, opening {command.opening_no}; "
            f"the session is at phase {state.phase}, opening {state.current_no}",
            "stale_command",
        )
    allowed = TRANSITIONS[state.phase]
    if command.step not in allowed:
        names = ", ".join(sorted(allowed)) or "nothing"
        raise Conflict(f"{command.step} is not possible in phase {state.phase}; allowed: {names}")
    return Decision(_MOVES[command.step](state, command, now_ms))


def _decide_remove(state: SessionState, command: Move, now_ms: int) -> Decision:
    """Remove those who are in; of several, some may have been removed already.

    One event for each, stored together: so every version of every reader understands them.
    """
    wanted = command.participants or (command.participant_id,)
    if command.participants and command.participant_id:
        raise Malformed("move: give `participant` or `participants`, not both")
    if len(wanted) > limits.REMOVED_AT_ONCE_MAX:
        raise Malformed(
            f"participants: {len(wanted)} of them; "
            f"at most {limits.REMOVED_AT_ONCE_MAX} are allowed at once"
        )
    present = [who for who in dict.fromkeys(wanted) if who in state.scoreboard]
    if not present:
        raise NotFound(f"participant: {wanted[0]} is not in this session")
    return Decision(
        tuple(
            Removed(participant_id=who, at_ms=now_ms, command_id=command.command_id)
            for who in present
        )
    )


def _decide_lock(state: SessionState, command: Move, now_ms: int) -> Decision:
    if state.phase.is_over:
        raise Conflict(f"the session is {state.phase}", "session_over")
    kind = Locked if command.step is Step.LOCK else Unlocked
    return Decision((kind(at_ms=now_ms, command_id=command.command_id),))


def lock_for_flood(state: SessionState, now_ms: int) -> tuple[Event, ...]:
    """What follows when a flood of joins is seen: nobody new comes in until the host says so.

    Nothing when the session is locked or over, or when the host has undone such a lock before.
    """
    if state.phase.is_over or state.lock is not Lock.OPEN or state.flood_lock_off:
        return ()
    return (Locked(at_ms=now_ms, flood=True),)


def _start(state: SessionState, command: Move, now_ms: int) -> tuple[Event, ...]:
    if state.settings.mode is Mode.SELF_PACED:
        return (SelfPacedOpened(at_ms=now_ms, command_id=command.command_id),)
    return _ask(state, QuestionIndex(0), command, now_ms)


def _ask(
    state: SessionState, index: QuestionIndex, command: Move, now_ms: int
) -> tuple[Event, ...]:
    opening_no = OpeningNo(state.current_no + 1)
    preview_ms = preview_ms_of(state.quiz.questions[index], state.settings)
    if not preview_ms:
        return (_opened(state, opening_no, index, command, now_ms),)
    return (
        Previewed(
            opening_no=opening_no,
            question_index=index,
            opens_ms=now_ms + preview_ms,
            at_ms=now_ms,
            command_id=command.command_id,
        ),
    )


def _opened(
    state: SessionState, opening_no: OpeningNo, index: QuestionIndex, command: Move, now_ms: int
) -> Opened:
    return Opened(
        opening_no=opening_no,
        question_index=index,
        closes_ms=now_ms + state.quiz.questions[index].time_limit_ms,
        at_ms=now_ms,
        command_id=command.command_id,
    )


def _next(state: SessionState, command: Move, now_ms: int) -> tuple[Event, ...]:
    opening = state.openings[state.current_no]
    if state.phase is Phase.PREVIEW:
        return (_opened(state, opening.opening_no, opening.question_index, command, now_ms),)
    following = QuestionIndex(opening.question_index + 1)
    if state.phase is Phase.QUESTION_CLOSED:
        if following >= len(state.quiz.questions):
            return (Finished(at_ms=now_ms, command_id=command.command_id),)
        return (ScoreboardShown(at_ms=now_ms, command_id=command.command_id),)
    return _ask(state, following, command, now_ms)


def _close(state: SessionState, command: Move, now_ms: int) -> tuple[Event, ...]:
    return (Closed(opening_no=state.current_no, at_ms=now_ms, command_id=command.command_id),)


def _set_deadline(_state: SessionState, command: Move, now_ms: int) -> tuple[Event, ...]:
    if not limits.DEADLINE_MS_MIN <= command.extra_ms <= limits.DEADLINE_MS_MAX:
        raise Malformed(
            f"extra_ms: {command.extra_ms}; "
            f"{limits.DEADLINE_MS_MIN} to {limits.DEADLINE_MS_MAX} are allowed"
        )
    closes_ms = now_ms + command.extra_ms
    return (DeadlineSet(closes_ms=closes_ms, at_ms=now_ms, command_id=command.command_id),)


def due_ms(state: SessionState) -> int:
    """When the clock moves the session on by itself, Unix milliseconds; 0 where it does not."""
    if state.phase is Phase.SELF_PACED_OPEN:
        return state.closes_ms and state.closes_ms + limits.CLOSE_GRACE_MS
    opening = state.current
    if opening is None or state.phase not in (Phase.PREVIEW, Phase.QUESTION_OPEN):
        return 0
    return opening.closes_ms + (limits.CLOSE_GRACE_MS if opening.opened_ms else 0)


def _due(state: SessionState, command: Move, now_ms: int) -> tuple[Event, ...]:
    if state.phase is Phase.SELF_PACED_OPEN:
        if not state.closes_ms or now_ms < due_ms(state):
            return ()
        return (Finished(at_ms=now_ms),)
    opening = state.openings[state.current_no]
    if state.phase is Phase.PREVIEW:
        if now_ms < opening.closes_ms:
            return ()
        return _next(state, command, now_ms)
    waits = not (state.settings.close_when_all_answered and state.all_answered)
    if waits and now_ms < opening.closes_ms + limits.CLOSE_GRACE_MS:
        return ()
    return _close(state, command, now_ms)


def _extend(state: SessionState, command: Move, now_ms: int) -> tuple[Event, ...]:
    if not limits.EXTEND_MS_MIN <= command.extra_ms <= limits.EXTEND_MS_MAX:
        raise Malformed(
            f"extra_ms: {command.extra_ms}; "
            f"{limits.EXTEND_MS_MIN} to {limits.EXTEND_MS_MAX} are allowed"
        )
    opening = state.openings[state.current_no]
    return (
        Extended(
            opening_no=opening.opening_no,
            closes_ms=max(opening.closes_ms, now_ms) + command.extra_ms,
            at_ms=now_ms,
            command_id=command.command_id,
        ),
    )


def _end(state: SessionState, command: Move, now_ms: int) -> tuple[Event, ...]:
    last: Event
    if command.step is Step.FINISH:
        last = Finished(at_ms=now_ms, command_id=command.command_id)
    else:
        last = Cancelled(at_ms=now_ms, command_id=command.command_id)
    if state.phase is Phase.QUESTION_OPEN:
        # What was acknowledged counts, so an open question is closed first.
        return (Closed(opening_no=state.current_no, at_ms=now_ms), last)
    return (last,)


_MOVES: dict[Step, Callable[[SessionState, Move, int], tuple[Event, ...]]] = {
    Step.START: _start,
    Step.NEXT: _next,
    Step.CLOSE: _close,
    Step.DUE: _due,
    Step.EXTEND: _extend,
    Step.DEADLINE: _set_deadline,
    Step.FINISH: _end,
    Step.CANCEL: _end,
}


def rearm(state: SessionState, now_ms: int) -> tuple[Event, ...]:
    """Events that a session owes after it was away: a deadline that passed meanwhile moves.

    To ``now + RECOVERY_GRACE_MS``, so that those who could not answer get a moment more.
    """
    if state.phase is Phase.SELF_PACED_OPEN and 0 < state.closes_ms <= now_ms:
        return (DeadlineSet(closes_ms=now_ms + limits.RECOVERY_GRACE_MS, at_ms=now_ms),)
    opening = state.current
    if opening is None or opening.closed or state.phase not in (Phase.PREVIEW, Phase.QUESTION_OPEN):
        return ()
    if opening.closes_ms > now_ms:
        return ()
    return (
        Extended(
            opening_no=opening.opening_no,
            closes_ms=now_ms + limits.RECOVERY_GRACE_MS,
            at_ms=now_ms,
        ),
    )


def forgive_absence(state: SessionState, now_ms: int) -> None:
    """Let answers that were given while nobody was there lose no time; called when somebody is.

    How long the session was away is not stored, but it is no longer than its question is open. Such
    an answer keeps the time that its replica took when it first arrived.
    """
    opening = state.current
    if opening is not None and opening.opened_ms and not opening.closed:
        opening.slack_ms += max(0, now_ms - opening.opened_ms)


def evolve(state: SessionState, event: Event | Skipped) -> SessionState:
    """Apply a fact, in place, and return the state.

    An answer that the state holds already changes nothing. An answer costs O(1) in a live session
    and O(log n) in a self-paced one; a close O(n log n).
    """
    if isinstance(event, AnswerAccepted):
        _evolve_answer(state, event)
    elif isinstance(event, Joined):
        _evolve_joined(state, event)
    else:
        _EVOLVE[type(event)](state, event)
        if event.command_id:
            _remember(state, event.command_id)
    return state


def _remember(state: SessionState, command_id: str) -> None:
    done = state.commands_done
    done[command_id] = Done(command_id, state.phase, state.current_no)
    if len(done) > limits.COMMANDS_REMEMBERED_MAX:
        del done[next(iter(done))]


def _evolve_answer(state: SessionState, event: AnswerAccepted) -> None:
    opening = state.openings[event.opening_no]
    if event.participant_id in opening.answers:
        return
    opening.answers[event.participant_id] = event
    state.answers_total += 1
    if state.settings.mode is Mode.SELF_PACED:
        participant = state.participants[event.participant_id]
        participant.gained = event.points
        participant.correct_count += event.correct
        if event.points:
            participant.points += event.points
            if not participant.removed:
                state.scoreboard.set(event.participant_id, participant.points)


def _evolve_joined(state: SessionState, event: Joined) -> None:
    if event.participant_id in state.participants:
        return
    state.participants[event.participant_id] = Participant(
        event.participant_id,
        event.nickname,
        event.join_key,
        device=event.device,
        joined_ms=event.at_ms,
    )
    state.by_join_key[event.join_key] = event.participant_id
    state.nicknames[fold_nickname(event.nickname)] = event.participant_id
    state.looks[look_of_nickname(event.nickname)] = event.participant_id
    state.next_participant_id = ParticipantId(
        max(state.next_participant_id, event.participant_id + 1)
    )
    state.scoreboard.set(event.participant_id, 0)


def _evolve_previewed(state: SessionState, event: Previewed) -> None:
    state.openings[event.opening_no] = Opening(
        event.opening_no, event.question_index, opened_ms=0, closes_ms=event.opens_ms
    )
    state.current_no = event.opening_no
    state.phase = Phase.PREVIEW


def _evolve_opened(state: SessionState, event: Opened) -> None:
    state.openings[event.opening_no] = Opening(
        event.opening_no, event.question_index, opened_ms=event.at_ms, closes_ms=event.closes_ms
    )
    state.current_no = event.opening_no
    state.phase = Phase.QUESTION_OPEN


def _evolve_extended(state: SessionState, event: Extended) -> None:
    state.openings[event.opening_no].closes_ms = event.closes_ms


def _evolve_closed(state: SessionState, event: Closed) -> None:
    opening = state.openings[event.opening_no]
    opening.closed = True
    state.phase = Phase.QUESTION_CLOSED
    for who, _, rank in state.scoreboard.ranked():
        state.participants[who].rank_before = rank
    for participant in state.participants.values():
        answer = opening.answers.get(participant.participant_id)
        participant.gained = answer.points if answer is not None else 0
        if answer is None or not answer.correct:
            participant.streak = 0
            continue
        participant.streak += 1
        participant.correct_count += 1
        if answer.points:
            participant.points += answer.points
            if not participant.removed:
                state.scoreboard.set(participant.participant_id, participant.points)


def _evolve_scoreboard_shown(state: SessionState, _event: ScoreboardShown) -> None:
    state.phase = Phase.SCOREBOARD


def _evolve_self_paced_opened(state: SessionState, event: SelfPacedOpened) -> None:
    for index in range(len(state.quiz.questions)):
        opening_no = OpeningNo(index + 1)
        state.openings[opening_no] = Opening(
            opening_no, QuestionIndex(index), opened_ms=event.at_ms, closes_ms=0
        )
    state.phase = Phase.SELF_PACED_OPEN


def _evolve_deadline_set(state: SessionState, event: DeadlineSet) -> None:
    state.closes_ms = event.closes_ms


def _evolve_finished(state: SessionState, _event: Finished) -> None:
    _end_all(state, Phase.FINISHED)


def _evolve_cancelled(state: SessionState, _event: Cancelled) -> None:
    _end_all(state, Phase.CANCELLED)


def _end_all(state: SessionState, phase: Phase) -> None:
    state.phase = phase
    for opening in state.openings.values():
        opening.closed = True


def _evolve_removed(state: SessionState, event: Removed) -> None:
    participant = state.participants[event.participant_id]
    participant.removed = True
    state.removed.add(event.participant_id)
    if participant.device:
        state.banned_devices.add(participant.device)
    # Recovery folds every join first: the name may belong to somebody who took it afterwards.
    for names, name in (
        (state.nicknames, fold_nickname(participant.nickname)),
        (state.looks, look_of_nickname(participant.nickname)),
    ):
        if names.get(name) == participant.participant_id:
            del names[name]
    state.scoreboard.remove(event.participant_id)


def _evolve_returned(state: SessionState, event: Returned) -> None:
    # The key of the device before stays: nobody else joins with it, and it is told what has happened.
    participant = state.participants[event.participant_id]
    participant.join_key = event.join_key
    participant.returns += 1
    state.by_join_key[event.join_key] = event.participant_id


def _evolve_locked(state: SessionState, event: Locked) -> None:
    state.lock = Lock.FLOOD if event.flood else Lock.HOST
    if not event.flood:
        state.flood_lock_off = False


def _evolve_skipped(_state: SessionState, _event: Skipped) -> None:
    """Only its command counts, as that of any event."""


def _evolve_unlocked(state: SessionState, _event: Unlocked) -> None:
    if state.lock is Lock.FLOOD:
        state.flood_lock_off = True
    state.lock = Lock.OPEN


_EVOLVE = cast(
    "dict[type[StoredEvent], Callable[[SessionState, StoredEvent], None]]",
    {
        Previewed: _evolve_previewed,
        Opened: _evolve_opened,
        Extended: _evolve_extended,
        Closed: _evolve_closed,
        ScoreboardShown: _evolve_scoreboard_shown,
        SelfPacedOpened: _evolve_self_paced_opened,
        DeadlineSet: _evolve_deadline_set,
        Finished: _evolve_finished,
        Cancelled: _evolve_cancelled,
        Removed: _evolve_removed,
        Returned: _evolve_returned,
        Locked: _evolve_locked,
        Unlocked: _evolve_unlocked,
        Skipped: _evolve_skipped,
    },
)

__all__ = [
    "ClientFault",
    "Decision",
    "Done",
    "Lock",
    "Opening",
    "Participant",
    "Pending",
    "SessionState",
    "decide",
    "decide_answer",
    "due_ms",
    "evolve",
    "forgive_absence",
    "is_left",
    "lock_for_flood",
    "rearm",
]
