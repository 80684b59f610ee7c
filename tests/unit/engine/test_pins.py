"""PINs of every style: made, typed in every way, shown."""

import doctest
import random
import re

import pytest

from engine import limits, pins
from engine.pins import PinStyle, group_pin, new_pin, read_pin

SHAPES = {
    PinStyle.DIGITS6: "[0-9]{6}",
    PinStyle.DIGITS8: "[0-9]{8}",
    PinStyle.LETTERS: "[B-Z]{6}",
}


def test_the_examples_hold():
    assert doctest.testmod(pins).failed == 0


@pytest.mark.parametrize("style", PinStyle)
def test_new_ones_look_as_they_should_and_are_read_back(style):
    below = random.Random(1).randrange
    made = {new_pin(style, below) for _ in range(1_000)}
    assert len(made) > 990, "they differ"
    for pin in made:
        assert re.fullmatch(SHAPES[style], pin)
        assert read_pin(pin) == read_pin(group_pin(pin)) == read_pin(pin.lower()) == pin


def test_all_letters_are_used_and_none_is_a_vowel():
    below = random.Random(1).randrange
    used = set("".join(new_pin(PinStyle.LETTERS, below) for _ in range(1_000)))
    assert used == set("BCDFGHJKLMNPQRSTVWXZ")


@pytest.mark.parametrize(
    ("typed", "pin"),
    [
        (" 123 456 ", "123456"),
        ("123-456", "123456"),
        ("1234\u00a05678", "12345678"),
        ("1234\u20135678", "12345678"),
        ("b c d f g h", "BCDFGH"),
        ("Bcd-FGH", "BCDFGH"),
    ],
)
def test_what_people_type(typed, pin):
    assert read_pin(typed) == pin


@pytest.mark.parametrize(
    "typed",
    ["", "12345", "1234567", "123456789", "BCDFG", "BCDFGA", "BCD456", "١٢٣٤٥٦", "１２３４５６", "12\n3456",
     "123456\0", "ßßß", "\ud800", "1" + " " * limits.PIN_TYPED_CHARS_MAX + "23456"],
)  # fmt: skip
def test_what_is_no_pin(typed):
    assert read_pin(typed) is None
