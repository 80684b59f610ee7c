"""OpenTriviaQA's text files, as untidy as they are.

The form: ``#Q`` question (it may run over several lines), ``^`` the text of the right answer, then
one choice a line behind a letter; a blank line or the next ``#Q`` ends an item. Real files mix
encodings and line ends, repeat choices, and give answers that match no choice.
Source: github.com/uberspot/OpenTriviaQA.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from engine import limits
from engine.errors import Malformed
from engine.importers.report import ImportReport, Skipped, quote
from engine.model import Question, QuestionKind, Quiz, check_question

ATTRIBUTION = "Questions from OpenTriviaQA (github.com/uberspot/OpenTriviaQA), CC BY-SA 4.0"

_CHOICE = re.compile(r"^([A-Z])(?:[ \t]+(.*)|$)")
_TRUE_FALSE = {"true", "false"}


class _Item(NamedTuple):
    line: int
    question: list[str]
    answers: list[str]
    choices: list[str]
    stray: list[str]


def decode_line(data: bytes) -> str:
    """One line as text: UTF-8 where it is, else Windows-1252, which the files mix by line."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace")


def parse(data: bytes, title: str) -> ImportReport:
    """Read a file; every item that cannot be a question is reported with its line.

    A repeated choice is kept once. The answer is matched with the choices letter by letter first,
    then without regard to case and white space.
    """
    questions: list[Question] = []
    skipped: list[Skipped] = []
    for item in _items(data):
        text = " ".join(" ".join(item.question).split())
        try:
            question = check_question(_question(item, text))
            if len(questions) == limits.QUIZ_QUESTIONS_MAX:
                raise Malformed(f"the quiz is full: {limits.QUIZ_QUESTIONS_MAX} questions")
        except Malformed as error:
            skipped.append(Skipped(item.line, quote(text), error.detail))
        else:
            questions.append(question)
    return ImportReport(Quiz(title, tuple(questions), attribution=ATTRIBUTION), skipped)


def _items(data: bytes) -> Iterator[_Item]:
    item: _Item | None = None
    lines = data.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    for number, raw in enumerate(lines.split(b"\n"), 1):
        line = decode_line(raw).strip()
        if line.startswith("#Q"):
            if item is not None:
                yield item
            item = _Item(number, [line[2:].strip()], [], [], [])
        elif not line:
            continue
        elif item is None:
            yield _Item(number, [line], [], [], ["it stands before the first #Q"])
        elif line.startswith("^"):
            item.answers.append(line[1:].strip())
        elif item.answers:
            _add_choice(item, line, number)
        else:
            item.question.append(line)
    if item is not None:
        yield item


def _add_choice(item: _Item, line: str, number: int) -> None:
    match = _CHOICE.match(line)
    if match is None:
        item.stray.append(f"line {number} is neither a choice (a letter, then text) nor a new #Q")
    elif not match[2]:
        item.stray.append(f"line {number}: choice {match[1]} is empty")
    else:
        item.choices.append(match[2].strip())


def _question(item: _Item, text: str) -> Question:
    if item.stray:
        raise Malformed(item.stray[0])
    if len(item.answers) != 1:
        raise Malformed(f"{len(item.answers)} answers (^); exactly 1 is needed")
    choices = list(dict.fromkeys(item.choices))
    correct = _index_of(item.answers[0], choices)
    if {choice.casefold() for choice in choices} == _TRUE_FALSE:
        kind = QuestionKind.TRUE_FALSE
    else:
        kind = QuestionKind.SINGLE
    return Question(kind, text, tuple(choices), (correct,))


def _index_of(answer: str, choices: list[str]) -> int:
    if answer in choices:
        return choices.index(answer)
    folded = [_fold(choice) for choice in choices]
    if folded.count(_fold(answer)) == 1:
        return folded.index(_fold(answer))
    raise Malformed(f"the answer {quote(answer)!r} matches none of its {len(choices)} choices")


def _fold(text: str) -> str:
    return "".join(text.casefold().split())
