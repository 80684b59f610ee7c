"""Ranks: who stands where, with standard competition ranking (1, 2, 2, 4).

Ordered by points, highest first; participants with equal points share a rank and stand in the
order in which they joined.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from sortedcontainers import SortedList

from engine.ids import ParticipantId

#: Above this share of changed entries a sort of the whole is cheaper than single moves.
_REBUILD_SHARE: Final = 4


class Scoreboard:
    """Points of all participants, kept in order.

    Changes are noted in O(1) and put in order at the next look: O(log n) for each, and never more
    than one sort of the whole, however many changed.
    """

    __slots__ = ("_moved", "_order", "_placed", "_points")

    def __init__(self) -> None:
        self._points: dict[ParticipantId, int] = {}
        #: The points under which each participant stands in ``_order``.
        self._placed: dict[ParticipantId, int] = {}
        self._moved: set[ParticipantId] = set()
        self._order: SortedList[tuple[int, ParticipantId]] = SortedList()

    def __len__(self) -> int:
        return len(self._points)

    def __contains__(self, participant: ParticipantId) -> bool:
        return participant in self._points

    def set(self, participant: ParticipantId, points: int) -> None:
        """Give a participant, known or new, that many points."""
        self._points[participant] = points
        self._moved.add(participant)

    def remove(self, participant: ParticipantId) -> None:
        """Take a participant out; unknown ones are ignored."""
        if self._points.pop(participant, None) is not None:
            self._moved.add(participant)

    def points(self) -> dict[ParticipantId, int]:
        """Points of everyone on the board, as a copy."""
        return dict(self._points)

    def rank(self, participant: ParticipantId) -> int:
        """Rank from 1: one more than the number of participants with more points. O(log n).

        Raises:
            KeyError: the participant is not on the board.
        """
        points = self._points[participant]
        ahead: int = self._settled().bisect_left((-points, ParticipantId(0)))
        return ahead + 1

    def top(self, rows: int) -> list[tuple[ParticipantId, int, int]]:
        """The first ``rows`` as (participant, points, rank)."""
        return list(_ranked(self._settled().islice(0, rows)))

    def ranked(self) -> Iterator[tuple[ParticipantId, int, int]]:
        """All as (participant, points, rank), best first."""
        return _ranked(self._settled())

    def _settled(self) -> SortedList[tuple[int, ParticipantId]]:
        moved, placed, points, order = self._moved, self._placed, self._points, self._order
        if not moved:
            return order
        if len(moved) * _REBUILD_SHARE < len(points):
            for who in moved:
                before, after = placed.pop(who, None), points.get(who)
                if before is not None:
                    order.remove((-before, who))
                if after is not None:
                    order.add((-after, who))
                    placed[who] = after
        else:
            self._placed = dict(points)
            self._order = SortedList((-value, who) for who, value in points.items())
        moved.clear()
        return self._order


def _ranked(
    order: Iterable[tuple[int, ParticipantId]],
) -> Iterator[tuple[ParticipantId, int, int]]:
    rank, last = 0, 1
    for position, (minus_points, participant) in enumerate(order, 1):
        if minus_points != last:
            rank, last = position, minus_points
        yield participant, -minus_points, rank
