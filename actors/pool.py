"""How many blank SessionActors are worth keeping: what was given away lately is wanted again."""

from __future__ import annotations

from collections import deque

from engine import limits


class Demand:
    """What the warm pool should hold. Times are seconds of one monotonic clock.

    Args:
        rest: actors that are kept however quiet it is.
    """

    def __init__(self, rest: int) -> None:
        self._rest = rest
        self._given: deque[float] = deque()
        self._last_s = float("-inf")

    def note(self, now_s: float) -> None:
        """An actor was given to a session."""
        self._given.append(now_s)
        self._last_s = now_s

    def wanted(self, now_s: float, live: int, room: int) -> int:
        """How many there should be.

        Args:
            now_s: the time.
            live: sessions that have an actor.
            room: how many there may be, beyond those that are always kept.
        """
        while self._given and now_s - self._given[0] > limits.OPENINGS_WINDOW_MS / 1000:
            self._given.popleft()
        # A lone opening is no wave.
        expected = max(0, len(self._given) - 1) + live // limits.SESSIONS_PER_WARM_ACTOR
        return self._rest + max(0, min(expected, room, limits.EXTRA_WARM_ACTORS_MAX))

    def kept(self, now_s: float, live: int, room: int) -> int:
        """How many may stay: between two openings of one wave none is ended that was just started."""
        if now_s - self._last_s < limits.POOL_REST_MS / 1000:
            return self._rest + limits.EXTRA_WARM_ACTORS_MAX
        return self.wanted(now_s, live, room)
