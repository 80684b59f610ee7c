"""The Ray actor that runs one live session.

Born blank in the warm pool, it finds in PostgreSQL which session it is: when it is told to look
(``open``), and by itself after a crash, because Ray starts it again under the same name. The row
in ``sessions``, not the name, judges (docs/adr/0003-fencing.md).
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Coroutine
from typing import Any, TypeVar

from actors.clock import Clock
from actors.collector import collect_seldom
from actors.direct_log import DirectLog
from actors.handover import settle_earlier
from actors.logs import install_logs
from actors.pinned_quizzes import PinnedQuizzes
from actors.ports import CheckpointLog
from actors.postgres import LoneConnection
from actors.publisher import RedisPublisher
from actors.quarantine import quarantined
from actors.rabbitmq import BrokerLog, SessionPublisher
from actors.session_host import SessionHost
from actors.session_store import (
    Place,
    Raised,
    Takeover,
    claim,
    digest_of_tables,
    fold,
    take_over,
)
from actors.settings import Settings
from actors.shards import Shards, tell_ends
from actors.sql import queries
from actors.tasks import cancel
from actors.turns import in_turns
from engine import limits
from engine.errors import Fenced, LaterVersion, ServerFault, Unavailable
from engine.phases import Phase
from engine.recovery import digest_steps
from engine.roster import Person, RosterFilter
from engine.wire import BatchAnswer, FaultReply, decode_batch, encode_pack

log = logging.getLogger(__name__)

_T = TypeVar("_T")

_TAKE_OVER_PAUSE_S = 0.2


class SessionActor:
    """See the module. Every method may be called before a session is assigned; then it waits."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._settings = Settings.from_env()
        self._clock = Clock()
        self._host: SessionHost | None = None
        self._shards = Shards([LoneConnection(url) for url in self._settings.primaries])
        self._quizzes = PinnedQuizzes(self._settings.redis_url, self._settings.replicas)
        #: To the primary of the session, once that is known.
        self._connection: LoneConnection | None = None
        self._publisher: SessionPublisher | None = None
        self._log: CheckpointLog | None = None
        self._looking = asyncio.Lock()
        #: The look that a replica's call has started, shared by all that come meanwhile.
        self._asked: asyncio.Task[bool] | None = None
        self._leaving = False
        #: The session whose take-over is under way, or has failed.
        self._raised: Raised | None = None
        #: Whether the next take-over is one more that did not last. One that only waits for a part
        #: that is away is not.
        self._counts = True
        #: Told to whoever asks, once the session is set aside.
        self._quarantined: ServerFault | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        install_logs()
        collect_seldom()
        self._spawn(self._look())

    # --- what supervisors ask -------------------------------------------------------------------------

    async def open(self) -> bool:
        """Look up which session this actor is; return whether it is one."""
        return await self._look()

    async def ping(self) -> dict[str, int | str]:
        """Alive; with the statistics of the session, if there is one.

        ``leaving`` is 1 when the session is over, or was set aside, and its PIN is free: then the
        supervisor ends the actor for good, which an actor that Ray restarts cannot do by itself.
        """
        node, pid = _here()
        statistics: dict[str, int | str] = {
            "node": node,
            "pid": pid,
            "leaving": int(self._leaving),
        }
        if self._host is not None:
            statistics |= self._host.statistics()
        return statistics

    # --- what replicas ask ----------------------------------------------------------------------------

    async def submit(self, batch: bytes) -> bytes:
        """Decide a batch (``engine.wire``: list[BatchItem] -> BatchAnswer, MessagePack)."""
        items = decode_batch(batch)
        host = await self._ready()
        if host is None:
            fault = FaultReply("retry", "the session is on its way to this actor", True)
            return encode_pack(BatchAnswer(0, [fault] * len(items)))  # type: ignore[arg-type]
        return encode_pack(BatchAnswer(host.epoch, await host.submit(items)))

    async def snapshot(self) -> bytes:
        """The newest view (``engine.wire.SnapshotAnswer``, MessagePack); empty when there is none."""
        host = await self._ready()
        return b"" if host is None else encode_pack(host.snapshot())

    async def view(self) -> bytes:
        """The same without what only those need who serve the session: questions, the removed."""
        host = await self._ready()
        return b"" if host is None else encode_pack(host.newest_view())

    async def scoreboard(self, offset: int, rows: int) -> list[tuple[int, str, int, int]]:
        """Rows of the scoreboard in memory: (participant, nickname, points, rank).

        Raises:
            Unavailable: the session is not here yet; nobody must take that for an empty one.
        """
        return list((await self._session_here()).scoreboard(offset, rows))

    async def people(self) -> list[tuple[int, str]]:
        """Everybody who is in: (participant, nickname).

        Raises:
            Unavailable: as above.
        """
        return list((await self._session_here()).people())

    async def roster(
        self, search: str, only: str, before: int, rows: int
    ) -> tuple[int, list[Person]]:
        """A page of everybody who is in; see :func:`engine.roster.roster_page`.

        Raises:
            Unavailable: as above.
        """
        return (await self._session_here()).roster(search, RosterFilter(only), before, rows)

    async def lock(self) -> str:
        """Whether somebody new may join, as :func:`engine.session.door_of` says it.

        Raises:
            Unavailable: as above.
        """
        return (await self._session_here()).door

    # --- life -----------------------------------------------------------------------------------------

    async def _session_here(self) -> SessionHost:
        host = await self._ready()
        if host is None:
            raise Unavailable("the session is on its way to this actor")
        return host

    async def _ready(self) -> SessionHost | None:
        """The session; a blank actor looks first, in case nobody could tell it.

        Raises:
            ServerFault: the session was set aside (code ``quarantined``).
        """
        if self._host is None:
            if self._asked is None or self._asked.done():
                self._asked = self._spawn(self._look())
            # A look that takes longer goes on: begun anew by each caller it might never end.
            await asyncio.wait([self._asked], timeout=limits.CONFIRM_WAIT_MS / 1000)
        if self._quarantined is not None:
            raise self._quarantined
        return self._host

    async def _look(self) -> bool:
        async with self._looking:
            if self._host is not None:
                return True
            if self._quarantined is not None:
                return False
            found = await self._try()
            if found is None:
                return False
            session_id = found.state.session_id
            connection = self._shards.of(session_id)
            self._connection = connection
            self._log = self._make_log(connection, found)
            self._host = SessionHost(
                found,
                self._log,
                RedisPublisher(self._settings.redis_url, session_id),
                self._clock,
                on_failed=self._fail,
                on_over=self._over,
            )
            self._spawn(self._quizzes.close())
            if len(self._shards.databases) > 1:
                self._spawn(self._close_others())
            log.info(
                "action=take_over session=%s epoch=%d actor=%s", session_id, found.epoch, self._name
            )
            self._spawn(self._note_that_it_lasts())
            return True

    async def _try(self) -> Takeover | None:
        """Try to take the session over until it is clear that it is here, or will not be."""
        pause_ms = limits.TAKE_OVER_PAUSE_MS_MIN
        while True:
            try:
                return await self._find()
            except Unavailable as error:
                log.warning("action=take_over_waits actor=%s reason=%s", self._name, error)
                await asyncio.sleep(_TAKE_OVER_PAUSE_S)
            except Fenced as error:
                self._fail(error)
                return None
            except LaterVersion as error:
                await self._decline(error)
                return None
            except Exception as error:
                log.exception("action=take_over_failed actor=%s", self._name)
                if await self._is_set_aside(error):
                    return None
                await asyncio.sleep(pause_ms / 1000)
                pause_ms = min(2 * pause_ms, limits.TAKE_OVER_PAUSE_MS_MAX)

    def _note_raised(self, raised: Raised) -> None:
        self._raised = raised
        self._counts = False
        if raised.take_overs > limits.TAKE_OVERS_MAX:
            raise RuntimeError(
                f"{raised.take_overs - 1} take-overs one after the other ended with their process"
            )

    async def _decline(self, error: LaterVersion) -> None:
        """Leave a session that this version cannot act for to a process that may be of a later one.

        The pause keeps it from being quarantined before an upgrade is through; it is the longer, the
        more actors have declined before.
        """
        assert self._raised is not None
        session_id, tries = self._raised.session_id, self._raised.take_overs
        pause_ms = min(limits.DECLINED_PAUSE_MS_MIN << (tries - 1), limits.DECLINED_PAUSE_MS_MAX)
        log.warning(
            "action=take_over_declined session=%s actor=%s tries=%d reason=%s",
            *(session_id, self._name, tries, error),
        )
        if not await self._is_set_aside(error):
            await asyncio.sleep(pause_ms / 1000)
            self._fail(error)

    async def _is_set_aside(self, error: Exception) -> bool:
        """Quarantine a session that has failed too often; return whether it was.

        The actor's process is free then: the supervisor ends it.
        """
        raised = self._raised
        if raised is None:
            return False  # not even the epoch could be raised: no fault of this session
        self._counts = True
        if raised.take_overs < limits.TAKE_OVERS_MAX:
            return False
        database = self._shards.of(raised.session_id)
        reason = f"{type(error).__name__}: {error}"[: limits.QUARANTINE_REASON_CHARS_MAX]
        reason = reason.replace("\0", " ")
        try:
            rows = await database.fetch(
                queries["quarantine"], raised.session_id, raised.epoch, reason
            )
            if not rows:
                self._fail(Fenced(f"epoch {raised.epoch} is over"))
                return True
            self._quarantined = quarantined(raised.session_id)
            log.error("action=quarantined session=%s reason=%s", raised.session_id, reason)
            if database is not self._shards.catalogue:
                await tell_ends(self._shards.catalogue, database, [raised.session_id])
        except Unavailable as away:
            log.warning("action=quarantine_waits actor=%s reason=%s", self._name, away)
        self._leaving = self._quarantined is not None
        return self._leaving

    async def _note_that_it_lasts(self) -> None:
        assert self._connection is not None
        assert self._host is not None
        await asyncio.sleep(limits.TAKE_OVER_LASTS_MS / 1000)
        host = self._host
        while True:
            if not host.is_storing:
                await asyncio.sleep(limits.TAKE_OVER_LASTS_MS / 1000)
                continue
            try:
                await self._connection.fetch(
                    queries["take_over_lasted"], host.state.session_id, host.epoch
                )
            except Unavailable:
                await asyncio.sleep(limits.TAKE_OVER_LASTS_MS / 1000)
            else:
                return

    async def _find(self) -> Takeover | None:
        """Take over the session of this actor's name, on whichever primary it is.

        One that is away may have it, and must not keep those of the others from being found.

        Raises:
            Fenced, Unavailable: as taking over does; Unavailable also when it was found nowhere, and
                a primary is away.
        """
        databases = self._shards.databases
        if len(databases) == 1:
            return await self._take_over(databases[0])
        loop = asyncio.get_running_loop()
        looks = [loop.create_task(self._take_over(database)) for database in databases]
        away: Unavailable | None = None
        try:
            for look in asyncio.as_completed(looks):
                try:
                    found = await look
                except Unavailable as error:
                    away = error
                else:
                    if found is not None:
                        return found
        finally:
            await cancel(looks)
        if away is not None:
            raise away
        return None

    async def _take_over(self, connection: LoneConnection) -> Takeover | None:
        if not self._settings.rabbitmq_url:
            return await take_over(
                connection, self._name, self._quizzes.read, self._note_raised, counts=self._counts
            )
        claimed = await claim(
            connection, self._name, self._quizzes.read, self._note_raised, counts=self._counts
        )
        if claimed is None:
            return None
        publisher = SessionPublisher(
            self._settings.rabbitmq_url,
            claimed.partition,
            claimed.session_id,
            claimed.epoch,
            self._fail,
        )
        try:
            await settle_earlier(connection, publisher, claimed, _here())
            found = await fold(connection, claimed)
        except BaseException:
            await publisher.close()
            raise
        self._publisher = publisher
        return found

    def _make_log(self, connection: LoneConnection, found: Takeover) -> CheckpointLog:
        session_id = found.state.session_id
        if self._publisher is None:
            return DirectLog(connection, session_id, found.epoch)
        return BrokerLog(self._publisher, connection, session_id, found.epoch)

    def _fail(self, error: Exception) -> None:
        """Leave at once: another actor acts for the session, or must, or this memory is not trusted.

        The process ends without cleaning up; Ray starts it anew, and the new one looks itself up.
        """
        log.error("action=leave actor=%s fenced=%s", self._name, isinstance(error, Fenced))
        os._exit(1)

    def _over(self) -> None:
        self._spawn(self._linger())

    async def _linger(self) -> None:
        """Note the end, stay for those who still look, then leave for good."""
        assert self._connection is not None
        assert self._log is not None
        # Whoever sees it finished reads its results from the tables, and must find them whole.
        try:
            await self._log.settle()
        except Fenced as error:
            self._fail(error)
        await self._until_stored("note_finished")
        await self._tell_catalogue()
        # Only now, because it takes seconds for a large session. The results that are read meanwhile
        # are what the tables say, and the tables win.
        await self._reconcile()
        linger_ms = self._settings.linger_ms
        if self._host is not None and self._host.state.phase is Phase.CANCELLED:
            # Nobody has anything to look up: every page has been told by the last frame.
            linger_ms = min(linger_ms, limits.CANCELLED_LINGER_MS)
        await asyncio.sleep(linger_ms / 1000)
        await self._until_stored("note_ended")
        await self._tell_catalogue()
        if self._host is not None:
            await self._host.close()
        self._leaving = True

    async def _close_others(self) -> None:
        """Hold no connection to primaries that do not have the session."""
        for database in self._shards.databases:
            if database is not self._connection:
                await database.close()

    async def _tell_catalogue(self) -> None:
        """Have the session's entry say how far it is; what fails here, the supervisor makes good."""
        catalogue = self._shards.catalogue
        if self._connection is catalogue:
            return
        assert self._connection is not None
        assert self._host is not None
        try:
            await tell_ends(catalogue, self._connection, [self._host.state.session_id])
        except Unavailable as error:
            log.warning("action=catalogue_untold actor=%s reason=%s", self._name, error)
        await self._close_others()

    async def _reconcile(self) -> None:
        """Compare what is known here with the tables. They win: whoever differs leaves, and reads them."""
        assert self._host is not None
        # Somebody may be removed while the two are read one after the other, but not twice.
        if not await self._agrees() and not await self._agrees():
            log.error("action=reconciliation_differs session=%s", self._host.state.session_id)
            self._fail(RuntimeError("memory and tables differ"))

    async def _agrees(self) -> bool:
        assert self._connection is not None
        assert self._host is not None
        state = self._host.state
        while True:
            try:
                stored = await digest_of_tables(self._connection, state, self._host.epoch)
            except Unavailable:
                await asyncio.sleep(_TAKE_OVER_PAUSE_S)
            except Fenced as error:
                self._fail(error)
                raise
            else:
                return stored == await in_turns(digest_steps(state))

    async def _until_stored(self, query: str) -> None:
        assert self._connection is not None
        assert self._host is not None
        while True:
            try:
                rows = await self._connection.fetch(queries[query], self._name, self._host.epoch)
            except Unavailable:
                await asyncio.sleep(_TAKE_OVER_PAUSE_S)
                continue
            if not rows:
                # A session that is over stores nothing, so nothing else would tell. The claimant may
                # be dead already, its claim having arrived behind it: then this actor comes back.
                self._fail(Fenced(f"epoch {self._host.epoch} is over"))
            return

    def _spawn(self, work: Coroutine[Any, Any, _T]) -> asyncio.Task[_T]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._reap)
        return task

    def _reap(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("action=background_failed actor=%s", self._name, exc_info=error)


def _here() -> Place:
    import ray  # noqa: PLC0415 - the actor's module stays quick to import

    return Place(ray.get_runtime_context().get_node_id(), os.getpid())
