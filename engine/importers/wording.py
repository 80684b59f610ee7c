"""What a decoder complains about, in the words of the file: a teacher reads it, not a programmer."""

from __future__ import annotations

import re
from typing import Final

from engine.model import PointsMode, QuestionKind

_ALLOWED: Final = {
    "kind": ", ".join(QuestionKind),
    "points": ", ".join(PointsMode),
}
_TYPES: Final = {
    "str": "a text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "a group of fields in { }",
    "null": "nothing",
}
_ENUM = re.compile(r"Invalid enum value (?P<value>.+) - at `\$\.(?P<field>\w+)`")
_MISSING = re.compile(r"Object missing required field `(?P<field>\w+)`.*")
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<field>.+?)`.*")
_TYPE = re.compile(
    r"Expected `(?P<wanted>\w+)`, got `(?P<given>\w+)`(?: - at `\$\.?(?P<field>.*)`)?"
)


def in_words(complaint: str) -> str:
    """A complaint of msgspec's as a sentence; one that is not known stays as it is.

    >>> in_words("Invalid enum value 'quiz' - at `$.kind`")
    "kind: 'quiz' is none of single, multiple, true_false, typed"
    >>> in_words("Expected `str`, got `int` - at `$.choices[1]`")
    'choices[1]: it is a whole number; a text is needed'
    >>> in_words("Object missing required field `text`")
    'text: it is missing'
    """
    if found := _ENUM.fullmatch(complaint):
        field = found["field"]
        return (
            f"{field}: {found['value']} is none of {_ALLOWED.get(field, 'those that are allowed')}"
        )
    if found := _MISSING.fullmatch(complaint):
        return f"{found['field']}: it is missing"
    if found := _UNKNOWN.fullmatch(complaint):
        return f"{found['field']}: there is no such field"
    if found := _TYPE.fullmatch(complaint):
        given, wanted = (_TYPES.get(found[name], found[name]) for name in ("given", "wanted"))
        return f"{found['field'] or 'question'}: it is {given}; {wanted} is needed"
    return complaint
