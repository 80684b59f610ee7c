"""Writes the generated documentation: ``python -m serve_app.protocol_doc --write`` or ``--check``.

``docs/PROTOCOL.md`` is made from ``engine/wire.py``, ``engine/errors.py`` and
``serve_app/errors.py``; the phase diagram in ``docs/ARCHITECTURE.md`` from ``engine/phases.py``.
A test holds them equal.
"""

from __future__ import annotations

import argparse
import inspect
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final, get_args

import msgspec
from msgspec import NODEFAULT
from msgspec import inspect as schema

from engine import limits, wire
from engine.errors import CODES
from engine.phases import phase_diagram
from serve_app.errors import CLOSE_CODES, HTTP_STATUS

DOCS: Final = Path(__file__).parents[1] / "docs"
_DIAGRAM_BEGIN = "<!-- made by serve_app/protocol_doc.py: begin -->\n"
_DIAGRAM_END = "<!-- made by serve_app/protocol_doc.py: end -->"

_INTRODUCTION = f"""\
# The websocket protocol

Made from `engine/wire.py`, `engine/errors.py` and `serve_app/errors.py` by
`python -m serve_app.protocol_doc --write`; do not edit. Protocol version {wire.PROTOCOL_VERSION}.

Every message is one text frame with one JSON object whose `type` names it. A message from a
client has at most {limits.MESSAGE_BYTES_MAX:,} bytes; unknown types and unknown fields are refused.
A message from the server leaves a field out when it has its default value, and may get new fields
within one protocol version: ignore what you do not know.

1. Connect and send `hello` within {limits.HELLO_MS_MAX // 1000} s, with the last
   `(epoch, version)` that you have seen.
2. `welcome` carries the view, or none when yours is the newest. Each `delta` that follows leads
   from `version - 1` to `version` of the same epoch: set the named fields. Take a `snapshot`
   instead of what you hold, whatever its version.
3. An `answer` is safe when its `receipt` is there, not before. Keep it until then, and send the
   very same again after a reconnect or a `retryable` error: the first one counts, and the repeat
   gets the first one's receipt.
4. A cut is ordinary: reconnect with jitter unless the close code says not to, and say `hello`
   again. So is a handshake that is refused with 429 or 503: too many wait, or too many sockets of
   your address said no `hello`.
5. `now_ms` is the server's clock. Count deadlines (`closes_ms`) down from it, never from your own.

A nickname has at most {limits.NICKNAME_CHARS_MAX} characters as people count them (grapheme
clusters), in at most {limits.NICKNAME_BYTES_MAX} bytes of UTF-8 with at most
{limits.NICKNAME_MARKS_MAX} marks on one letter, and none that is invisible, but for those that join
letters or emoji and the tags of a flag. Two are the same whatever the case, and when they look the
same: a letter whose prototype in Unicode's table of confusables (UTS 39) is one Latin letter counts as
that letter.
"""


def protocol_markdown() -> str:
    """The whole of ``docs/PROTOCOL.md``."""
    to_server, to_client = get_args(wire.ClientMessage), get_args(wire.ServerMessage)
    parts = [
        _INTRODUCTION,
        "## What a client says\n",
        *(_message(kind) for kind in to_server),
        "## What a client is told\n",
        *(_message(kind) for kind in to_client),
        "## What messages are made of\n",
        *(_part(kind) for kind in _nested(to_client)),
        "## Phases of a session\n",
        f"```mermaid\n{phase_diagram()}\n```\n",
        "## Error codes\n",
        "The `code` of `error` messages, and of problem details over HTTP. None ever changes.\n",
        _table(
            ("code", "HTTP", "meaning"),
            [(f"`{code}`", str(HTTP_STATUS[code]), text) for code, text in CODES.items()],
        ),
        "## Close codes\n",
        _table(
            ("code", "name", "reconnect", "meaning"),
            [
                (str(close.code), name, "yes" if close.reconnect else "no", close.meaning)
                for name, close in CLOSE_CODES.items()
            ],
        ),
    ]
    return "\n".join(parts)


def with_diagram(text: str) -> str:
    """A document with today's phase diagram between its two markers.

    Raises:
        ValueError: a marker is missing.
    """
    begin = text.index(_DIAGRAM_BEGIN) + len(_DIAGRAM_BEGIN)
    end = text.index(_DIAGRAM_END, begin)
    return f"{text[:begin]}```mermaid\n{phase_diagram()}\n```\n{text[end:]}"


def _message(kind: type[msgspec.Struct]) -> str:
    return f"### `{kind.__struct_config__.tag}`\n\n{_body(kind)}"


def _part(kind: type[msgspec.Struct]) -> str:
    return f"### {kind.__name__}\n\n{_body(kind)}"


def _body(kind: type[msgspec.Struct]) -> str:
    text = inspect.cleandoc(kind.__doc__ or "").replace("``", "`")
    words, _, example = text.partition("Example: ")
    parts = [words.strip() + "\n"]
    info = schema.type_info(kind)
    assert isinstance(info, schema.StructType)
    if info.fields:
        rows = [(f"`{f.encode_name}`", _type(f.type), _default(f)) for f in info.fields]
        parts.append(_table(("field", "type", "default"), rows))
    if example:
        parts.append(f"```json\n{example.strip()}\n```\n")
    return "\n".join(parts)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _default(field: schema.Field) -> str:
    if field.required:
        return "required"
    if field.default is NODEFAULT:  # msgspec tells nothing else of an UNSET field
        return "unchanged"
    return f"`{msgspec.json.encode(field.default).decode()}`"


def _type(info: schema.Type) -> str:
    match info:
        case schema.UnionType(types=types):
            return " or ".join(_type(each) for each in types)
        case schema.VarTupleType(item_type=item, max_length=length):
            return "list of " + (f"at most {length}: " if length else "") + _type(item)
        case schema.TupleType(item_types=items):
            return f"[{', '.join(_type(item) for item in items)}]"
        case schema.StructType(cls=cls):
            tag = cls.__struct_config__.tag
            return f"`{tag}`" if tag else f"[{cls.__name__}](#{cls.__name__.lower()})"
    return _plain_type(info)


def _plain_type(info: schema.Type) -> str:
    match info:
        case schema.EnumType(cls=cls):
            return ", ".join(f"`{member.value}`" for member in cls)
        case schema.IntType():
            return "integer" + _range(info)
        case schema.StrType(min_length=low, max_length=high):
            return "text" + (f", {low or 0} to {high} characters" if high else "")
        case schema.BoolType():
            return "true or false"
        case schema.NoneType():
            return "null"
    raise NotImplementedError(f"the protocol has no words for {info}")


def _range(info: schema.IntType) -> str:
    high = info.le if info.le is not None else info.lt - 1 if info.lt is not None else None
    return "" if info.ge is None and high is None else f", {info.ge} to {high}"


def _nested(kinds: tuple[Any, ...]) -> list[type[msgspec.Struct]]:
    """Every struct without a tag that the messages hold, in the order of first use."""
    found: dict[type[msgspec.Struct], None] = {}
    for info in schema.multi_type_info(kinds):
        for each in _structs(info):
            if not each.__struct_config__.tag:
                found.setdefault(each)
    return list(found)


def _structs(info: schema.Type) -> Iterator[type[msgspec.Struct]]:
    match info:
        case schema.StructType(cls=cls, fields=fields):
            yield cls
            for field in fields:
                yield from _structs(field.type)
        case schema.UnionType(types=inner) | schema.TupleType(item_types=inner):
            for each in inner:
                yield from _structs(each)
        case schema.VarTupleType(item_type=item):
            yield from _structs(item)


def expected_files() -> dict[Path, str]:
    """What each document should be today."""
    architecture = DOCS / "ARCHITECTURE.md"
    return {
        DOCS / "PROTOCOL.md": protocol_markdown(),
        architecture: with_diagram(architecture.read_text("utf-8")),
    }


def main() -> int:
    """Write the documents, or say which ones are not what they should be (exit status 1)."""
    parser = argparse.ArgumentParser(description="The generated documentation.")
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--write", action="store_true", help="write the files")
    action.add_argument("--check", action="store_true", help="exit with 1 when a file is outdated")
    arguments = parser.parse_args()
    outdated = [
        (path, text)
        for path, text in expected_files().items()
        if not path.exists() or path.read_text("utf-8") != text
    ]
    for path, text in outdated:
        if arguments.write:
            path.write_text(text, "utf-8")
        sys.stdout.write(f"{'written' if arguments.write else 'outdated'}: {path.name}\n")
    return 1 if outdated and arguments.check else 0


if __name__ == "__main__":
    sys.exit(main())
