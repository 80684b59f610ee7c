"""Statements by name."""

import re
from pathlib import Path

import pytest

import actors
from actors.sql import load, queries

SOURCES = [path.read_text("utf-8") for path in Path(actors.__file__).parent.glob("*.py")]


def test_a_statement_is_what_stands_under_its_name():
    text = """-- a heading

-- name: one
-- A sentence.
SELECT 1;

-- another heading; with a semicolon

-- name: two
SELECT 2;
"""
    assert load(text) == {"one": "-- A sentence.\nSELECT 1", "two": "SELECT 2"}


def test_a_name_that_stands_twice_is_refused():
    with pytest.raises(ValueError, match="twice"):
        load("-- name: one\nSELECT 1;\n-- name: one\nSELECT 2;\n")


def test_a_statement_without_an_end_is_refused():
    with pytest.raises(ValueError, match="substring"):
        load("-- name: one\nSELECT 1\n")


@pytest.mark.parametrize("name", queries)
def test_every_statement_is_used(name):
    assert any(f'"{name}"' in source for source in SOURCES)


@pytest.mark.parametrize("name", queries)
def test_a_statement_is_one(name):
    code = re.sub(r"--.*", "", queries[name])
    assert ";" not in code
    assert re.match(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH)\b", code)
