"""Untidy files: what can be a question is one, what cannot is reported with its line."""

import time
from pathlib import Path

import pytest

from engine import limits
from engine.importers import import_quiz
from engine.importers.opentriviaqa import ATTRIBUTION, decode_line
from engine.model import QuestionKind, check_quiz

ROOT = Path(__file__).parents[4]
DATA = ROOT / "tests/data/opentriviaqa"
REAL = ROOT.parent / "shared/data/opentriviaqa"


def load(name):
    return import_quiz((DATA / name).read_bytes(), "opentriviaqa", "A title")


@pytest.fixture(scope="module")
def untidy():
    report = load("untidy.txt")
    assert report.skipped == []
    return report


@pytest.fixture(scope="module")
def broken():
    return load("broken.txt")


def question_of(report, start):
    (found,) = [q for q in report.quiz.questions if q.text.startswith(start)]
    return found


def test_title_and_licence_are_kept(untidy):
    assert untidy.quiz.title == "A title"
    assert untidy.quiz.attribution == ATTRIBUTION
    assert "OpenTriviaQA" in ATTRIBUTION
    assert "CC BY-SA 4.0" in ATTRIBUTION


def test_an_ordinary_item(untidy):
    question = question_of(untidy, "What is the capital of Afghanistan?")
    assert question.kind is QuestionKind.SINGLE
    assert question.choices == ("Tirana", "Kabul", "Dushanbe", "Tashkent")
    assert question.correct == (1,)


def test_a_question_over_several_lines_keeps_them(untidy):
    question = question_of(untidy, "Arrange the following oceans")
    assert question.text.splitlines()[1:3] == ["1)The Atlantic Ocean", "2)The Pacific Ocean"]


def test_a_blank_line_within_a_question_is_no_end(untidy):
    question = question_of(untidy, "Which video game are the following quotes from?")
    assert question.text.splitlines()[1] == "A: Come on, comrades! Up to the rooftop! Go!"
    assert question.choices[question.correct[0]] == "Call of Duty"


def test_a_repeated_choice_is_kept_once_and_said(untidy):
    question = question_of(untidy, "Where is Madagascar?")
    assert len(question.choices) == 3
    assert question.choices[question.correct[0]] == "Off the Southeast Coast of Africa"
    (warned,) = [w for w in untidy.warnings if w.item == "Where is Madagascar?"]
    lines = (DATA / "untidy.txt").read_bytes().split(b"\n")
    assert lines[warned.line - 1].rstrip() == b"#Q Where is Madagascar?"
    assert warned.reason == "1 of its 4 choices repeated another and was left out"


def test_true_and_false_make_a_true_false_question(untidy):
    question = question_of(untidy, "In the following division problem")
    assert question.kind is QuestionKind.TRUE_FALSE
    assert question.choices[question.correct[0]] == "True"


def test_yes_and_no_are_two_choices(untidy):
    kinds = {q.kind for q in untidy.quiz.questions if set(q.choices) == {"Yes", "No"}}
    assert kinds == {QuestionKind.SINGLE}


def test_encodings_are_told_apart_line_by_line_and_within_a_line(untidy):
    assert question_of(untidy, "Who rides").text == "Who rides “Nightsabre Panthers”?"
    assert "φÏ?σις" in question_of(untidy, "The word physics").text


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"plain", "plain"),
        ("Zoë “x” €".encode(), "Zoë “x” €"),
        ("Zoë “x” €".encode("cp1252"), "Zoë “x” €"),
        ("é".encode() + "é".encode("cp1252") + b"!", "éé!"),
        (b"\x81", "\N{REPLACEMENT CHARACTER}"),
        (b"cut off \xe2\x82", "cut off â\u201a"),
        (b"", ""),
    ],
)
def test_decode_line(data, text):
    assert decode_line(data) == text


def cpu_s(data):
    """The least CPU time of three decodings."""
    times = []
    for _ in range(3):
        begun = time.process_time()
        decode_line(data)
        times.append(time.process_time() - begun)
    return min(times)


@pytest.mark.parametrize("line", [b"\xff", b"\xe2\x82", "é".encode() + b"\xe9"])
def test_four_times_the_line_takes_four_times_the_work(line):
    """Sixteen times, it was: minutes for one line of 4 MiB."""
    assert cpu_s(line * 200_000) < 9 * cpu_s(line * 50_000)


def test_lines_that_look_blank_keep_their_numbers():
    report = import_quiz(
        b"\n  \t\n\xc2\xa0\n#Q A?\n\n^ b\n A b\nB c\n  #Q B?\n", "opentriviaqa", "t"
    )
    assert report.quiz.questions[0].choices == ("b", "c")
    assert [(s.line, s.item) for s in report.skipped] == [(9, "B?")]


def test_what_cannot_be_a_question_is_reported_with_its_line_and_skipped(broken):
    lines = (DATA / "broken.txt").read_bytes().decode("latin-1").split("\n")
    reasons = {}
    for skipped in broken.skipped:
        assert skipped.item.split("…")[0] in lines[skipped.line - 1]
        reasons[skipped.item] = skipped.reason
    assert reasons == {
        "A heading that somebody left here": "it stands before the first #Q",
        "Is the answer among the choices?": "the answer 'Perhaps' matches none of its 2 choices",
        "Is there an answer?": "0 answers (^); exactly 1 is needed",
        "Are there two answers?": "2 answers (^); exactly 1 is needed",
        "Is there a second choice?": "choices: 1 of them; 2 to 8 are allowed",
        "Are there no choices?": "the answer 'Yes' matches none of its 0 choices",
        "": "text: it is empty",
        "Does a choice go on?": "line 39 is neither a choice (a letter, then text) nor a new #Q",
        "Is a choice empty?": "line 44: choice B is empty",
        "Is a word such as I a choice?": (
            "line 58 is neither a choice (a letter, then text) nor a new #Q"
        ),
    }


def test_what_stands_between_broken_items_is_kept(broken):
    texts = [question.text for question in broken.quiz.questions]
    assert texts == [
        "Which line ends are these?",
        "Does the answer differ in case and space only?",
        "Français — répondez “oui” ?",
        "Is this byte lost: \N{REPLACEMENT CHARACTER}?",
    ]
    assert question_of(broken, "Does the answer").correct == (0,)
    assert len(question_of(broken, "Does the answer").choices) == 5
    assert question_of(broken, "Is this byte").kind is QuestionKind.TRUE_FALSE


def test_a_lost_byte_is_said(broken):
    (warned,) = broken.warnings
    assert "neither UTF-8 nor Windows-1252" in warned.reason


def test_old_line_ends_are_line_ends():
    report = import_quiz(b"#Q A?\r^ b\rA b\rB c\r", "opentriviaqa", "t")
    assert report.quiz.questions[0].choices == ("b", "c")


def test_a_file_larger_than_a_quiz_gives_a_full_quiz_and_says_what_is_left():
    item = "#Q Question {}?\n^ b\nA b\nB c\n\n"
    count = limits.QUIZ_QUESTIONS_MAX + 3
    data = "".join(item.format(n) for n in range(count)).encode()
    report = import_quiz(data, "opentriviaqa", "t")
    assert len(report.quiz.questions) == limits.QUIZ_QUESTIONS_MAX
    assert [s.item for s in report.skipped] == [
        "Question 2000?",
        "Question 2001?",
        "Question 2002?",
    ]
    assert {s.reason for s in report.skipped} == {"the quiz is full: 2000 questions"}


@pytest.mark.skipif(not REAL.is_dir(), reason="the real files stand beside the repository in CI")
@pytest.mark.parametrize("path", sorted(REAL.glob("*.txt")), ids=lambda path: path.name)
def test_nothing_is_lost_from_the_real_files(path):
    """Every item is imported or reported; of these files nothing but the surplus is reported."""
    data = path.read_bytes()
    report = import_quiz(data, "opentriviaqa", path.stem)
    check_quiz(report.quiz)
    items = sum(line.startswith(b"#Q") for line in data.splitlines())
    assert len(report.quiz.questions) + len(report.skipped) == items
    assert len(report.quiz.questions) == min(items, limits.QUIZ_QUESTIONS_MAX)
    assert {s.reason for s in report.skipped} <= {"the quiz is full: 2000 questions"}
    answers = [line[1:].strip() for line in data.splitlines() if line.startswith(b"^")]
    for question, answer in zip(report.quiz.questions, answers, strict=False):
        assert question.choices[question.correct[0]] == decode_line(answer)
