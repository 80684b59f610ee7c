"""Logs hold against what clients send: one line, of bounded length, and not too many of them."""

import doctest
import io
import logging
import subprocess
import sys

import pytest

from actors import logs
from actors.logs import OneLine, Sparing, harmless
from engine import limits

LOG_A_LOT = """
import logging
from actors.logs import install_logs
install_logs()
install_logs()
log = logging.getLogger("rayquiz.test")
other = logging.getLogger("other")
other.propagate = False
other.addHandler(logging.StreamHandler())
hostile = "Mia\\n2026-01-01 ERROR forged\\x1b[2J\\u2028\\u202e\\ud800" + "x" * 100_000
for one in (log, other):
    one.warning("action=joined nickname=%s", hostile)
    one.warning("action=joined " + hostile.replace("%", "%%"))
    one.warning("%d", hostile)
try:
    raise ValueError(hostile)
except ValueError:
    log.exception("action=failed")
"""


def test_the_examples_hold():
    assert doctest.testmod(logs).failed == 0


def test_nothing_that_a_client_sends_makes_a_line_of_its_own_or_a_long_one():
    code = LOG_A_LOT.replace("\\\\", "\\")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    text = done.stderr.decode()
    lines = text.splitlines()
    assert sum("Mia" in line for line in lines) >= 6
    assert not any(line.startswith("2026-01-01 ERROR forged") for line in lines)
    assert not set(text) & set("\x1b\u2028\u202e")
    assert max(map(len, lines)) < limits.LOG_LINE_CHARS_MAX + 200
    assert len(text) < 20 * limits.LOG_LINE_CHARS_MAX


@pytest.mark.parametrize("text", ["Mia", "Zoë ☀ 中文", "tab-free"])
def test_what_is_harmless_stays_as_it_is(text):
    assert harmless(text) == text


def record(message, created=0.0, line=1):
    made = logging.LogRecord("x", logging.WARNING, "file.py", line, message, None, None)
    made.created = created
    return made


def test_a_traceback_is_set_in_and_bounded():
    try:
        int("a\nb" + "x" * 100_000)
    except ValueError:
        made = record("action=failed")
        made.exc_info = sys.exc_info()
    first, *rest = OneLine().format(made).splitlines()
    assert first.endswith("WARNING x action=failed")
    assert rest
    assert all(line.startswith("    ") for line in rest)
    assert sum(map(len, rest)) < 2 * limits.LOG_TRACE_CHARS_MAX


def test_a_place_that_is_made_to_log_is_let_through_so_often_and_says_what_was_left_out():
    sparing, out = Sparing(), io.StringIO()
    handler = logging.StreamHandler(out)
    handler.addFilter(sparing)
    for _ in range(limits.LOG_LINES_MAX + 500):
        handler.handle(record("flood"))
    handler.handle(record("another place", line=2))
    handler.handle(record("flood", created=limits.LOG_WINDOW_S + 1.0))
    lines = out.getvalue().splitlines()
    assert lines[:-2] == ["flood"] * limits.LOG_LINES_MAX
    assert lines[-2:] == ["another place", "flood (500 like it were left out)"]
