"""Questions that several tests of pages play."""

from typing import Any, Final

PLANET: Final[dict[str, Any]] = {
    "kind": "single",
    "text": "Which planet has the shortest day?",
    "choices": ["Mars", "Jupiter", "Venus", "Earth"],
    "correct": [1],
    "time_limit_ms": 60_000,
}
