"""Loads the named statements of ``actors/queries.sql``."""

from __future__ import annotations

import re
from importlib.resources import files

_NAME = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)


def load(text: str) -> dict[str, str]:
    """Split a file of statements at its ``-- name: x`` lines; each ends at its semicolon.

    Raises:
        ValueError: two statements have the same name, or one has no end.
    """
    parts = _NAME.split(text)[1:]
    names, bodies = parts[::2], parts[1::2]
    if len(set(names)) != len(names):
        msg = f"a name stands twice among {names}"
        raise ValueError(msg)
    # What stands behind the semicolon is the heading of the next section.
    return {name: body[: body.index(";\n")] for name, body in zip(names, bodies, strict=True)}


#: Every statement of this package, by name.
queries = load(files("actors").joinpath("queries.sql").read_text("utf-8"))
