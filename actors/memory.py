"""The ports in memory: for tests and simulations, under the same contract suite as the real ones.

:class:`MemoryStore` stands for the tables of one session. It can be away, swallow its replies, or
hold its commits, so that what a caller does then can be looked at without a server to kill.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from actors.ports import Record
from actors.readings import Readings
from actors.session_store import Takeover
from engine.errors import Fenced, Unavailable
from engine.events import AnswerAccepted, Joined
from engine.ids import Epoch, SessionId
from engine.model import Quiz, SessionSettings
from engine.recovery import restore
from engine.wire import Publication


class MemoryStore:
    """What is stored of one session, and who may add to it.

    Attributes:
        epoch: the highest one that was given out.
        away: appends fail and store nothing.
        swallows_replies: appends store everything and fail nevertheless.
        commits: cleared, it holds appends until it is set again.
        readings: the same for looks at the epoch that are no appends.
        readings_count: how many of those have begun.
        appends: the records of every append that has begun, in order.
    """

    def __init__(self) -> None:
        self.epoch = Epoch(0)
        self.away = False
        self.swallows_replies = False
        self.commits = asyncio.Event()
        self.commits.set()
        self.readings = asyncio.Event()
        self.readings.set()
        self.readings_count = 0
        self.appends: list[list[Record]] = []
        #: By their unique keys, as the tables have them.
        self._rows: dict[tuple[object, ...], Record] = {}

    @property
    def records(self) -> list[Record]:
        """Everything that is stored, in the order of ``seq``."""
        return sorted(self._rows.values(), key=lambda record: record.seq)

    def store(self, records: Sequence[Record]) -> None:
        """Keep what is not there yet; the first under a key stands."""
        for record in records:
            self._rows.setdefault(_key(record), record)

    def log(self) -> MemoryLog:
        """A log of the next epoch; it fences all earlier ones."""
        self.epoch = Epoch(self.epoch + 1)
        return MemoryLog(self, self.epoch)

    def take_over(
        self, session_id: SessionId, quiz: Quiz, settings: SessionSettings
    ) -> tuple[Takeover, MemoryLog]:
        """Own the session, as :func:`actors.session_store.take_over` does, with the log to write to."""
        log = self.log()
        events = [record.event for record in self.records]
        state = restore(
            session_id,
            quiz,
            settings,
            [event for event in events if isinstance(event, Joined)],
            [event for event in events if not isinstance(event, AnswerAccepted | Joined)],
            [event for event in events if isinstance(event, AnswerAccepted)],
        )
        next_seq = max((record.seq for record in self.records), default=0) + 1
        return Takeover(state, self.epoch, next_seq), log


class MemoryLog:
    """:class:`actors.ports.CheckpointLog` over a :class:`MemoryStore`."""

    def __init__(self, store: MemoryStore, epoch: Epoch) -> None:
        self._store = store
        self._epoch = epoch
        self._readings = Readings(self._read)

    async def append(self, records: Sequence[Record]) -> None:
        """See :meth:`actors.ports.CheckpointLog.append`."""
        store = self._store
        store.appends.append(list(records))
        with self._readings.append():
            await store.commits.wait()
            if store.away:
                raise Unavailable("the store is away")
            self._require_own()
            store.store(records)
            if store.swallows_replies:
                raise Unavailable("the reply was lost")

    def moment(self) -> int:
        """See :meth:`actors.ports.CheckpointLog.moment`."""
        return self._readings.moment()

    def is_held_since(self, moment: int) -> bool:
        """See :meth:`actors.ports.CheckpointLog.is_held_since`."""
        return self._readings.have_passed(moment)

    async def hold(self, moment: int) -> None:
        """See :meth:`actors.ports.CheckpointLog.hold`."""
        await self._readings.hold(moment)

    async def _read(self) -> None:
        self._store.readings_count += 1
        await self._store.readings.wait()
        if self._store.away:
            raise Unavailable("the store is away")
        self._require_own()

    def _require_own(self) -> None:
        if self._store.epoch != self._epoch:
            raise Fenced(f"epoch {self._epoch} is over")

    async def settle(self) -> None:
        """See :meth:`actors.ports.CheckpointLog.settle`: an append ends in the store."""

    async def close(self) -> None:
        """See :meth:`actors.ports.CheckpointLog.close`; nothing is held."""


class MemoryPublisher:
    """:class:`actors.publisher.Publisher` that keeps what it is given.

    Attributes:
        published: every publication, in order.
        closed: whether :meth:`close` was called.
    """

    def __init__(self) -> None:
        self.published: list[Publication] = []
        self.closed = False

    def publish(self, publication: Publication) -> None:
        """See :meth:`actors.publisher.Publisher.publish`."""
        self.published.append(publication)

    async def close(self) -> None:
        """See :meth:`actors.publisher.Publisher.close`."""
        self.closed = True


def _key(record: Record) -> tuple[object, ...]:
    event = record.event
    if isinstance(event, AnswerAccepted):
        return ("answer", event.opening_no, event.participant_id)
    if isinstance(event, Joined):
        return ("join", event.participant_id)
    return ("event", record.seq)
