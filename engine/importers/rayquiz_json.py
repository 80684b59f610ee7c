"""The project's own JSON: what the API takes and gives, question by question."""

from __future__ import annotations

import msgspec

from engine.errors import Malformed
from engine.importers.report import ImportReport, Skipped, quote
from engine.model import Question, Quiz, check_question


class _File(msgspec.Struct, forbid_unknown_fields=True):
    questions: list[msgspec.Raw]
    title: str = ""
    description: str = ""
    attribution: str = ""


_file_decoder = msgspec.json.Decoder(_File)
_question_decoder = msgspec.json.Decoder(Question)


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
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"file: {error}") from None
    questions: list[Question] = []
    skipped: list[Skipped] = []
    for number, raw in enumerate(file.questions, 1):
        try:
            questions.append(check_question(_question_decoder.decode(raw)))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            skipped.append(Skipped(number, quote(bytes(raw).decode(errors="replace")), str(error)))
        except Malformed as error:
            item = quote(_question_decoder.decode(raw).text)
            skipped.append(Skipped(number, item, error.detail))
    quiz = Quiz(title or file.title, tuple(questions), file.description, file.attribution)
    return ImportReport(quiz, skipped)


def to_json(quiz: Quiz) -> bytes:
    """A quiz as a file that :func:`parse` reads back to an equal quiz."""
    return msgspec.json.format(msgspec.json.encode(quiz), indent=2)
