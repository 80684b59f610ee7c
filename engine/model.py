"""Quizzes and questions: immutable data, their bounds and their public (keyless) form."""

from __future__ import annotations

import re
import unicodedata
from enum import StrEnum
from typing import Final

import msgspec

from engine import limits
from engine.errors import Malformed


class QuestionKind(StrEnum):
    """How a question is answered."""

    SINGLE = "single"
    MULTIPLE = "multiple"
    TRUE_FALSE = "true_false"
    TYPED = "typed"


class PointsMode(StrEnum):
    """What a right answer is worth: 1000, 2000 or 0 points at the most."""

    NORMAL = "normal"
    DOUBLE = "double"
    NONE = "none"

    @property
    def points_max(self) -> int:
        """Points for a right answer given at once."""
        return _POINTS_MAX[self]


_POINTS_MAX = {PointsMode.NORMAL: 1_000, PointsMode.DOUBLE: 2_000, PointsMode.NONE: 0}


class Mode(StrEnum):
    """Who sets the pace: the host for all, or every participant alone."""

    LIVE = "live"
    SELF_PACED = "self_paced"


class ScoringPolicy(StrEnum):
    """Named, versioned rules of :mod:`engine.scoring`."""

    SPEED = "speed_half_floor.v1"
    ACCURACY = "accuracy.v1"


class Question(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One question with its key.

    ``correct`` holds the indices of the right choices (exactly one unless the kind is MULTIPLE);
    ``accepted`` the right spellings of a TYPED question, which has no choices.
    """

    kind: QuestionKind
    text: str
    choices: tuple[str, ...] = ()
    correct: tuple[int, ...] = ()
    accepted: tuple[str, ...] = ()
    time_limit_ms: int = 20_000
    points: PointsMode = PointsMode.NORMAL
    explanation: str = ""

    @property
    def correct_mask(self) -> int:
        """The right choices as a bit mask: bit i for choice i."""
        mask = 0
        for index in self.correct:
            mask |= 1 << index
        return mask


class Quiz(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A quiz as it is stored, imported and exported; the project's own JSON format."""

    title: str
    questions: tuple[Question, ...]
    description: str = ""
    #: Licence and origin of the questions; kept through import and export.
    attribution: str = ""


class SessionSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How one session is played; fixed when it is created."""

    mode: Mode = Mode.LIVE
    scoring: ScoringPolicy = ScoringPolicy.SPEED
    streak_bonus: bool = False
    #: Time a short question stands alone before its answers open, 0 to leave it out; see
    #: :func:`preview_ms_of` for a longer one.
    preview_ms: int = limits.PREVIEW_MS_DEFAULT
    #: Close as soon as every participant has answered.
    close_when_all_answered: bool = True
    #: Whether people may join after the lobby.
    late_join: bool = True


def preview_ms_of(question: Question, settings: SessionSettings) -> int:
    """How long a question stands alone before its answers open: long enough to be read.

    >>> preview_ms_of(Question(QuestionKind.TYPED, "a" * 180), SessionSettings(preview_ms=4_000))
    8000
    """
    if not settings.preview_ms:
        return 0
    more_ms = max(0, len(question.text) - limits.PREVIEW_CHARS) * limits.READING_MS_PER_CHAR
    return min(settings.preview_ms + more_ms, limits.PREVIEW_MS_MAX)


#: Characters that keyboards and word processors put in the place of a plain one -> the plain one.
_TWINS: Final = str.maketrans(
    dict.fromkeys("\u2018\u2019\u201a\u201b\u2032\u02bb\u02bc`\u00b4", "'")
    | dict.fromkeys("\u201c\u201d\u201e\u201f\u2033\u00ab\u00bb", '"')
    | dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212", "-")
    # Turkish has two letters where case folding knows one.
    | {"\u0130": "i", "\u0131": "i"}
)


def normalize_typed(text: str) -> str:
    r"""Fold a typed answer for comparison: what two people would call the same.

    NFKC, case folded, inner white space single, trimmed; quotes, apostrophes and dashes of any form are
    the plain ones, digits of any script those of ASCII, and marks that nobody sees are left out.

    >>> normalize_typed("  New\u00a0YORK ")
    'new york'
    >>> normalize_typed("O\u2019Neill \u0661\u0662")
    "o'neill 12"
    """
    folded = unicodedata.normalize("NFKC", text.translate(_TWINS)).casefold()
    if not folded.isascii():
        folded = "".join(map(_plain, folded))
    return " ".join(folded.split())


def _plain(char: str) -> str:
    category = unicodedata.category(char)
    if category == "Nd":
        return str(unicodedata.decimal(char))
    return "" if category == "Cf" else char


#: Columns of a tab on the pages, which keep indentation: choices may be lines of a program.
_TAB_COLUMNS: Final = 4


def as_shown(text: str) -> str:
    r"""What people see of a choice: its indentation and inner spaces, but not where a line ends.

    >>> as_shown("if x:\n\tgo() \n") == as_shown("if x:\n    go()")
    True
    >>> as_shown("go()") == as_shown(" go()")
    False
    """
    plain = unicodedata.normalize("NFC", text).replace("\u00a0", " ").expandtabs(_TAB_COLUMNS)
    return "\n".join(map(str.rstrip, plain.rstrip().split("\n")))


def check_quiz(quiz: Quiz) -> Quiz:
    """Return the quiz when every bound holds.

    Raises:
        Malformed: code ``invalid_quiz``; the detail names the question (from 1) and the field.
    """
    _check_text("title", quiz.title, limits.TITLE_CHARS_MAX)
    for name, text in (("description", quiz.description), ("attribution", quiz.attribution)):
        _check_text(name, text, limits.DESCRIPTION_CHARS_MAX, empty=True)
    if not quiz.questions:
        raise Malformed("questions: the quiz has none; at least 1 is needed", "invalid_quiz")
    if len(quiz.questions) > limits.QUIZ_QUESTIONS_MAX:
        raise Malformed(
            f"questions: {len(quiz.questions)} of them; at most {limits.QUIZ_QUESTIONS_MAX} are allowed",
            "invalid_quiz",
        )
    for number, question in enumerate(quiz.questions, 1):
        try:
            check_question(question)
        except Malformed as error:
            raise Malformed(f"question {number}: {error.detail}", "invalid_quiz") from None
    return quiz


def check_question(question: Question) -> Question:
    """Return the question when every bound holds.

    Raises:
        Malformed: code ``invalid_quiz``; the detail names the field and what is allowed.
    """
    _check_text("text", question.text, limits.QUESTION_CHARS_MAX)
    _check_text("explanation", question.explanation, limits.EXPLANATION_CHARS_MAX, empty=True)
    if not limits.TIME_LIMIT_MS_MIN <= question.time_limit_ms <= limits.TIME_LIMIT_MS_MAX:
        _refuse(
            f"time_limit_ms: {question.time_limit_ms}; "
            f"{limits.TIME_LIMIT_MS_MIN} to {limits.TIME_LIMIT_MS_MAX} are allowed"
        )
    if question.kind is QuestionKind.TYPED:
        _check_typed(question)
    else:
        _check_choices(question)
    return question


def _check_typed(question: Question) -> None:
    if question.choices or question.correct:
        _refuse("choices: a typed question has none; give its right spellings in `accepted`")
    if not 1 <= len(question.accepted) <= limits.ACCEPTED_MAX:
        _refuse(
            f"accepted: {len(question.accepted)} spellings; 1 to {limits.ACCEPTED_MAX} are allowed"
        )
    for text in question.accepted:
        _check_text("accepted", text, limits.TYPED_CHARS_MAX)
        if not normalize_typed(text):
            _refuse("accepted: a spelling is blank")


def _check_choices(question: Question) -> None:
    if question.accepted:
        _refuse("accepted: only a typed question has it; give the right choices in `correct`")
    count = len(question.choices)
    if question.kind is QuestionKind.TRUE_FALSE and count != 2:  # noqa: PLR2004 - true and false
        _refuse(f"choices: {count} of them; a true/false question has exactly 2")
    if not limits.CHOICES_MIN <= count <= limits.CHOICES_MAX:
        _refuse(
            f"choices: {count} of them; {limits.CHOICES_MIN} to {limits.CHOICES_MAX} are allowed"
        )
    for index, text in enumerate(question.choices):
        _check_text(f"choices[{index}]", text, limits.CHOICE_CHARS_MAX)
    _check_key(question)


def _check_key(question: Question) -> None:
    count = len(question.choices)
    if len(set(map(as_shown, question.choices))) != count:
        _refuse("choices: two of them look the same")
    if not question.correct:
        _refuse("correct: no right choice is given")
    if len(set(question.correct)) != len(question.correct):
        _refuse("correct: the same choice is named twice")
    for index in question.correct:
        if not 0 <= index < count:
            _refuse(f"correct: choice {index} does not exist; 0 to {count - 1} are allowed")
    if question.kind is not QuestionKind.MULTIPLE and len(question.correct) != 1:
        _refuse(
            f"correct: {len(question.correct)} right choices; kind {question.kind} has exactly 1"
        )


#: Unicode's categories Cc and Cs, without line feed and tab.
_UNSTORABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def _check_text(name: str, text: str, chars_max: int, *, empty: bool = False) -> None:
    if not empty and not text.strip():
        _refuse(f"{name}: it is empty")
    if len(text) > chars_max:
        _refuse(f"{name}: {len(text)} characters; at most {chars_max} are allowed")
    if _UNSTORABLE.search(text):
        # PostgreSQL stores no NUL, JSON no lone surrogate, and no screen shows the others.
        _refuse(f"{name}: control characters are not allowed")


def _refuse(detail: str) -> None:
    raise Malformed(detail, "invalid_quiz")


def check_settings(settings: SessionSettings) -> SessionSettings:
    """Return the settings when they fit together.

    Raises:
        Malformed: code ``malformed``; the detail names the field and what is allowed.
    """
    if not 0 <= settings.preview_ms <= limits.PREVIEW_MS_MAX:
        raise Malformed(
            f"preview_ms: {settings.preview_ms}; 0 to {limits.PREVIEW_MS_MAX} are allowed"
        )
    if settings.mode is Mode.SELF_PACED:
        if settings.scoring is not ScoringPolicy.ACCURACY:
            raise Malformed(
                f"scoring: {settings.scoring}; a self-paced session allows {ScoringPolicy.ACCURACY} only, "
                "because nobody but the participant sees when a question was looked at"
            )
        if settings.streak_bonus:
            raise Malformed("streak_bonus: true; a self-paced session allows false only")
    return settings
