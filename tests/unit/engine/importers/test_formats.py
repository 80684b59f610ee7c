"""The door of all importers: bounds, and errors for a file as a whole."""

import re

import msgspec
import pytest

from engine import limits
from engine.errors import Malformed
from engine.importers import FORMATS, import_quiz, to_json
from engine.testing.factories import make_quiz

GOOD = b"#Q A question?\n^ a\nA a\nB b\n"


@pytest.mark.parametrize(
    ("data", "format_name", "title", "code", "names"),
    [
        (b" " * (limits.QUIZ_BYTES_MAX + 1), "rayquiz", "t", "too_large", "4194305 bytes"),
        (GOOD, "aiken", "t", "malformed", "format: 'aiken'; allowed: rayquiz, opentriviaqa"),
        (GOOD, "opentriviaqa", " ", "invalid_quiz", "title: it is empty"),
        (GOOD, "opentriviaqa", "x" * 201, "invalid_quiz", "title: 201"),
        (b"", "opentriviaqa", "t", "quiz_empty", "it has no question"),
        (b"#Q x\n", "opentriviaqa", "t", "quiz_empty", "the first of 1 skipped: 0 answers"),
        (b'{"title":"t","questions":[]}', "rayquiz", "", "quiz_empty", "it has no question"),
        (b'{"questions":[7]}', "rayquiz", "t", "quiz_empty", "the first of 1 skipped: question: it is"),
        (b"nothing of the kind", "rayquiz", "t", "malformed", "file: "),
    ],
)  # fmt: skip
def test_files_that_give_no_quiz(data, format_name, title, code, names):
    with pytest.raises(Malformed) as caught:
        import_quiz(data, format_name, title)
    assert caught.value.code == code
    assert names in caught.value.detail


@pytest.mark.parametrize("format_name", FORMATS)
@pytest.mark.parametrize("data", [b"\0", b"\xff\xfe\0\0", bytes(range(256)) * 40, b"#Q" * 999])
def test_bytes_of_no_meaning_give_a_coded_error(format_name, data):
    with pytest.raises(Malformed) as caught:
        import_quiz(data, format_name, "t")
    assert caught.value.code in ("malformed", "quiz_empty")


@pytest.mark.parametrize(
    ("format_name", "data", "names"),
    [
        ("opentriviaqa", b"#Q\n" * (limits.IMPORT_ITEMS_MAX + 1), "20000 items"),
        ("opentriviaqa", b"stray\n" * (limits.IMPORT_ITEMS_MAX + 1), "20000 items"),
        ("opentriviaqa", b"#Q x\n^ a\n" + b"A a\n" * limits.IMPORT_LINES_MAX, "250000 lines"),
        ("rayquiz", b'{"questions":[' + b"0," * limits.IMPORT_ITEMS_MAX + b"0]}", "<= 20000"),
    ],
)
def test_a_file_of_more_than_is_looked_at(format_name, data, names):
    with pytest.raises(Malformed, match=names) as caught:
        import_quiz(data, format_name, "t")
    assert caught.value.code == "malformed"


def test_as_many_items_as_are_looked_at_are_all_reported():
    skipped = import_quiz(
        GOOD + b"#Q\n" * (limits.IMPORT_ITEMS_MAX - 1), "opentriviaqa", "t"
    ).skipped
    assert len(skipped) == limits.IMPORT_ITEMS_MAX - 1
    assert skipped[-1].line == limits.IMPORT_ITEMS_MAX + 3


def test_both_formats_give_a_quiz():
    assert import_quiz(GOOD, "opentriviaqa", "t").quiz.questions
    assert import_quiz(to_json(make_quiz()), "rayquiz", "").quiz == make_quiz()


@pytest.mark.parametrize(
    "data", [to_json(make_quiz()), b"\xef\xbb\xbf  " + to_json(make_quiz()), GOOD]
)
def test_the_format_is_found_in_the_file(data):
    assert import_quiz(data, "", "t").quiz.questions


@pytest.mark.parametrize(
    ("data", "looks"),
    [
        (b"%PDF-1.7", "it looks like a PDF document"),
        (b"PK\x03\x04...", "it looks like a ZIP, Excel, Word or OpenDocument file"),
        (b"<!doctype html>", "it looks like a web page"),
        ("#Q x".encode("utf-16"), "it looks like a text in UTF-16"),
        (b"Question;Answer\nWhich?;This", "its format is not known; Rayquiz (JSON)"),
        (b" ", "it is empty"),
    ],
)
def test_a_file_of_no_known_format_is_named_for_what_it_looks_like(data, looks):
    with pytest.raises(Malformed, match=re.escape(looks)) as caught:
        import_quiz(data, "", "t")
    assert caught.value.code == "malformed"


@pytest.mark.parametrize(
    ("data", "said", "found"),
    [
        (GOOD, "rayquiz", "OpenTriviaQA"),
        (to_json(make_quiz()), "opentriviaqa", "Rayquiz"),
        (b"PK\x03\x04...", "opentriviaqa", "Excel"),
    ],
)
def test_a_file_of_another_format_is_told_so_instead_of_read(data, said, found):
    with pytest.raises(Malformed, match=found):
        import_quiz(data, said, "t")


def test_a_text_that_begins_with_a_brace_is_no_json():
    assert import_quiz(b"{a note}\n" + GOOD, "opentriviaqa", "t").quiz.questions


@pytest.mark.parametrize(
    ("title", "own", "expected"), [("Mine", "Own", "Mine"), ("", "Own", "Own"), ("", "", "planets")]
)
def test_the_name_of_the_file_is_its_title_only_when_nothing_else_is(title, own, expected):
    data = to_json(msgspec.structs.replace(make_quiz(), title=own))
    assert import_quiz(data, "", title, "planets").quiz.title == expected
