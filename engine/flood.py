"""What tells a flood of joins from a hall that scans the code together. Pure: times are arguments.

How fast people join tells nothing: a thousand phones join within seconds, and so does a program. But
a page that has joined connects at once, to see the question; a program that fills a lobby only joins.
"""

from __future__ import annotations

from collections import deque

from engine import limits
from engine.ids import ParticipantId


class FloodWatch:
    """Who joined lately, and who of them never connected.

    It begins anew with each actor: who came before is taken for connected.
    """

    __slots__ = ("_due", "_judged", "_unseen_judged", "unseen")

    def __init__(self) -> None:
        #: Everybody who has joined and never connected, however long ago.
        self.unseen: set[ParticipantId] = set()
        #: (time of the join, who): those who still have time to connect, and those who had it.
        self._due: deque[tuple[int, ParticipantId]] = deque()
        self._judged: deque[tuple[int, ParticipantId]] = deque()
        self._unseen_judged: set[ParticipantId] = set()

    def joined(self, who: ParticipantId, at_ms: int) -> None:
        """Note that somebody has joined. O(1)."""
        self.unseen.add(who)
        self._due.append((at_ms, who))

    def seen(self, who: ParticipantId) -> None:
        """Note that somebody has connected, or was removed. O(1)."""
        self.unseen.discard(who)
        self._unseen_judged.discard(who)

    def is_flood(self, now_ms: int) -> bool:
        """Whether most of those who joined within the window, and very many, never connected.

        O(1) for each join since the last look.
        """
        while self._due and self._due[0][0] <= now_ms - limits.FLOOD_GRACE_MS:
            at_ms, who = self._due.popleft()
            self._judged.append((at_ms, who))
            if who in self.unseen:
                self._unseen_judged.add(who)
        while self._judged and self._judged[0][0] <= now_ms - limits.FLOOD_WINDOW_MS:
            self._unseen_judged.discard(self._judged.popleft()[1])
        count = len(self._unseen_judged)
        return count > limits.FLOOD_UNSEEN_MAX and 2 * count > len(self._judged)
