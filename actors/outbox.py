"""Group commit: what is decided while one append is under way goes with the next, all together."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from actors.ports import CheckpointLog, Record
from actors.tasks import cancel
from engine import limits
from engine.errors import Fenced, QuizError, Unavailable
from engine.events import Event
from engine.ids import SessionSeq

log = logging.getLogger(__name__)

#: First and longest pause between two tries of an append, seconds.
_BACKOFF_S_MIN, _BACKOFF_S_MAX = 0.05, 1.0


class _Chunk(NamedTuple):
    records: list[Record]
    stored: asyncio.Future[None]


class Outbox:
    """Events on their way to the log, in order.

    One append is in flight at a time; no timer delays a lone event. A chunk that was added together
    becomes durable together, and ``on_stored`` sees it before anybody who waits for it. After
    ``on_failed`` (fenced, an append that fails whenever it is tried, or a stored event that could not
    be applied) the owner must leave.
    """

    def __init__(
        self,
        checkpoint_log: CheckpointLog,
        next_seq: int,
        on_stored: Callable[[Sequence[Event]], None],
        on_failed: Callable[[Exception], None],
    ) -> None:
        self._log = checkpoint_log
        self._next_seq = next_seq
        self._on_stored = on_stored
        self._on_failed = on_failed
        self._waiting: deque[_Chunk] = deque()
        self._in_flight: list[_Chunk] = []
        self._size = 0
        self._wakened = asyncio.Event()
        self._last: asyncio.Future[None] | None = None
        #: How often the append in flight has failed, not counting that the store was away.
        self._failures = 0
        #: Why nothing is taken any more.
        self._ended: QuizError | None = None
        self._task = asyncio.get_running_loop().create_task(self._run())

    def __len__(self) -> int:
        """Events that are not yet known to be durable."""
        return self._size

    @property
    def is_full(self) -> bool:
        """Whether new answers must be refused as ``overloaded``."""
        return self._size >= limits.OUTBOX_EVENTS_MAX

    @property
    def is_failing(self) -> bool:
        """Whether the append in flight fails although the store is there."""
        return self._failures > 0

    def add(self, events: Sequence[Event]) -> asyncio.Future[None]:
        """Take events; the future ends when they are durable and applied.

        It ends with Fenced or Unavailable when they never will be by this outbox. Whoever waits may
        leave: cancelling the future holds nothing up.
        """
        if self._ended is not None:
            return self._failed(self._ended)
        records = []
        for event in events:
            records.append(Record(SessionSeq(self._next_seq), event))
            self._next_seq += 1
        stored: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Chunk(records, stored))
        self._size += len(records)
        self._last = stored
        self._wakened.set()
        return _guarded(stored)

    def flushed(self) -> asyncio.Future[None]:
        """A future that ends when all that was added until now is durable; as :meth:`add`'s."""
        if self._ended is not None:
            return self._failed(self._ended)
        if self._last is None:
            self._last = asyncio.get_running_loop().create_future()
            self._last.set_result(None)
        return _guarded(self._last)

    async def close(self) -> None:
        """Stop; what is not durable stays unknown to whoever waits for it."""
        await cancel([self._task])
        self._end(Unavailable("the session's actor is leaving"))

    async def _run(self) -> None:
        try:
            while True:
                await self._wakened.wait()
                self._wakened.clear()
                while self._waiting:
                    self._take()
                    await self._store()
        except Fenced as error:
            self._end(error)
            self._on_failed(error)
        except Exception as error:
            # The tables do not take what this memory has decided, or the two disagree: it must go.
            log.exception("action=outbox_failed")
            self._end(Unavailable("what was decided could not be stored, or not be applied"))
            self._on_failed(error)

    def _take(self) -> None:
        chunks = self._in_flight
        chunks.append(self._waiting.popleft())
        rows = len(chunks[0].records)
        while self._waiting and rows + len(self._waiting[0].records) <= limits.APPEND_ROWS_MAX:
            chunks.append(self._waiting.popleft())
            rows += len(chunks[-1].records)

    async def _store(self) -> None:
        records = [record for chunk in self._in_flight for record in chunk.records]
        await self._append(records)
        self._size -= len(records)
        self._on_stored([record.event for record in records])
        for chunk in self._in_flight:
            chunk.stored.set_result(None)
        self._in_flight.clear()

    async def _append(self, records: list[Record]) -> None:
        backoff_s = _BACKOFF_S_MIN
        while True:
            try:
                await self._log.append(records)
            except Unavailable as error:
                log.warning("action=append_retry records=%d reason=%s", len(records), error)
            except Fenced:
                raise
            except Exception:
                # Whatever it was, these events may be durable: only the same append can tell, or a
                # take-over, which reads what there is.
                self._failures += 1
                if self._failures >= limits.APPEND_FAILURES_MAX:
                    raise
                log.exception("action=append_failed records=%d", len(records))
            else:
                self._failures = 0
                return
            await asyncio.sleep(backoff_s)
            backoff_s = min(2 * backoff_s, _BACKOFF_S_MAX)

    def _end(self, error: QuizError) -> None:
        """Take nothing any more; whoever waits, or comes later, is told why."""
        if self._ended is None:
            self._ended = error
        for chunk in (*self._in_flight, *self._waiting):
            chunk.stored.set_exception(self._ended)
            chunk.stored.exception()  # seen: a client that left must not leave a warning behind
        self._in_flight.clear()
        self._waiting.clear()

    @staticmethod
    def _failed(error: QuizError) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.set_exception(error)
        future.exception()
        return future


def _guarded(stored: asyncio.Future[None]) -> asyncio.Future[None]:
    """The same end for somebody who may cancel it, and who need not look at it."""
    future = asyncio.shield(stored)
    future.add_done_callback(lambda done: done.cancelled() or done.exception())
    return future
