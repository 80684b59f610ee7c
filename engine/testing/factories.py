"""Small valid quizzes: a test names only what matters to it."""

from __future__ import annotations

from typing import Any

from engine.model import Question, QuestionKind, Quiz

_DEFAULTS: dict[QuestionKind, dict[str, Any]] = {
    QuestionKind.SINGLE: {"choices": ("a", "b", "c", "d"), "correct": (1,)},
    QuestionKind.MULTIPLE: {"choices": ("a", "b", "c", "d"), "correct": (0, 2)},
    QuestionKind.TRUE_FALSE: {"choices": ("True", "False"), "correct": (0,)},
    QuestionKind.TYPED: {"accepted": ("Canberra",)},
}


def make_question(kind: QuestionKind = QuestionKind.SINGLE, **changes: Any) -> Question:
    """A valid question; choice 1 is right, of a multiple one 0 and 2, of true/false 0."""
    return Question(**{"kind": kind, "text": f"A {kind} question?", **_DEFAULTS[kind], **changes})


def make_quiz(*questions: Question) -> Quiz:
    """A quiz of these questions, or of one of each kind."""
    return Quiz("A quiz", questions or tuple(make_question(kind) for kind in QuestionKind))
