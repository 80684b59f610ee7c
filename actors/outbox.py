"""Group commit: what is decided while one append is under way goes with the next, all together."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from actors.ports import CheckpointLog, Record
from engine import limits
from engine.errors import Fenced, Unavailable
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
    ``on_failed`` (fenced, or a stored event that could not be applied) the owner must leave.
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
        self._size = 0
        self._wakened = asyncio.Event()
        self._last: asyncio.Future[None] | None = None
        self._fenced = False
        self._task = asyncio.get_running_loop().create_task(self._run())

    def __len__(self) -> int:
        """Events that are not yet known to be durable."""
        return self._size

    @property
    def is_full(self) -> bool:
        """Whether new answers must be refused as ``overloaded``."""
        return self._size >= limits.OUTBOX_EVENTS_MAX

    def add(self, events: Sequence[Event]) -> asyncio.Future[None]:
        """Take events; the future ends when they are durable and applied, or with Fenced."""
        stored: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        stored.add_done_callback(_retrieve)
        if self._fenced:
            stored.set_exception(_fenced())
            return stored
        records = []
        for event in events:
            records.append(Record(SessionSeq(self._next_seq), event))
            self._next_seq += 1
        self._waiting.append(_Chunk(records, stored))
        self._size += len(records)
        self._last = stored
        self._wakened.set()
        return stored

    def flushed(self) -> asyncio.Future[None]:
        """A future that ends when all that was added until now is durable."""
        if self._last is not None and not self._last.done():
            return self._last
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.add_done_callback(_retrieve)
        if self._fenced:
            done.set_exception(_fenced())
        else:
            done.set_result(None)
        return done

    async def close(self) -> None:
        """Stop; what is not durable stays unknown to whoever waits for it."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._fail_waiting(Unavailable("the session's actor is leaving"))

    async def _run(self) -> None:
        while True:
            await self._wakened.wait()
            self._wakened.clear()
            while self._waiting:
                chunks = self._take()
                records = [record for chunk in chunks for record in chunk.records]
                try:
                    await self._append(records)
                except Fenced as error:
                    self._fenced = True
                    for chunk in chunks:
                        _fail(chunk.stored, error)
                    self._fail_waiting(error)
                    self._on_failed(error)
                    return
                self._size -= len(records)
                self._finish(chunks, records)

    def _take(self) -> list[_Chunk]:
        chunks = [self._waiting.popleft()]
        rows = len(chunks[0].records)
        while self._waiting and rows + len(self._waiting[0].records) <= limits.APPEND_ROWS_MAX:
            chunks.append(self._waiting.popleft())
            rows += len(chunks[-1].records)
        return chunks

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
                # Whatever it was, these events may be durable: only the same append can tell.
                log.exception("action=append_failed records=%d", len(records))
            else:
                return
            await asyncio.sleep(backoff_s)
            backoff_s = min(2 * backoff_s, _BACKOFF_S_MAX)

    def _finish(self, chunks: list[_Chunk], records: list[Record]) -> None:
        try:
            self._on_stored([record.event for record in records])
        except Exception as error:
            # The tables and this memory disagree, so this memory must go.
            log.exception("action=apply_failed records=%d", len(records))
            self._on_failed(error)
        for chunk in chunks:
            if not chunk.stored.done():  # whoever waited may have gone
                chunk.stored.set_result(None)

    def _fail_waiting(self, error: Exception) -> None:
        while self._waiting:
            _fail(self._waiting.popleft().stored, error)


def _fenced() -> Fenced:
    return Fenced("another actor has taken the session over")


def _fail(future: asyncio.Future[None], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)


def _retrieve(future: asyncio.Future[None]) -> None:
    """Mark the exception as seen: a client that left must not leave a warning behind."""
    if not future.cancelled():
        future.exception()
