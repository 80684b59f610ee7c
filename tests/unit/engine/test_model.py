"""Every bound of a quiz is checked, and the refusal names what is wrong."""

import pytest

from engine import limits
from engine.errors import Malformed
from engine.model import (
    Mode,
    QuestionKind,
    Quiz,
    ScoringPolicy,
    SessionSettings,
    check_question,
    check_quiz,
    check_settings,
    normalize_typed,
)
from engine.testing.factories import make_question, make_quiz

SINGLE, MULTIPLE, TRUE_FALSE, TYPED = QuestionKind


@pytest.mark.parametrize("kind", QuestionKind)
def test_a_plain_question_is_fine(kind):
    question = make_question(kind)
    assert check_question(question) is question


@pytest.mark.parametrize(
    "choices",
    [
        ("return x", "  return x"),
        ("a b", "a  b"),
        ("for i in x:\n  go()\nend()", "for i in x:\n  go()\n  end()"),
    ],
)
def test_choices_that_differ_in_their_spaces_are_different(choices):
    assert check_question(make_question(SINGLE, choices=choices, correct=(0,)))


@pytest.mark.parametrize(
    ("kind", "changes", "names"),
    [
        (SINGLE, {"text": "  "}, "text: it is empty"),
        (SINGLE, {"text": "x" * (limits.QUESTION_CHARS_MAX + 1)}, "text: 1001"),
        (SINGLE, {"text": "null \0 byte"}, "text: control"),
        (SINGLE, {"text": "lone \ud800 surrogate"}, "text: control"),
        (SINGLE, {"explanation": "x" * (limits.EXPLANATION_CHARS_MAX + 1)}, "explanation: 1001"),
        (SINGLE, {"time_limit_ms": limits.TIME_LIMIT_MS_MIN - 1}, "time_limit_ms: 999"),
        (SINGLE, {"time_limit_ms": limits.TIME_LIMIT_MS_MAX + 1}, "time_limit_ms: 600001"),
        (SINGLE, {"choices": ("a",), "correct": (0,)}, "choices: 1 of them"),
        (SINGLE, {"choices": tuple("abcdefghi")}, "choices: 9 of them"),
        (SINGLE, {"choices": ("a", " "), "correct": (0,)}, "choices[1]: it is empty"),
        (SINGLE, {"choices": ("a", "x" * 301), "correct": (0,)}, "choices[1]: 301"),
        (SINGLE, {"choices": ("a", "a ")}, "choices: two of them look the same"),
        (SINGLE, {"choices": ("é", "e\u0301")}, "choices: two of them look the same"),
        (
            SINGLE,
            {"choices": ("if x:\n\ty", "if x: \n    y")},
            "choices: two of them look the same",
        ),
        (SINGLE, {"correct": ()}, "correct: no right choice"),
        (SINGLE, {"correct": (4,)}, "correct: choice 4"),
        (SINGLE, {"correct": (-1,)}, "correct: choice -1"),
        (SINGLE, {"correct": (0, 1)}, "correct: 2 right choices"),
        (SINGLE, {"accepted": ("a",)}, "accepted: only a typed"),
        (MULTIPLE, {"correct": (1, 1)}, "correct: the same choice"),
        (TRUE_FALSE, {"choices": ("a", "b", "c")}, "choices: 3 of them"),
        (TYPED, {"accepted": ()}, "accepted: 0 spellings"),
        (TYPED, {"accepted": ("a",) * (limits.ACCEPTED_MAX + 1)}, "accepted: 21 spellings"),
        (TYPED, {"accepted": ("\t",)}, "accepted: it is empty"),
        (TYPED, {"accepted": ("x" * (limits.TYPED_CHARS_MAX + 1),)}, "accepted: 201"),
        (TYPED, {"choices": ("a", "b")}, "choices: a typed question"),
        (TYPED, {"correct": (0,)}, "choices: a typed question"),
    ],
)
def test_what_is_out_of_bounds_is_refused_by_name(kind, changes, names):
    with pytest.raises(Malformed) as caught:
        check_question(make_question(kind, **changes))
    assert caught.value.code == "invalid_quiz"
    assert names in caught.value.detail


def test_the_largest_question_is_fine():
    check_question(
        make_question(
            MULTIPLE,
            text="x" * limits.QUESTION_CHARS_MAX,
            choices=tuple(str(n) * limits.CHOICE_CHARS_MAX for n in range(limits.CHOICES_MAX)),
            correct=tuple(range(limits.CHOICES_MAX)),
            time_limit_ms=limits.TIME_LIMIT_MS_MAX,
            explanation="line\nbreak\ttab" + "x" * 900,
        )
    )


@pytest.mark.parametrize(
    ("quiz", "names"),
    [
        (Quiz("", (make_question(),)), "title: it is empty"),
        (Quiz("x" * (limits.TITLE_CHARS_MAX + 1), (make_question(),)), "title: 201"),
        (Quiz("t", (make_question(),), description="x" * 2_001), "description: 2001"),
        (Quiz("t", (make_question(),), attribution="\x07"), "attribution: control"),
        (Quiz("t", ()), "questions: the quiz has none"),
        (Quiz("t", (make_question(),) * (limits.QUIZ_QUESTIONS_MAX + 1)), "questions: 2001"),
        (Quiz("t", (make_question(), make_question(text=""))), "question 2: text"),
    ],
)
def test_a_quiz_out_of_bounds_is_refused_by_name(quiz, names):
    with pytest.raises(Malformed) as caught:
        check_quiz(quiz)
    assert caught.value.code == "invalid_quiz"
    assert names in caught.value.detail


def test_a_quiz_with_every_kind_is_fine():
    quiz = make_quiz()
    assert check_quiz(quiz) is quiz
    assert {question.kind for question in quiz.questions} == set(QuestionKind)


@pytest.mark.parametrize(
    ("correct", "mask"), [((0,), 0b1), ((1,), 0b10), ((0, 2), 0b101), ((7, 0), 0b10000001)]
)
def test_correct_mask_has_a_bit_for_each_right_choice(correct, mask):
    assert make_question(MULTIPLE, choices=tuple("abcdefgh"), correct=correct).correct_mask == mask


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("New York", " new \u00a0 YORK\n"),
        ("STRASSE", "straße"),
        ("①", "1"),
        ("é", "e\u0301"),
        ("O'Neill", "O\u2019Neill"),
        ("O'Neill", "o\u00b4neill"),
        ("Baden-Baden", "Baden\u2013Baden"),
        ("-5", "\u22125"),
        ('"Yes"', "\u201eYes\u201c"),
        ('"Yes"', "\u00abYes\u00bb"),
        ("Jerusalem", "\u200fJerusalem\u200e"),
        ("cooperate", "co\u00adoperate"),
        ("1789", "\u0661\u0667\u0668\u0669"),
        ("1789", "\u06f1\u06f7\u06f8\u06f9"),
        ("Istanbul", "\u0130stanbul"),
        ("Isparta", "\u0131sparta"),
    ],
)
def test_normalize_typed_folds(one, other):
    assert normalize_typed(one) == normalize_typed(other)


@pytest.mark.parametrize(
    ("one", "other"), [("resume", "résumé"), ("a b", "ab"), ("5", "-5"), ("its", "it's")]
)
def test_normalize_typed_keeps_apart_what_differs(one, other):
    assert normalize_typed(one) != normalize_typed(other)


@pytest.mark.parametrize(
    "settings",
    [
        SessionSettings(),
        SessionSettings(preview_ms=0, streak_bonus=True),
        SessionSettings(mode=Mode.SELF_PACED, scoring=ScoringPolicy.ACCURACY),
    ],
)
def test_settings_that_fit_together(settings):
    assert check_settings(settings) is settings


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        (SessionSettings(preview_ms=-1), "preview_ms"),
        (SessionSettings(preview_ms=limits.PREVIEW_MS_MAX + 1), "preview_ms"),
        (SessionSettings(mode=Mode.SELF_PACED), "scoring"),
        (
            SessionSettings(
                mode=Mode.SELF_PACED, scoring=ScoringPolicy.ACCURACY, streak_bonus=True
            ),
            "streak_bonus",
        ),
    ],
)
def test_settings_that_do_not(settings, names):
    with pytest.raises(Malformed, match=names) as caught:
        check_settings(settings)
    assert caught.value.code == "malformed"
