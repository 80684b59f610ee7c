"""The bodies of the API mirror the engine: the same fields, defaults and bounds."""

import msgspec
import pytest
from pydantic import ValidationError

from engine import limits
from engine.model import Question, QuestionKind, Quiz, SessionSettings, check_quiz
from engine.testing.factories import make_question, make_quiz
from serve_app.api.schemas import QuestionIn, QuizIn, SettingsIn


@pytest.mark.parametrize(
    ("model", "struct"), [(QuizIn, Quiz), (QuestionIn, Question), (SettingsIn, SessionSettings)]
)
def test_fields_and_defaults_are_those_of_the_engine(model, struct):
    assert set(model.model_fields) == set(struct.__struct_fields__)
    defaults = {f.name: f.default for f in msgspec.structs.fields(struct) if not f.required}
    for name, default in defaults.items():
        found = model.model_fields[name].default
        assert (tuple(found) if isinstance(found, list) else found) == default


def test_a_quiz_goes_through_unchanged():
    quiz = make_quiz()
    body = QuizIn(**msgspec.to_builtins(quiz))
    assert msgspec.convert(body.model_dump(), Quiz) == quiz


def test_the_example_of_the_documentation_is_a_good_quiz():
    example = QuizIn.model_config["json_schema_extra"]["example"]
    check_quiz(msgspec.convert(QuizIn(**example).model_dump(), Quiz))


@pytest.mark.parametrize(
    "changes",
    [
        {"text": ""},
        {"text": "x" * (limits.QUESTION_CHARS_MAX + 1)},
        {"choices": ["a"] * (limits.CHOICES_MAX + 1)},
        {"choices": ["", "b"]},
        {"correct": [limits.CHOICES_MAX]},
        {"correct": [-1]},
        {"accepted": ["a"] * (limits.ACCEPTED_MAX + 1)},
        {"time_limit_ms": limits.TIME_LIMIT_MS_MIN - 1},
        {"time_limit_ms": limits.TIME_LIMIT_MS_MAX + 1},
        {"explanation": "x" * (limits.EXPLANATION_CHARS_MAX + 1)},
        {"kind": "riddle"},
        {"points": "triple"},
        {"color": "red"},
    ],
)
def test_a_question_out_of_bounds_is_refused(changes):
    good = msgspec.to_builtins(make_question(QuestionKind.SINGLE))
    QuestionIn(**good)
    with pytest.raises(ValidationError):
        QuestionIn(**{**good, **changes})
