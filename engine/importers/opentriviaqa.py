"""OpenTriviaQA's text files, as untidy as they are.

The form: ``#Q`` question (it may run over several lines, blank ones among them), ``^`` the text of
the right answer, then one choice a line behind a letter; the next ``#Q`` ends an item. Real files
mix encodings and line ends, repeat choices, and give answers that match no choice.
Source: github.com/uberspot/OpenTriviaQA.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from engine import limits
from engine.errors import Malformed
from engine.importers.report import ImportReport, Skipped, Warned, quote
from engine.model import Question, QuestionKind, Quiz, check_question

#: Kept with every quiz that is made of these files, as their licence asks.
ATTRIBUTION: Final = "Questions from OpenTriviaQA (github.com/uberspot/OpenTriviaQA), CC BY-SA 4.0"

#: A letter alone, or before white space. No letters beyond the last possible choice: a line that
#: begins with "I think" goes on with something, it is not choice I.
_CHOICE = re.compile(r"([A-H])(?:\s+(.*))?")
_TRUE_FALSE = {"true", "false"}
#: Stands where a byte is neither UTF-8 nor Windows-1252.
_LOST = "\N{REPLACEMENT CHARACTER}"
#: What Python's decoder puts in the place of a byte that is not UTF-8 -> the byte in Windows-1252.
_ESCAPED_BYTES: Final = {
    0xDC00 + byte: bytes([byte]).decode("cp1252", errors="replace") for byte in range(0x80, 0x100)
}
#: A line from its first character that is no white space on.
_LINE = re.compile(rb"\S[^\n]*")


class _Item(NamedTuple):
    """What stands between one ``#Q`` and the next; ``stray`` says what does not belong there."""

    line: int
    question: list[str]
    answers: list[str]
    choices: list[str]
    stray: list[str]

    @property
    def text(self) -> str:
        return "\n".join(line for line in self.question if line)

    @property
    def label(self) -> str:
        """What a report calls it: its first line."""
        return quote(self.text.partition("\n")[0])


def decode_line(data: bytes) -> str:
    r"""One line as text: UTF-8 where it is, and Windows-1252 for each byte that is not. O(n).

    The files mix the two by file, by line, and within a line.

    >>> decode_line(b"caf\xc3\xa9 \x93quoted\x94")
    'café “quoted”'
    """
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode(errors="surrogateescape").translate(_ESCAPED_BYTES)


def parse(data: bytes, title: str) -> ImportReport:
    """Read a file; every item that cannot be a question is reported with its line.

    A repeated choice is kept once, with a warning. The answer is matched with the choices letter by
    letter first, then without regard to case and white space.

    Raises:
        Malformed: the file has more lines or more items than are looked at.
    """
    questions: list[Question] = []
    skipped: list[Skipped] = []
    warnings: list[Warned] = []
    for number, item in enumerate(_items(data)):
        if number == limits.IMPORT_ITEMS_MAX:
            raise Malformed(f"file: more than {number} items; split it into several files")
        try:
            question = check_question(_question(item))
        except Malformed as error:
            skipped.append(Skipped(item.line, item.label, error.detail))
            continue
        if len(questions) == limits.QUIZ_QUESTIONS_MAX:
            reason = f"the quiz is full: {limits.QUIZ_QUESTIONS_MAX} questions"
            skipped.append(Skipped(item.line, item.label, reason))
            continue
        questions.append(question)
        warnings += [Warned(item.line, item.label, why) for why in _changes(item, question)]
    quiz = Quiz(title, tuple(questions), attribution=ATTRIBUTION)
    return ImportReport(quiz, skipped, warnings)


def _items(data: bytes) -> Iterator[_Item]:
    item: _Item | None = None
    for number, line in _lines(data):
        if line.startswith("#Q"):
            if item is not None:
                yield item
            item = _Item(number, [line[2:].strip()], [], [], [])
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


def _lines(data: bytes) -> Iterator[tuple[int, str]]:
    """The lines that are not blank, trimmed, with their numbers from 1."""
    data = data.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    number, counted = 1, 0
    for found, match in enumerate(_LINE.finditer(data)):
        if found == limits.IMPORT_LINES_MAX:
            raise Malformed(f"file: more than {found} lines; split it into several files")
        number += data.count(b"\n", counted, match.start())
        counted = match.start()
        line = decode_line(match[0]).strip()
        if line:  # white space that is none in ASCII
            yield number, line


def _add_choice(item: _Item, line: str, number: int) -> None:
    match = _CHOICE.fullmatch(line)
    if match is None:
        item.stray.append(f"line {number} is neither a choice (a letter, then text) nor a new #Q")
    elif not match[2]:
        item.stray.append(f"line {number}: choice {match[1]} is empty")
    else:
        item.choices.append(match[2])


def _question(item: _Item) -> Question:
    if item.stray:
        raise Malformed(item.stray[0])
    if len(item.answers) != 1:
        raise Malformed(f"{len(item.answers)} answers (^); exactly 1 is needed")
    choices = tuple(dict.fromkeys(item.choices))
    correct = _index_of(item.answers[0], choices)
    is_true_false = {choice.casefold() for choice in choices} == _TRUE_FALSE
    kind = QuestionKind.TRUE_FALSE if is_true_false else QuestionKind.SINGLE
    return Question(kind, item.text, choices, (correct,))


def _index_of(answer: str, choices: tuple[str, ...]) -> int:
    if answer in choices:
        return choices.index(answer)
    folded = [_fold(choice) for choice in choices]
    if folded.count(_fold(answer)) == 1:
        return folded.index(_fold(answer))
    raise Malformed(f"the answer {quote(answer)!r} matches none of its {len(choices)} choices")


def _fold(text: str) -> str:
    return "".join(text.casefold().split())


def _changes(item: _Item, question: Question) -> Iterator[str]:
    repeated = len(item.choices) - len(question.choices)
    if repeated:
        yield f"{repeated} of its {len(item.choices)} choices repeated another and was left out"
    if _LOST in question.text or any(_LOST in choice for choice in question.choices):
        yield f"a byte is neither UTF-8 nor Windows-1252; {_LOST} stands in its place"
