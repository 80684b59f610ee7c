"""The quiz that a fresh start offers is a good one."""

from importlib.resources import files

from engine.importers import import_quiz
from engine.model import QuestionKind, check_quiz
from serve_app.samples import welcome_quiz


def test_every_question_of_the_sample_can_be_used():
    data = files("serve_app.samples").joinpath("welcome.json").read_bytes()
    report = import_quiz(data, "rayquiz", "")
    assert (report.skipped, report.warnings) == ([], [])
    assert check_quiz(welcome_quiz()) == report.quiz


def test_the_sample_shows_what_the_engine_can_do():
    questions = welcome_quiz().questions
    assert len(questions) == 12
    assert {question.kind for question in questions} == set(QuestionKind)
    assert len({question.time_limit_ms for question in questions}) >= 4
    assert all(question.explanation for question in questions)
    assert questions[0].points.points_max == 0, "the first one is for warming up"


def test_the_right_answer_is_not_always_in_the_same_place():
    single = [q.correct for q in welcome_quiz().questions if q.kind is QuestionKind.SINGLE]
    assert len(set(single)) > 1
