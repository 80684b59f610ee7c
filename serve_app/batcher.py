"""Group commit at the replica: while one batch of a session is at its actor, the next one gathers.

No timer: a lone item leaves at once. One item's failure, or a client that has gone, never stops the
others.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from actors.calls import actor_call
from actors.directory import Directory
from engine import limits
from engine.errors import QuizError, Unavailable
from engine.ids import Epoch, SessionId
from engine.wire import (
    BatchAnswer,
    BatchItem,
    BatchReply,
    FaultReply,
    MoveItem,
    ReturnItem,
    decode_batch_answer,
    encode_pack,
)

log = logging.getLogger(__name__)

#: First and longest pause before a batch is sent again, seconds.
_BACKOFF_S_MIN, _BACKOFF_S_MAX = 0.05, 0.5
_CALLEE = "the session's actor"
_FAILED = FaultReply("internal", "this item failed; see the server's log", False)


class _Entry(NamedTuple):
    item: BatchItem
    done: Callable[[BatchReply], None]


class _Lane:
    """Items that may share a batch, in the order in which they came.

    Args:
        flights_max: batches of the lane that may be at the actor at once.
    """

    def __init__(self, flights_max: int) -> None:
        self.flights_max = flights_max
        self.waiting: deque[_Entry] = deque()
        self.in_flight = 0

    @property
    def is_idle(self) -> bool:
        return not self.waiting and not self.in_flight

    def may_fly(self) -> bool:
        """Whether a batch may leave now."""
        if not self.waiting or self.in_flight >= self.flights_max:
            return False
        return not self.in_flight or len(self.waiting) >= limits.BATCH_PIPELINE_ITEMS_MIN


class Batcher:
    """All items of one session on one replica, on their way to its actor and back.

    A host's moves, and what the actor wants to be asked again, fly in batches of their own: the
    receipts of answers wait for neither.
    """

    def __init__(self, session_id: SessionId, directory: Directory) -> None:
        self._session_id = session_id
        self._directory = directory
        self._facts = _Lane(limits.BATCHES_IN_FLIGHT_MAX)
        self._moves = _Lane(1)
        #: What was answered ``again``.
        self._doubted = _Lane(1)
        self._tasks: set[asyncio.Task[None]] = set()
        #: The highest epoch that has answered; an actor's first is 1. Lower ones are not believed:
        #: they come from an actor that was replaced, or (0) has not found its session yet.
        self._epoch = Epoch(1)

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits and nothing is under way."""
        return self._facts.is_idle and self._moves.is_idle and self._doubted.is_idle

    def submit(self, item: BatchItem, done: Callable[[BatchReply], None]) -> None:
        """Take an item; ``done`` is called once with its reply, from the loop, never from here."""
        lane = self._moves if isinstance(item, MoveItem | ReturnItem) else self._facts
        if len(lane.waiting) >= limits.BATCHER_ITEMS_MAX:
            asyncio.get_running_loop().call_soon(
                done, FaultReply("overloaded", "too many answers of this session wait here", True)
            )
            return
        lane.waiting.append(_Entry(item, done))
        self._send(lane)

    def _send(self, lane: _Lane) -> None:
        while lane.may_fly():
            lane.in_flight += 1
            task = asyncio.get_running_loop().create_task(self._fly(lane))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _fly(self, lane: _Lane) -> None:
        # Taken here, a turn of the loop later, so that what arrived in one read goes together.
        count = min(len(lane.waiting), limits.BATCH_ITEMS_MAX)
        entries = [lane.waiting.popleft() for _ in range(count)]
        try:
            replies = await self._ask([entry.item for entry in entries]) if entries else []
        except QuizError as error:
            replies = [FaultReply(error.code, error.detail, error.retryable)] * count
        except Exception:
            log.exception("action=batch_failed session=%s items=%d", self._session_id, count)
            replies = [_FAILED] * count
        finally:
            lane.in_flight -= 1
        for entry, reply in zip(entries, replies, strict=True):
            if type(reply) is FaultReply and reply.again and self._takes_again(lane):
                self._doubted.waiting.append(entry)
                continue
            try:
                entry.done(reply)
            except Exception:
                log.exception("action=reply_failed session=%s", self._session_id)
        self._send(lane)
        self._send(self._doubted)

    def _takes_again(self, lane: _Lane) -> bool:
        """Whether this replica asks again itself; told to the client, ``again`` is a ``retry``."""
        doubted = self._doubted
        return lane is not doubted and len(doubted.waiting) < limits.BATCHER_ITEMS_MAX

    async def _ask(self, items: list[BatchItem]) -> list[BatchReply]:
        """Send a batch until it is answered, or until it is time to tell the clients."""
        data = encode_pack(items)
        loop = asyncio.get_running_loop()
        give_up = loop.time() + limits.BATCH_RETRY_MS_MAX / 1000
        backoff_s = _BACKOFF_S_MIN
        while True:
            try:
                answer = await self._call(data)
                if answer.epoch >= self._epoch:
                    self._epoch = answer.epoch
                    assert len(answer.replies) == len(items), "one reply for each item"
                    return answer.replies
                reason = f"a reply of epoch {answer.epoch} after one of {self._epoch}"
            except Unavailable as error:
                reason = error.detail
            self._directory.forget(self._session_id)
            if loop.time() > give_up:
                raise Unavailable("the session is away for the moment")
            log.warning("action=batch_again session=%s reason=%s", self._session_id, reason)
            await asyncio.sleep(backoff_s)
            backoff_s = min(2 * backoff_s, _BACKOFF_S_MAX)

    async def _call(self, data: bytes) -> BatchAnswer:
        handle = await self._directory.handle(self._session_id)
        return decode_batch_answer(await actor_call(handle.submit.remote(data), _CALLEE))


class Gateway:
    """Every session that this replica talks to."""

    def __init__(self, directory: Directory) -> None:
        self.directory = directory
        self._batchers: dict[SessionId, Batcher] = {}

    def submit(
        self, session_id: SessionId, item: BatchItem, done: Callable[[BatchReply], None]
    ) -> None:
        """Put an item into the session's next batch; ``done`` is called once with its reply."""
        batcher = self._batchers.get(session_id)
        if batcher is None:
            self._sweep()
            batcher = self._batchers[session_id] = Batcher(session_id, self.directory)
        batcher.submit(item, done)

    async def ask(self, session_id: SessionId, item: BatchItem) -> BatchReply:
        """Put an item into the session's next batch and wait for its reply."""
        future: asyncio.Future[BatchReply] = asyncio.get_running_loop().create_future()

        def done(reply: BatchReply) -> None:
            if not future.done():  # the client may have gone
                future.set_result(reply)

        self.submit(session_id, item, done)
        return await future

    async def call(self, session_id: SessionId, method: str, *args: object) -> Any:
        """Call a method of the session's actor once, for rare reads.

        Raises:
            QuizError: see :meth:`Directory.handle` and :func:`actors.calls.actor_call`.
        """
        handle = await self.directory.handle(session_id)
        try:
            return await actor_call(getattr(handle, method).remote(*args), _CALLEE)
        except Unavailable:
            self.directory.forget(session_id)
            raise

    def _sweep(self) -> None:
        """Forget sessions that nobody has used lately, before a new one is remembered."""
        if len(self._batchers) >= limits.SESSIONS_LIVE_MAX:
            self._batchers = {s: b for s, b in self._batchers.items() if not b.is_idle}
