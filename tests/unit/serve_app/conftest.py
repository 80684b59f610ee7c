"""Stand-ins for what the edge talks to: an actor behind its handle, a session's channel, a socket."""

import asyncio

import pytest

from engine.ids import Epoch, FrameVersion
from engine.model import Mode
from engine.phases import Step
from engine.testing.driver import SESSION_ID, SessionDriver
from engine.view import ViewChanges, build_view, diff, key_of, public_question, results
from engine.wire import (
    BeatPublication,
    DeltaFrame,
    FramePublication,
    GonePublication,
    HelloReply,
    ResultsPublication,
    SnapshotAnswer,
    You,
    decode_server_message,
    encode_json,
    encode_pack,
)
from serve_app.hub import Hub

#: Turns of the loop after which everything that could run without waiting has run.
_TURNS = 50


async def settle():
    """Let everything run that waits for nothing."""
    for _ in range(_TURNS):
        await asyncio.sleep(0)


@pytest.fixture(name="settle")
def settle_fixture():
    return settle


class ChannelActor:
    """A session and what its actor would publish and answer; nothing is sent by itself."""

    def __init__(self, driver=None, epoch=1):
        self.driver = driver or SessionDriver()
        self.epoch = Epoch(epoch)
        self.version = FrameVersion(1)
        self.view = build_view(self.driver.state, self.epoch, self.version)

    @property
    def stamp(self):
        return (self.epoch, self.version)

    def restart(self):
        """A new actor takes the session over."""
        self.__init__(self.driver, self.epoch + 1)

    def frame(self, removed=()):
        """The publication of what has changed since the last one."""
        version = FrameVersion(self.version + 1)
        view = build_view(self.driver.state, self.epoch, version)
        changes = diff(self.view, view)
        self.version, self.view = version, view
        self.last_frame = encode_json(
            DeltaFrame(self.epoch, version, 0, changes if changes is not None else ViewChanges())
        )
        return encode_pack(FramePublication(self.epoch, version, self.last_frame, removed))

    def removes(self, *who):
        """The host removes participants; the frame that tells it."""
        for participant_id in who:
            self.driver.move(Step.REMOVE, who=participant_id)
        return self.frame(removed=who)

    def joined(self, nickname):
        """Somebody joins; the frame that tells it."""
        self.driver.join(nickname)
        return self.frame()

    def moved(self, *steps):
        """The host moves on; the frame that tells it."""
        self.driver.moves(*steps)
        return self.frame()

    def results(self):
        opening = self.driver.state.current
        return encode_pack(
            ResultsPublication(self.epoch, self.version, results(self.driver.state, opening))
        )

    def beat(self):
        return encode_pack(BeatPublication(self.epoch, self.version))

    def gone(self):
        return encode_pack(GonePublication(self.epoch, self.version))

    def snapshot(self):
        questions = [
            public_question(self.driver.state, opening)
            for opening in self.driver.state.openings.values()
        ]
        removed = frozenset(self.driver.state.removed)
        state = self.driver.state
        is_self_paced = state.settings.mode is Mode.SELF_PACED
        keys = tuple(key_of(state, one) for one in state.openings.values() if is_self_paced)
        return encode_pack(SnapshotAnswer(0, self.view, questions, removed, keys))

    def you(self, participant_id, **changes):
        person = self.driver.state.participants[participant_id]
        return HelloReply(
            You(**{"participant_id": participant_id, "nickname": person.nickname,
                   "points": person.points, "rank": 1, **changes})
        )  # fmt: skip


@pytest.fixture
def actor():
    """A session with Mia (1) and Ben (2) in the lobby, at epoch 1, version 1."""
    driver = SessionDriver()
    driver.join("Mia")
    driver.join("Ben")
    return ChannelActor(driver)


@pytest.fixture
def make_actor():
    return ChannelActor


class FakeDirectory:
    """Counts what was forgotten."""

    def __init__(self):
        self.forgotten = []

    def forget(self, session_id):
        self.forgotten.append(session_id)


class FakeGateway:
    """Stands before one ChannelActor.

    Attributes:
        error: what calls raise.
        blank: the actor has not found its session yet.
        gate: cleared, it holds calls until it is set; they tell what was true when they began.
        place_gate: the same for hellos.
        calls: the methods that were called.
        asked: the participants whose place was asked for.
        submitted: (item, done) of everything that was submitted.
        places: the reply to a hello, or what it raises, by participant.
    """

    def __init__(self, actor):
        self.actor = actor
        self.directory = FakeDirectory()
        self.error = None
        self.blank = False
        self.gate = asyncio.Event()
        self.gate.set()
        self.place_gate = asyncio.Event()
        self.place_gate.set()
        self.calls = []
        self.asked = []
        self.submitted = []
        self.places = {}

    async def call(self, session_id, method):
        assert session_id == SESSION_ID
        self.calls.append(method)
        answer = b"" if self.blank else self.actor.snapshot()
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return answer

    async def ask(self, session_id, item):
        assert session_id == SESSION_ID
        self.asked.append(item.participant_id)
        reply = self.places.get(item.participant_id) or self.actor.you(item.participant_id)
        await self.place_gate.wait()
        if isinstance(reply, Exception):
            raise reply
        return reply

    def submit(self, session_id, item, done):
        assert session_id == SESSION_ID
        self.submitted.append((item, done))


@pytest.fixture
async def gateway(actor):
    return FakeGateway(actor)


class FakeSubscriber:
    """Notes who listens to what."""

    def __init__(self):
        self.callbacks = {}
        self.closed = False

    async def subscribe(self, session_id, callback):
        self.callbacks[session_id] = callback

    def unsubscribe(self, session_id):
        del self.callbacks[session_id]

    async def close(self):
        self.closed = True

    def publish(self, data):
        self.callbacks[SESSION_ID](data)


@pytest.fixture
def subscriber():
    return FakeSubscriber()


@pytest.fixture
async def hub(gateway, subscriber):
    hub = Hub(gateway, subscriber)
    yield hub
    await hub.close()


class FakeConnection:
    """A Connection that keeps what was written and how it was closed; only the first close counts."""

    def __init__(self):
        self.raw = []
        self.closed = []
        self.has_closed = asyncio.Event()
        self.rests_ms = []

    def rest(self, ms):
        self.rests_ms.append(ms)

    def send_text(self, payload):
        if not self.closed:
            self.raw.append(payload)

    def close(self, code, reason=""):
        if not self.closed:
            self.closed.append((code, reason))
            self.has_closed.set()

    @property
    def sent(self):
        return [decode_server_message(payload) for payload in self.raw]

    def take(self):
        """What was written since the last look."""
        found = self.sent
        self.raw.clear()
        return found


@pytest.fixture
def make_connection():
    return FakeConnection
