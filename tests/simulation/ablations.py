"""The safeguards, each with a way to take it out and the invariants that must then be seen to break."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pytest


class Ablation(NamedTuple):
    """One safeguard.

    Attributes:
        remove: takes it out of the code under test.
        breaks: the invariants of :class:`tests.simulation.audit.Auditor`, one of which must break.
        means: what is missing then, and what was taken out with it because it would mask it.
    """

    remove: Callable[[pytest.MonkeyPatch], None]
    breaks: frozenset[str]
    means: str


ABLATIONS: dict[str, Ablation] = {}
