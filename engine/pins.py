"""PINs: how new ones look, how what people type is read, how they are shown.

Every style is always read, whatever new sessions get: a deployment that changes its style still has
sessions of the last one, and so has one whose replicas are being replaced.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Final, NamedTuple

from engine import limits
from engine.ids import Pin


class PinStyle(StrEnum):
    """How the PINs of new sessions look."""

    DIGITS6 = "digits6"
    DIGITS8 = "digits8"
    LETTERS = "letters"


class _Shape(NamedTuple):
    alphabet: str
    chars: int


_DIGITS: Final = "0123456789"
#: No vowels and no Y, so that they make no words; with no digits beside them none is taken for another.
_LETTERS: Final = "BCDFGHJKLMNPQRSTVWXZ"
_SHAPES: Final = {
    PinStyle.DIGITS6: _Shape(_DIGITS, limits.PIN_DIGITS),
    PinStyle.DIGITS8: _Shape(_DIGITS, limits.PIN_LONG_DIGITS),
    PinStyle.LETTERS: _Shape(_LETTERS, limits.PIN_LETTERS),
}
#: What people put between groups: a space (a no-break or narrow one too), a hyphen or a dash.
_BETWEEN: Final = str.maketrans(dict.fromkeys(" \t\u00a0\u202f-\u2010\u2011\u2012\u2013\u2014", ""))


def new_pin(style: PinStyle, below: Callable[[int], int]) -> Pin:
    """A PIN of a style.

    Args:
        style: how it looks.
        below: a random number from 0 up to, not including, its argument.

    >>> new_pin(PinStyle.DIGITS8, lambda n: 4711), new_pin(PinStyle.LETTERS, lambda n: n - 1)
    ('00004711', 'ZZZZZZ')
    """
    alphabet, chars = _SHAPES[style]
    number, pin = below(len(alphabet) ** chars), ""
    for _ in range(chars):
        number, place = divmod(number, len(alphabet))
        pin = alphabet[place] + pin
    return Pin(pin)


def read_pin(typed: str) -> Pin | None:
    """The PIN that somebody means, of any style; None when it is no PIN.

    >>> read_pin("123 456"), read_pin("bcd-fgh"), read_pin("12345"), read_pin("abcdef")
    ('123456', 'BCDFGH', None, None)
    """
    if len(typed) > limits.PIN_TYPED_CHARS_MAX:
        return None
    pin = typed.translate(_BETWEEN)
    if not pin.isascii():
        return None
    pin = pin.upper()
    for alphabet, chars in _SHAPES.values():
        if len(pin) == chars and set(pin) <= set(alphabet):
            return Pin(pin)
    return None


def group_pin(pin: str) -> str:
    """A PIN as people read it: in two halves.

    >>> group_pin("123456"), group_pin("12345678")
    ('123 456', '1234 5678')
    """
    half = len(pin) // 2
    return f"{pin[:half]} {pin[half:]}"
