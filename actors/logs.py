"""Logs that hold against what clients send: one line for each record, of bounded length, and not too many.

A nickname, a path or a reason may have line breaks, escapes of terminals or a hundred thousand
characters. They are made harmless where records are made, for every logger and handler of a process.
"""

from __future__ import annotations

import logging
import re
import sys
from typing import Any, Final, NamedTuple

from engine import limits

#: Control characters, line ends of Unicode, what changes the direction of text, and lone surrogates.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
_FORMAT: Final = "%(asctime)s %(levelname)s %(name)s %(message)s"


def harmless(text: str, chars_max: int = limits.LOG_LINE_CHARS_MAX) -> str:
    r"""One line of a text, and no more of it than so many characters.

    >>> harmless("a\nb\x1b[31m")
    'a\\x0ab\\x1b[31m'
    >>> harmless("abcdef", 3)
    'abc… (3 more)'
    """
    rest = len(text) - chars_max
    if rest > 0:
        text = f"{text[:chars_max]}… ({rest} more)"
    return _UNSAFE.sub(_escaped, text)


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}"  # noqa: PLR2004 - two digits


class OneLine(logging.Formatter):
    """A record as a line; the lines of its traceback are set in, so that none passes for a record."""

    def __init__(self) -> None:
        super().__init__(_FORMAT)

    def formatException(self, ei: Any) -> str:  # noqa: N802 - logging's own name
        """The newest part of a traceback, set in."""
        text = super().formatException(ei)[-limits.LOG_TRACE_CHARS_MAX :]
        return "\n".join(f"    {harmless(line)}" for line in text.splitlines())


class _Seen(NamedTuple):
    window: int
    records: int


class Sparing(logging.Filter):
    """Lets ``LOG_LINES_MAX`` records of one place in the code through in ``LOG_WINDOW_S``.

    The first one after that says how many were left out.
    """

    def __init__(self) -> None:
        super().__init__()
        self._seen: dict[tuple[str, int], _Seen] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is let through."""
        place = (record.pathname, record.lineno)
        window = int(record.created // limits.LOG_WINDOW_S)
        seen = self._seen.get(place, _Seen(window, 0))
        if seen.window != window:
            left_out = seen.records - limits.LOG_LINES_MAX
            if left_out > 0:
                record.msg = f"{record.msg} ({left_out} like it were left out)"
            seen = _Seen(window, 0)
        self._seen[place] = _Seen(window, seen.records + 1)
        return seen.records < limits.LOG_LINES_MAX


def install_logs() -> None:
    """Make this process's logs harmless. Calling it again changes nothing."""
    root = logging.getLogger()
    if any(isinstance(handler.formatter, OneLine) for handler in root.handlers):
        return
    former = logging.getLogRecordFactory()

    def made_harmless(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = former(*args, **kwargs)
        try:
            record.msg = harmless(record.getMessage())
        except Exception:  # noqa: BLE001 - a record that does not fit its arguments is no reason to fail
            record.msg = harmless(f"{record.msg!r} {record.args!r}")
        record.args = None
        return record

    logging.setLogRecordFactory(made_harmless)
    handler = logging.StreamHandler(sys.stderr)
    handler.setLevel(logging.WARNING)
    handler.setFormatter(OneLine())
    handler.addFilter(Sparing())
    root.addHandler(handler)
