"""The tables in memory: the statements of the protocol by their names, and asyncpg's face.

Transactions read what is committed and are applied whole at their commit; of two rows under one
unique key the first that is committed stands (``ON CONFLICT DO NOTHING``). Row locks are left out:
they order what the unique keys decide anyway.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import asyncpg

from actors.sql import queries
from tests.simulation.loop import Process
from tests.simulation.network import Link, Network

_NAMES = {text: name for name, text in queries.items()}
#: PostgreSQL ends a transaction whose client is silent for so long (``SERVER_SETTINGS``), seconds.
_IDLE_S_MAX = 5.0

Row = dict[str, Any]
Notice = Callable[[str, Process, bool], None]

_ANSWER = (
    "session_id", "epoch", "opening_no", "participant_id", "question_index", "choice_mask", "text",
    "elapsed_ms", "correct", "points", "seq", "at_ms",
)  # fmt: skip
_JOIN = ("session_id", "epoch", "participant_id", "join_key", "nickname", "seq", "at_ms", "device")
_EVENT = ("session_id", "epoch", "seq", "event")


class Table:
    """Rows under unique keys."""

    has_unique_keys = True

    def __init__(self, columns: tuple[str, ...], *keys: tuple[str, ...]) -> None:
        self.columns = columns
        self.keys = keys
        self.rows: list[Row] = []
        self._taken: set[tuple[object, ...]] = set()

    def insert(self, columns: tuple[list[Any], ...]) -> None:
        """Add rows whose keys are all new; leave the others out."""
        for values in zip(*columns, strict=True):
            row = dict(zip(self.columns, values, strict=True))
            keys = [(index, *(row[c] for c in key)) for index, key in enumerate(self.keys)]
            if self.has_unique_keys and not self._taken.isdisjoint(keys):
                continue
            self._taken.update(keys)
            self.rows.append(row)

    def page(self, count: int, after: int) -> list[Row]:
        """At most so many rows behind a value of the first key, in its order."""
        [column] = self.keys[0]
        rows = [row for row in self.rows if row[column] > after]
        return sorted(rows, key=lambda row: row[column])[:count]


class Database:
    """The server; one session's row and what is stored of it.

    Attributes:
        slow_s: what every statement takes longer.
        session: the row in ``sessions``.
    """

    #: Whether appends compare epochs.
    fences = True

    def __init__(self, process: Process, network: Network, notice: Notice, session: Row) -> None:
        self.process = process
        self.is_up = True
        self.notice = notice
        self.slow_s = 0.0
        self.session = session
        self.answers = Table(_ANSWER, ("opening_no", "participant_id"))
        self.participants = Table(_JOIN, ("participant_id",), ("join_key",))
        self.events = Table(_EVENT, ("seq",))
        self.superseded: list[tuple[Any, ...]] = []
        self._network = network
        self._crashed_s = 0.0

    @property
    def away_s(self) -> float:
        """For how long it has been away."""
        return 0.0 if self.is_up else self.process.loop.time() - self._crashed_s

    async def connect(self, _url: str, **settings: Any) -> Connection:
        """Stand in for ``asyncpg.connect``."""
        await asyncio.sleep(self._network.delay_s())
        if not self.is_up:
            raise ConnectionRefusedError("the database is away")
        link = Link(self._network, self, has_heartbeat=False)
        return Connection(self, link, settings["command_timeout"])

    def crash(self) -> None:
        """Lose every connection and what was not committed."""
        if self.is_up:
            self._crashed_s = self.process.loop.time()
        self.is_up = False
        for link in [link for link in self._network.links if link.server is self]:
            link.server_gone()

    def lost(self, link: Link) -> None:
        """See :class:`tests.simulation.network.Server`: its transaction dies with it."""

    def run(self, name: str, args: tuple[Any, ...]) -> list[Row]:
        """Run a statement by its name."""
        rows: list[Row] | None = getattr(self, f"_{name}")(*args)
        return rows or []

    # --- who may act ----------------------------------------------------------------------------

    def _take_over(self, actor_name: str, counts: int) -> list[Row]:
        session = self.session
        if session["actor_name"] != actor_name or session["ended"]:
            return []
        session["epoch"] += 1
        session["take_overs"] += counts
        return [dict(session)]

    def _take_over_lasted(self, _session_id: str, epoch: int) -> list[Row]:
        if self.session["epoch"] != epoch:
            return []
        self.session["take_overs"] = 0
        return [self.session]

    def _quarantine(self, _session_id: str, epoch: int, _reason: str) -> list[Row]:
        # No fault that is played here is the session's own, so its end is missed at the seed's end.
        if self.session["epoch"] != epoch:
            return []
        self.session["ended"] = True
        return [self.session]

    def _note_place(self, _session_id: str, epoch: int, node: str, pid: int) -> list[Row]:
        if self.session["epoch"] != epoch:
            return []
        self.session.update(actor_node=node, actor_pid=pid)
        return [self.session]

    def _session_epoch(self, _session_id: str) -> list[Row]:
        return [{"epoch": self.session["epoch"]}]

    def _note_finished(self, actor_name: str, epoch: int) -> list[Row]:
        if (self.session["actor_name"], self.session["epoch"]) != (actor_name, epoch):
            return []
        self.session["finished"] = True
        return [self.session]

    # --- what is stored -------------------------------------------------------------------------

    def _stored_barrier(self, _session_id: str) -> list[Row]:
        return [dict(self.session)]

    def _stored_joins(self, _session_id: str, count: int, after: int) -> list[Row]:
        return self.participants.page(count, after)

    def _stored_events(self, _session_id: str, count: int, after: int) -> list[Row]:
        return self.events.page(count, after)

    def _answers_by_opening(self, _session_id: str) -> list[Row]:
        by_opening: dict[int, list[int]] = {}
        for row in self.answers.rows:
            by_opening.setdefault(row["opening_no"], []).append(row["participant_id"])
        return [
            {"opening_no": opening_no, "answers": len(people), "last_participant": max(people)}
            for opening_no, people in sorted(by_opening.items())
        ]

    def _stored_answers(
        self, _session_id: str, first_opening: int, last_opening: int, first: int, last: int
    ) -> list[Row]:
        rows = [
            row
            for row in self.answers.rows
            if first_opening <= row["opening_no"] <= last_opening
            and first <= row["participant_id"] <= last
        ]
        return sorted(rows, key=lambda row: (row["opening_no"], row["participant_id"]))

    # --- what an actor stores itself: fence and insert are one statement ---------------------------

    def _append_answers(self, _session_id: str, epoch: int, *columns: list[Any]) -> list[Row]:
        return self._append(self.answers, epoch, columns)

    def _append_joins(self, _session_id: str, epoch: int, *columns: list[Any]) -> list[Row]:
        return self._append(self.participants, epoch, columns)

    def _append_events(self, _session_id: str, epoch: int, *columns: list[Any]) -> list[Row]:
        return self._append(self.events, epoch, columns)

    def _append(self, table: Table, epoch: int, columns: tuple[list[Any], ...]) -> list[Row]:
        is_its_turn = self.session["epoch"] == epoch or not self.fences
        if is_its_turn:
            count = len(columns[0])
            table.insert(([self.session["session_id"]] * count, [epoch] * count, *columns))
        return [{"fence": is_its_turn}]

    # --- what writers store ---------------------------------------------------------------------

    def _barriers(self, _session_ids: list[str]) -> list[Row]:
        return [dict(self.session)]

    def _store_answers(self, *columns: list[Any]) -> None:
        self.answers.insert(columns)

    def _store_joins(self, *columns: list[Any]) -> None:
        self.participants.insert(columns)

    def _store_events(self, *columns: list[Any]) -> None:
        self.events.insert(columns)

    def _store_superseded(self, *columns: list[Any]) -> None:
        self.superseded += zip(*columns, strict=True)

    def _note_try(self, _digest: bytes, _writer_id: str) -> list[Row]:
        return [{"others": 0}]  # no message ends a writer here

    def _forget_tries(self, _digest: bytes) -> None:
        pass

    def _store_barriers(self, _ids: list[str], epochs: list[int], numbers: list[int]) -> None:
        session = self.session
        session["barrier_epoch"], session["barrier_number"] = max(
            (session["barrier_epoch"], session["barrier_number"]), (epochs[0], numbers[0])
        )


class Connection:
    """As much of ``asyncpg``'s connection as is used."""

    def __init__(self, database: Database, link: Link, timeout_s: float) -> None:
        self._database = database
        self._link = link
        self._timeout_s = timeout_s
        self._open: _Transaction | None = None

    def is_closed(self) -> bool:
        """Whether it is known to be over."""
        return self._link.broken is not None

    def terminate(self) -> None:
        """Close it at once."""
        self._link.hang_up()

    async def close(self, **_settings: Any) -> None:
        """Close it."""
        self._link.hang_up()

    def transaction(self) -> _Transaction:
        """A transaction, to be entered."""
        return _Transaction(self, self._database, self._link)

    async def fetch(self, query: str, *args: Any) -> list[Row]:
        """Run a statement and return its rows."""
        rows: list[Row] = await self.ask(self._run, _NAMES[query], args)
        return rows

    async def execute(self, query: str, *args: Any) -> None:
        """Run a statement of a transaction."""
        assert self._open is not None, "writers store in transactions only"
        await self.ask(self._open.hold, _NAMES[query], args)

    async def ask(self, work: Callable[..., Any], *args: object) -> Any:
        """Have the server do something, in the time that a command may take."""
        if self._database.slow_s:
            await asyncio.sleep(self._database.slow_s)
        return await asyncio.wait_for(self._link.call(work, *args), self._timeout_s)

    def enter(self, transaction: _Transaction | None) -> None:
        """Begin a transaction, or leave it."""
        self._open = transaction

    def _run(self, name: str, args: tuple[Any, ...]) -> list[Row]:
        """Run a statement, at the server."""
        self._database.notice(f"sql:{name}", self._link.client, True)
        rows = self._database.run(name, args)
        self._database.notice(f"sql:{name}", self._link.client, False)
        return rows


class _Transaction:
    """Its statements are held at the server until the commit."""

    def __init__(self, connection: Connection, database: Database, link: Link) -> None:
        self._connection = connection
        self._database = database
        self._link = link
        self._held: list[tuple[str, tuple[Any, ...]]] = []
        self._last_s = link.client.loop.time()

    async def __aenter__(self) -> Self:
        self._connection.enter(self)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._connection.enter(None)
        if kind is None:
            await self._connection.ask(self._commit)

    # --- at the server --------------------------------------------------------------------------

    def hold(self, name: str, args: tuple[Any, ...]) -> None:
        """Run a statement that nobody else sees before the commit."""
        self._keep_alive()
        self._held.append((name, args))
        self._database.notice(f"sql:{name}", self._link.client, False)

    def _commit(self) -> None:
        self._keep_alive()
        self._database.notice("commit", self._link.client, True)
        for name, args in self._held:
            self._database.run(name, args)
        self._database.notice("commit", self._link.client, False)

    def _keep_alive(self) -> None:
        now_s = self._link.client.loop.time()
        if now_s - self._last_s > _IDLE_S_MAX:
            self._link.server_gone()
            raise asyncpg.IdleInTransactionSessionTimeoutError("the client was silent")
        self._last_s = now_s
