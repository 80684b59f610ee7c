"""The project's own JSON: what the API takes and gives, question by question."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from engine import limits
from engine.errors import Malformed
from engine.importers.report import ImportReport, Skipped, quote
from engine.importers.wording import in_words
from engine.model import Question, Quiz, check_question


class _File(msgspec.Struct, forbid_unknown_fields=True):
    questions: Annotated[list[msgspec.Raw], msgspec.Meta(max_length=limits.IMPORT_ITEMS_MAX)]
    title: str = ""
    description: str = ""
    attribution: str = ""


#: Looked up once: msgspec takes 0.4 ms for each look.
_FIELDS = {kind: msgspec.structs.fields(kind) for kind in (Quiz, Question)}
_file_decoder = msgspec.json.Decoder(_File)
_question_decoder = msgspec.json.Decoder(Question)

#: What msgspec raises for bytes that are not JSON of the wanted type.
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def parse(data: bytes, title: str) -> ImportReport:
    """Read a file; a question that cannot be used is reported with its number and left out.

    Args:
        data: the file.
        title: used instead of the file's own when it is not empty.

    Raises:
        Malformed: the file as a whole is not of this form.
    """
    try:
        file = _file_decoder.decode(data.removeprefix(b"\xef\xbb\xbf"))
    except _UNREADABLE as error:
        raise Malformed(f"file: {in_words(str(error))}") from None
    questions: list[Question] = []
    skipped: list[Skipped] = []
    for number, raw in enumerate(file.questions, 1):
        question = _question(raw)
        if isinstance(question, str):
            skipped.append(Skipped(number, _item(raw), question))
        elif len(questions) == limits.QUIZ_QUESTIONS_MAX:
            reason = f"the quiz is full: {limits.QUIZ_QUESTIONS_MAX} questions"
            skipped.append(Skipped(number, _item(raw), reason))
        else:
            questions.append(question)
    quiz = Quiz(title or file.title, tuple(questions), file.description, file.attribution)
    return ImportReport(quiz, skipped, [])


def _question(raw: msgspec.Raw) -> Question | str:
    """The question, or why it cannot be used."""
    try:
        return check_question(_question_decoder.decode(raw))
    except Malformed as error:
        return error.detail
    except _UNREADABLE as error:
        return in_words(str(error))


def _item(raw: msgspec.Raw) -> str:
    return quote(bytes(raw).decode(errors="replace"))


def to_json(quiz: Quiz) -> bytes:
    """A quiz as a file that :func:`parse` reads back to an equal quiz; equal quizzes, equal bytes.

    Fields that have their default are left out. By value: msgspec's own ``omit_defaults`` compares
    by identity, and would tell a quiz that was decoded from one that was built.
    """
    plain = _plain(quiz) | {"questions": [_plain(question) for question in quiz.questions]}
    return msgspec.json.format(msgspec.json.encode(plain), indent=2)


def _plain(struct: Quiz | Question) -> dict[str, Any]:
    values = ((field, getattr(struct, field.name)) for field in _FIELDS[type(struct)])
    return {
        field.name: value for field, value in values if field.required or value != field.default
    }
