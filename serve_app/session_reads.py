"""What anybody with a token may read of a live session, at a price that does not grow with who reads.

All who ask here share one call to the session's actor, which begins after they have asked: nobody is
told anything older than the question. See :class:`actors.tasks.PacedWork`.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any, Literal, NamedTuple, Protocol

import msgspec

from actors.results import ResultRow
from actors.tasks import PacedWork
from engine import limits
from engine.errors import QuizError, Unavailable
from engine.ids import SessionId
from engine.wire import Snapshot, decode_snapshot, encode_json
from serve_app.rate import Recent

#: What is stored of a session that is over: the whole scoreboard.
Stored = Callable[[], Awaitable[list[ResultRow]]]


class Actors(Protocol):
    """How actors are called; see :class:`serve_app.batcher.Gateway`."""

    async def call(self, session_id: SessionId, method: str, *args: object) -> Any:
        """Call a method of a session's actor once."""


class Score(msgspec.Struct, frozen=True):
    """One line of a scoreboard."""

    participant_id: int
    nickname: str
    points: int
    rank: int


class Scoreboard(NamedTuple):
    """A whole scoreboard, best first; ``source`` is memory while the session lives, else database."""

    source: Literal["memory", "database"]
    rows: list[Score]
    read_at: float


class SessionReads:
    """Views and scoreboards, read for many at once."""

    def __init__(self, actors: Actors) -> None:
        self._actors = actors
        self._views = PacedWork[SessionId, bytes](limits.VIEW_READ_INTERVAL_MS)
        self._scoreboards = PacedWork[SessionId, Scoreboard](limits.SCOREBOARD_READ_INTERVAL_MS)
        #: The last ones, for those who read page after page.
        self._last = Recent[SessionId, Scoreboard](limits.SCOREBOARDS_KEPT_MAX)

    async def view(self, session_id: SessionId) -> bytes:
        """The newest view as a ``snapshot`` message (JSON).

        Raises:
            QuizError: the session is over, unknown, or away for the moment.
        """
        return await self._views.do(session_id, lambda: self._read_view(session_id))

    async def scoreboard(
        self, session_id: SessionId, offset: int, rows: int, stored: Stored
    ) -> Scoreboard:
        """Some rows of the scoreboard.

        The first page is new; the others are of the same reading for ``SCOREBOARD_KEPT_MS``, so that
        who pages through it misses nobody.

        Args:
            session_id: whose.
            offset: rows that are left out before the first one.
            rows: how many.
            stored: reads the scoreboard of a session that is over.

        Raises:
            QuizError: as above, or what ``stored`` raises.
        """
        found = self._last.get(session_id)
        if not offset or found is None or _age_ms(found) > limits.SCOREBOARD_KEPT_MS:
            found = await self._scoreboards.do(
                session_id, lambda: self._read_scoreboard(session_id, stored)
            )
            self._last[session_id] = found
        return found._replace(rows=found.rows[offset : offset + rows])

    async def _read_view(self, session_id: SessionId) -> bytes:
        try:
            data = await self._actors.call(session_id, "view")
        except AttributeError:  # an actor of the version before has no such method
            data = await self._actors.call(session_id, "snapshot")
        if not data:
            raise Unavailable("the session is not there yet")
        answer = decode_snapshot(data)
        return encode_json(Snapshot(answer.now_ms, answer.view))

    async def _read_scoreboard(self, session_id: SessionId, stored: Stored) -> Scoreboard:
        now = time.monotonic()
        try:
            found = await self._actors.call(session_id, "scoreboard", 0, limits.PARTICIPANTS_MAX)
            return Scoreboard("memory", [Score(*row) for row in found], now)
        except QuizError as error:
            if error.code != "session_over":
                raise
        rows = [
            Score(row.participant_id, row.nickname, row.points, row.rank) for row in await stored()
        ]
        return Scoreboard("database", rows, now)


def _age_ms(found: Scoreboard) -> float:
    return (time.monotonic() - found.read_at) * 1000
