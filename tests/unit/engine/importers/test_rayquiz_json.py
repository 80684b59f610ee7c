"""The project's own format: a round trip, and question by question."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import limits
from engine.errors import Malformed
from engine.importers import import_quiz, to_json
from engine.model import PointsMode, QuestionKind, Quiz
from engine.testing.factories import make_question, make_quiz

TEXT = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=30).filter(
    str.strip
)
QUESTIONS = st.builds(
    make_question,
    st.sampled_from(QuestionKind),
    text=TEXT,
    points=st.sampled_from(PointsMode),
    time_limit_ms=st.integers(limits.TIME_LIMIT_MS_MIN, limits.TIME_LIMIT_MS_MAX),
    explanation=st.one_of(st.just(""), TEXT),
)
QUIZZES = st.builds(
    Quiz,
    TEXT.map(str.strip),
    st.lists(QUESTIONS, min_size=1, max_size=5).map(tuple),
    st.one_of(st.just(""), TEXT),
    st.one_of(st.just(""), TEXT),
)


def imported(data, title=""):
    if not isinstance(data, bytes):
        data = msgspec.json.encode(data)
    return import_quiz(data, "rayquiz", title)


@given(QUIZZES)
def test_what_is_exported_is_imported_equal(quiz):
    report = imported(to_json(quiz))
    assert report.quiz == quiz
    assert (report.skipped, report.warnings) == ([], [])
    assert to_json(report.quiz) == to_json(quiz)


def test_an_export_is_meant_to_be_read():
    text = to_json(make_quiz()).decode()
    assert text.startswith('{\n  "title": "A quiz",')


def test_a_title_that_is_given_goes_before_the_one_of_the_file():
    assert imported(to_json(make_quiz()), " Mine ").quiz.title == "Mine"


def test_a_bad_question_is_skipped_with_its_number_and_the_rest_imported():
    good = msgspec.to_builtins(make_question())
    questions = [
        good,
        {**good, "color": "red"},
        {**good, "correct": [9]},
        {**good, "kind": "riddle"},
        {**good, "correct": ["0"]},
        {"kind": "single"},
        "not a question",
        {**good, "text": "The last one"},
    ]
    report = imported({"title": "t", "questions": questions})
    assert [q.text for q in report.quiz.questions] == ["A single question?", "The last one"]
    assert [s.line for s in report.skipped] == [2, 3, 4, 5, 6, 7]
    names = [
        "color: there is no such field",
        "choice 9",
        "kind: 'riddle' is none of single, multiple, true_false, typed",
        "correct[0]: it is a text; a whole number is needed",
        "text: it is missing",
        "question: it is a text; a group of fields in { } is needed",
    ]
    for skipped, name in zip(report.skipped, names, strict=True):
        assert name in skipped.reason
    assert report.skipped[4].item == '{"kind":"single"}'


def test_more_questions_than_a_quiz_may_have_are_reported():
    quiz = Quiz("t", (make_question(),) * (limits.QUIZ_QUESTIONS_MAX + 2))
    report = imported(to_json(quiz))
    assert len(report.quiz.questions) == limits.QUIZ_QUESTIONS_MAX
    assert [s.line for s in report.skipped] == [2_001, 2_002]


def test_a_byte_order_mark_is_no_harm():
    assert imported(b"\xef\xbb\xbf" + to_json(make_quiz())).quiz == make_quiz()


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b"{", b"\xff", b"null", b'{"title":"t"}', b'{"questions":{}}', b"[" * 5_000,
     b'{"title":1,"questions":[]}', b'{"questions":[],"author":"x"}'],
)  # fmt: skip
def test_what_is_no_quiz_at_all_is_malformed(data):
    with pytest.raises(Malformed, match=r"^file: ") as caught:
        imported(data)
    assert caught.value.code == "malformed"
