"""Nicknames: which are allowed, how long they are to the eye, and when two of them look the same."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Final

from engine import limits
from engine.errors import Malformed
from engine.lookalikes import LATIN_LOOKALIKES

_NON_JOINER: Final = "\u200c"
_JOINER: Final = "\u200d"
#: Characters that are allowed, or count as letters or marks, and show nothing: joiners, variation
#: selectors, fillers, the blank Braille pattern. Source: Unicode, Default_Ignorable_Code_Point.
_UNSEEN = dict.fromkeys(
    (
        *(0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x200C, 0x200D, 0x2800, 0x3164, 0xFFA0),
        *range(0x180B, 0x1810),
        *range(0xFE00, 0xFE10),
        *range(0xE0100, 0xE01F0),
    )
)
#: A black flag and the tags that name its region: Scotland, England, Wales. Source: UTS 51, ED-14a.
_REGION_FLAG: Final = re.compile(
    "\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{3,6}\U000e007f"
)
_LOOKS: Final = str.maketrans(
    {char: latin for latin, chars in LATIN_LOOKALIKES.items() for char in chars}
)
#: The canonical combining class of signs that join two consonants to one.
_VIRAMA: Final = 9


def fold_nickname(nickname: str) -> str:
    """The form in which two nicknames are the same: what is seen of them, whatever the case.

    >>> fold_nickname("MIA\u200d") == fold_nickname("mia")
    True
    """
    return unicodedata.normalize("NFKC", nickname).casefold().translate(_UNSEEN)


def look_of_nickname(nickname: str) -> str:
    """The form in which two nicknames look the same: letters that look like Latin ones are these.

    The skeleton of UTS 39, as far as it leads from one letter to one Latin letter, so that "Amy" and
    "Arny" stay two names; then folded.

    >>> look_of_nickname("Mi\u0430") == look_of_nickname("MIA")  # a Cyrillic letter
    True
    """
    if nickname.isascii():
        return fold_nickname(nickname)
    return fold_nickname(unicodedata.normalize("NFKC", nickname).translate(_LOOKS))


def clean_nickname(nickname: str) -> str:
    """Return a nickname as it is shown: NFC, single spaces.

    Raises:
        Malformed: code ``nickname_invalid``.
    """
    cleaned = " ".join(unicodedata.normalize("NFC", nickname).split())
    if not cleaned:
        _refuse("it is empty")
    _check_length(cleaned)
    # Joiners hold emoji and letters together, tags name a flag's region; every other invisible or
    # direction-changing character would let two names look the same, or garble the host's screen.
    rest = _REGION_FLAG.sub("", cleaned).replace(_JOINER, "").replace(_NON_JOINER, "")
    if any(unicodedata.category(char)[0] == "C" for char in rest):
        _refuse("control and invisible characters are not allowed")
    if not any(unicodedata.category(char)[0] in "LNSP" for char in fold_nickname(cleaned)):
        _refuse("at least one visible character is needed")
    return cleaned


def _check_length(nickname: str) -> None:
    if len(nickname) > limits.NICKNAME_CHARS_MAX:  # it has no more clusters than characters
        count = sum(1 for _ in clusters(nickname))
        if count > limits.NICKNAME_CHARS_MAX:
            _refuse(f"{count} characters; at most {limits.NICKNAME_CHARS_MAX} are allowed")
    size = len(nickname.encode(errors="surrogatepass"))
    if size > limits.NICKNAME_BYTES_MAX:
        _refuse(f"{size} bytes in UTF-8; at most {limits.NICKNAME_BYTES_MAX} are allowed")
    marks = 0
    for char in nickname:
        is_mark = unicodedata.category(char) in ("Mn", "Me") and ord(char) not in _UNSEEN
        marks = marks + 1 if is_mark else 0
        if marks > limits.NICKNAME_MARKS_MAX:
            _refuse(f"at most {limits.NICKNAME_MARKS_MAX} marks on one character are allowed")


def _refuse(detail: str) -> None:
    raise Malformed(f"nickname: {detail}", "nickname_invalid")


def clusters(text: str) -> Iterator[str]:
    """What people count as one character each: a letter with its marks, a flag, a family.

    Source: UAX 29, grapheme clusters, by the categories that Python knows.

    >>> [len(one) for one in clusters("e\u0301a\U0001f1e8\U0001f1ed")]
    [2, 1, 2]
    """
    start = 0
    for end in range(1, len(text) + 1):
        if end == len(text) or not _continues(text, end):
            yield text[start:end]
            start = end


def _continues(text: str, index: int) -> bool:
    """Whether a character belongs to the cluster of the one before it."""
    char, before = text[index], text[index - 1]
    if unicodedata.category(char)[0] == "M" or char in (_NON_JOINER, _JOINER):
        return True
    if "\U0001f3fb" <= char <= "\U0001f3ff" or "\U000e0020" <= char <= "\U000e007f":
        return True  # the tone of a skin, the tags of a flag
    if before == _JOINER:
        return unicodedata.category(char) == "So"
    if _is_regional(char):
        letters = 0
        while letters < index and _is_regional(text[index - 1 - letters]):
            letters += 1
        return letters % 2 == 1
    if "\u1160" <= char <= "\u11ff":  # vowels and finals of Hangul
        return "\u1100" <= before <= "\u11ff" or "\uac00" <= before <= "\ud7a3"
    return unicodedata.combining(before) == _VIRAMA and unicodedata.category(char) == "Lo"


def _is_regional(char: str) -> bool:
    """Whether it is one of the two letters of a country's flag."""
    return "\U0001f1e6" <= char <= "\U0001f1ff"
