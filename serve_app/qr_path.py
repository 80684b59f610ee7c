"""QR codes as a drawing instruction, for pages that must not ask for a picture of what they hide."""

from __future__ import annotations

from itertools import groupby
from typing import NamedTuple

import segno

_BORDER = 4


class QrPath(NamedTuple):
    """A square of ``size`` units, and the SVG path of its dark ones."""

    size: int
    path: str


def qr_path(text: str) -> QrPath:
    """The QR code of a text, with the quiet border around it.

    >>> qr_path("a").path[:20]
    'M4 4h7v1h-7zM13 4h4v'
    """
    rows = segno.make_qr(text, error="l").matrix
    parts = []
    for y, row in enumerate(rows, _BORDER):
        x = _BORDER
        for is_dark, run in groupby(row):
            width = len(list(run))
            if is_dark:
                parts.append(f"M{x} {y}h{width}v1h-{width}z")
            x += width
    return QrPath(len(rows) + 2 * _BORDER, "".join(parts))
