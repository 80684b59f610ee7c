"""What every CheckpointLog promises, whatever stands behind it."""

import asyncio
import os

import pytest

from actors.checkpoint_writer import CheckpointWriter
from actors.direct_log import DirectLog
from actors.handover import settle_earlier
from actors.memory import MemoryStore
from actors.ports import Record
from actors.postgres import LoneConnection, create_pool
from actors.rabbitmq import BrokerLog, SessionPublisher
from actors.session_store import Place, claim, take_over
from engine import limits
from engine.errors import Fenced
from engine.events import AnswerAccepted, Closed, Joined, Opened, Removed, decode_phase_event

MIA = Record(1, Joined(1, "key-of-mia", "Mia", 1_000))
BEN = Record(2, Joined(2, "key-of-ben", "Ben", 1_001))
OPENED = Record(
    3, Opened(at_ms=2_000, command_id="open", opening_no=1, question_index=0, closes_ms=9)
)
ANSWER = Record(4, AnswerAccepted(1, 1, 0, 0b10, "", 700, True, 980, 2_700))
TYPED = Record(5, AnswerAccepted(2, 1, 0, 0, "Zürich 🏔", 900, False, 0, 2_900))
CLOSED = Record(6, Closed(at_ms=9_000, opening_no=1))
REMOVED = Record(7, Removed(at_ms=9_001, command_id="remove", participant_id=2))
ALL = [MIA, BEN, OPENED, ANSWER, TYPED, CLOSED, REMOVED]


class _Memory:
    def __init__(self):
        self._store = MemoryStore()

    async def log(self):
        return self._store.log()

    async def begin_another(self):
        await self.log()

    async def records(self):
        return self._store.records


class _Postgres:
    def __init__(self, url, pool, session):
        self._url, self._pool, self._session = url, pool, session
        self.logs = []

    async def log(self):
        connection = LoneConnection(self._url)
        found = await take_over(connection, self._session.actor_name)
        self.logs.append(DirectLog(connection, self._session.session_id, found.epoch))
        return self.logs[-1]

    async def begin_another(self):
        """Let another actor take the session, as far as it gets in an instant."""
        await self.log()

    async def records(self):
        """What the tables hold, read column by column, not through the code under test."""
        who = self._session.session_id
        joins = await self._pool.fetch("SELECT * FROM participants WHERE session_id = $1", who)
        answers = await self._pool.fetch("SELECT * FROM answers WHERE session_id = $1", who)
        events = await self._pool.fetch("SELECT * FROM session_events WHERE session_id = $1", who)
        fields = AnswerAccepted.__struct_fields__
        return sorted(
            [Record(r["seq"], Joined(*(r[f] for f in Joined.__struct_fields__))) for r in joins]
            + [Record(r["seq"], AnswerAccepted(*(r[f] for f in fields))) for r in answers]
            + [Record(r["seq"], decode_phase_event(r["event"])) for r in events]
        )


class _Broker(_Postgres):
    """Through RabbitMQ and a writer; an earlier log belongs to an actor that is not known to be dead.

    When a later one asks it to leave it loses its connection, as if its process had ended.
    """

    def __init__(self, url, broker_url, pool, session):
        super().__init__(url, pool, session)
        self._broker_url = broker_url
        self._nodes_count = 0
        self._leaving = []

    async def log(self):
        connection = LoneConnection(self._url)
        claimed = await claim(connection, self._session.actor_name)
        publisher = SessionPublisher(
            self._broker_url,
            claimed.partition,
            claimed.session_id,
            claimed.epoch,
            lambda _: self._leaving.append(asyncio.ensure_future(publisher.close())),
        )
        self._nodes_count += 1
        here = Place(f"node-{self._nodes_count}", os.getpid())
        await settle_earlier(connection, publisher, claimed, here)
        self.logs.append(BrokerLog(publisher, connection, claimed.session_id, claimed.epoch))
        return self.logs[-1]

    async def begin_another(self):
        connection = LoneConnection(self._url)
        await claim(connection, self._session.actor_name)
        await connection.close()

    async def records(self):
        await self.logs[-1].settle()
        return await super().records()


@pytest.fixture(params=["memory", "postgres", "broker"])
def server_url(request):
    """Addresses of the database and the broker, as far as the form needs them."""
    database_url = request.getfixturevalue("database_url") if request.param != "memory" else None
    return database_url, request.getfixturevalue(
        "broker_url"
    ) if request.param == "broker" else None


@pytest.fixture
async def form(server_url, make_session, monkeypatch):
    """A store of one session that hands out logs, each of a higher epoch than all before."""
    database_url, broker_url = server_url
    if database_url is None:
        yield _Memory()
        return
    pool = await create_pool(database_url, size_max=2)
    session = await make_session(pool)
    writer = None
    if broker_url is not None:
        monkeypatch.setattr(limits, "LEASE_MS", 300)
        monkeypatch.setattr(limits, "LEASE_MARGIN_MS", 50)
        writer = CheckpointWriter(0, 1, broker_url, database_url)
        form = _Broker(database_url, broker_url, pool, session)
    else:
        form = _Postgres(database_url, pool, session)
    yield form
    for log in form.logs:
        await log.close()
    if writer is not None:
        await writer.close()
    await pool.close()


async def test_what_was_appended_is_stored_as_it_was(form):
    await (await form.log()).append(ALL)
    assert await form.records() == ALL


async def test_appends_add_up_and_nothing_is_no_append(form):
    log = await form.log()
    for record in ALL:
        await log.append([record])
        await log.append([])
    assert await form.records() == ALL


async def test_appending_again_changes_nothing(form):
    log = await form.log()
    await log.append(ALL)
    await log.append(ALL[2:5])
    await log.append(ALL)
    assert await form.records() == ALL


@pytest.mark.parametrize(
    "other",
    [
        Record(14, AnswerAccepted(1, 1, 0, 0b01, "", 800, False, 0, 2_800)),
        Record(11, Joined(1, "another-key", "Mia again", 1_900)),
        Record(3, Closed(at_ms=3_000, opening_no=1)),
    ],
    ids=["answer", "join", "event"],
)
async def test_the_first_under_a_key_stands(form, other):
    log = await form.log()
    await log.append(ALL)
    await log.append([other])
    assert await form.records() == ALL


@pytest.mark.parametrize(
    "records", [[ANSWER], [MIA], [OPENED], ALL], ids=["answer", "join", "event", "all"]
)
async def test_a_log_of_an_earlier_epoch_is_fenced_and_writes_nothing(form, records):
    earlier = await form.log()
    later = await form.log()
    for _ in range(2):  # once and for ever
        with pytest.raises(Fenced):
            await earlier.append(records)
    assert await form.records() == []
    await later.append(records)
    assert await form.records() == records


async def test_a_log_is_held_until_there_is_one_of_a_higher_epoch(form):
    earlier = await form.log()
    await earlier.hold(earlier.moment())
    later = await form.log()
    await later.hold(later.moment())
    for _ in range(2):
        with pytest.raises(Fenced):
            await earlier.hold(earlier.moment())


async def test_an_append_tells_that_the_log_was_held_when_it_began(form):
    log = await form.log()
    moment = log.moment()
    await log.append([MIA])
    assert log.is_held_since(moment)
    await log.hold(log.moment())


async def test_no_opening_is_acknowledged_once_another_actor_has_begun(form):
    earlier = await form.log()
    await earlier.hold(earlier.moment())
    await form.begin_another()
    with pytest.raises(Fenced):
        await earlier.append([OPENED])


async def test_what_was_stored_before_the_fence_stays(form):
    earlier = await form.log()
    await earlier.append(ALL[:4])
    later = await form.log()
    with pytest.raises(Fenced):
        await earlier.append(ALL[4:])
    await later.append(ALL)
    assert await form.records() == ALL


async def test_appends_at_once_are_all_stored(form):
    log = await form.log()
    await asyncio.gather(*(log.append([record]) for record in ALL))
    assert await form.records() == ALL
