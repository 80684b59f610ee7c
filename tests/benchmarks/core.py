"""The rules alone, against the standard library reading one answer message."""

from __future__ import annotations

import json
import time

from engine.commands import Join, Move, SubmitAnswer
from engine.ids import Epoch, FrameVersion, ParticipantId, SessionId
from engine.model import Question, QuestionKind, Quiz, SessionSettings
from engine.phases import Phase, Step
from engine.session import Pending, SessionState, decide, evolve
from engine.view import build_view, diff, results
from simulation.load import answer_message

_PARTICIPANTS = 1_000
_QUESTIONS = 20
_QUIZZES = 8


def core_answers_per_s() -> float:
    """Answers through decide, evolve and the scoreboard: whole live quizzes, frames included."""
    seconds = sum(_quiz_s() for _ in range(_QUIZZES))
    return _QUIZZES * _QUESTIONS * _PARTICIPANTS / seconds


def _quiz_s() -> float:
    question = Question(QuestionKind.SINGLE, "Which?", ("a", "b", "c", "d"), (1,))
    quiz = Quiz("bench", (question,) * _QUESTIONS)
    state = SessionState(SessionId("bench"), quiz, SessionSettings(preview_ms=0))
    pending = Pending()
    for number in range(_PARTICIPANTS):
        for event in decide(state, Join(f"key-{number:06}", f"P{number}"), 0, pending).events:
            evolve(state, event)
    now_ms, seconds = 1_000, 0.0
    before = build_view(state, Epoch(1), FrameVersion(1))
    while state.phase is not Phase.FINISHED:
        _move(state, pending, now_ms)
        if state.phase is not Phase.QUESTION_OPEN:
            continue
        opening_no = state.current_no
        started = time.perf_counter()
        for number in range(1, _PARTICIPANTS + 1):
            command = SubmitAnswer(ParticipantId(number), opening_no, 1 << number % 4, "", number)
            for event in decide(state, command, now_ms + 1_500, pending).events:
                evolve(state, event)
        _move(state, pending, now_ms)
        after = build_view(state, Epoch(1), FrameVersion(1))
        diff(before, after)
        results(state, state.openings[opening_no])
        seconds += time.perf_counter() - started
        before, now_ms = after, now_ms + 60_000
    return seconds


def _move(state: SessionState, pending: Pending, now_ms: int) -> None:
    step = {Phase.LOBBY: Step.START, Phase.QUESTION_OPEN: Step.CLOSE}.get(state.phase, Step.NEXT)
    for event in decide(state, Move(step, state.phase, state.current_no), now_ms, pending).events:
        evolve(state, event)


def json_loads_per_s() -> float:
    """``json.loads`` on one answer message."""
    message = answer_message(3)
    count = 500_000
    started = time.perf_counter()
    for _ in range(count):
        json.loads(message)
    return count / (time.perf_counter() - started)
