"""The load generator: one process, callbacks only, the same code for our endpoints and bare ones.

``python -m simulation.load`` reads a job (:class:`Job`, JSON) from standard input and prints a
:class:`Report` as JSON. It tells its own CPU time, so that a slow generator cannot flatter a ratio.
"""

from __future__ import annotations

import asyncio
import resource
import sys
import time
from collections.abc import Callable
from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec
import picows
import redis.asyncio
import uvloop

from engine.ids import Epoch, FrameVersion, ParticipantId
from engine.view import ScoreRow, ViewChanges
from engine.wire import (
    DeltaFrame,
    FramePublication,
    Snapshot,
    Welcome,
    decode_server_message,
    encode_json,
    encode_pack,
)

Kind = Literal["closed_loop", "burst", "frames"]

_TEXT = picows.WSMsgType.TEXT
#: Sockets that are opened at the same time while a job is set up.
_OPENING_AT_ONCE = 100
_BURST_PAUSE_S = 0.2
_WARM_UP_S = 1.0
#: How long connections may take to be ready, and a burst to be acknowledged.
_READY_S_MAX = 60.0
#: Frames that may be on their way to the viewers.
_FRAMES_AHEAD = 8


class Job(msgspec.Struct, forbid_unknown_fields=True):
    """What to do.

    ``pace_per_s``: all connections together send no more than this; 0: as fast as they are answered.
    ``tokens`` make a connection say hello and then answer opening after opening; without them the
    same bytes go to a bare endpoint. ``frames``: count what arrives; ``redis_url`` and ``channel``
    make the generator publish them itself.
    """

    kind: Kind
    url: str
    connections: int
    seconds: float = 5.0
    pace_per_s: float = 0.0
    rounds: int = 1
    tokens: list[str] = []
    redis_url: str = ""
    channel: str = ""


class Report(msgspec.Struct):
    """What happened. ``cpu_us_per_message`` is the generator's own processor time."""

    messages: int
    #: With those of the warm-up.
    messages_total: int
    seconds: float
    per_s: float
    latency_ms_p50: float
    latency_ms_p99: float
    cpu_us_per_message: float
    #: Bursts: milliseconds until the last acknowledgement, one for each round.
    burst_ms: list[float] = []
    refused: int = 0


def answer_message(opening: int) -> bytes:
    """The answer that every connection sends; a bare endpoint gets the same bytes."""
    return b'{"type":"answer","opening":%d,"choices":[1]}' % opening


class _Run:
    """Counters that all connections of a job share."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.measuring = False
        self.stopped = False
        self.messages = 0
        self.refused = 0
        self.latencies_ns: list[int] = []
        self.ready = 0
        self.all_ready = asyncio.Event()
        self.waiting = 0
        self.none_waiting = asyncio.Event()
        self.seen_version = 0
        #: Between two messages of one connection, at least, seconds.
        self.interval_s = job.connections / job.pace_per_s if job.pace_per_s else 0.0

    def one_ready(self) -> None:
        self.ready += 1
        if self.ready == self.job.connections:
            self.all_ready.set()

    def note_refusal(self, said: bytes) -> None:
        if self.refused == 0:  # one tells why a run has failed
            print(said[:500].decode(errors="replace"), file=sys.stderr)  # noqa: T201
        self.refused += 1

    def acknowledged(self, sent_ns: int) -> None:
        self.messages += 1
        if self.measuring:
            self.latencies_ns.append(time.perf_counter_ns() - sent_ns)


class _Client:
    """One closed loop, whatever carries it: the next message goes out on each reply."""

    def __init__(self, run: _Run, write: Callable[[bytes], None]) -> None:
        self.run = run
        self.write = write
        self.opening = 1
        self.sent_ns = 0

    def send(self) -> None:
        self.sent_ns = time.perf_counter_ns()
        self.write(answer_message(self.opening))

    def replied(self) -> None:
        run = self.run
        run.acknowledged(self.sent_ns)
        self.opening += 1
        if run.job.kind == "burst":
            run.waiting -= 1
            if run.waiting == 0:
                run.none_waiting.set()
        elif not run.stopped:
            self._send_on()

    def _send_on(self) -> None:
        due_in_s = self.sent_ns / 1e9 + self.run.interval_s - time.perf_counter()
        if due_in_s <= 0:
            self.send()
        else:
            asyncio.get_running_loop().call_later(due_in_s, self._send_if_wanted)

    def _send_if_wanted(self) -> None:
        if not self.run.stopped:
            self.send()


class _Socket(picows.WSListener):
    """A websocket client: hello first when it has a token."""

    def __init__(self, run: _Run, token: str) -> None:
        self._run = run
        self._token = token
        self._transport: Any = None
        self.client = _Client(run, self._write)

    def _write(self, data: bytes) -> None:
        self._transport.send(_TEXT, data)

    def on_ws_connected(self, transport: picows.WSTransport) -> None:
        self._transport = transport
        if self._token:
            self._write(b'{"type":"hello","token":"%s"}' % self._token.encode())
        else:
            self._run.one_ready()

    def on_ws_frame(self, _transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        if frame.msg_type != _TEXT:
            return
        if not self._token:
            self.client.replied()
            return
        data = frame.get_payload_as_bytes()
        if data.startswith(b'{"type":"receipt"'):
            self.client.replied()
        elif data.startswith(b'{"type":"welcome"'):
            self._run.one_ready()
        elif data.startswith(b'{"type":"error"'):
            self._run.note_refusal(data)
            self.client.replied()


class _Http(asyncio.Protocol):
    """A keep-alive HTTP client for one address, with just as much HTTP as the answers need."""

    def __init__(self, run: _Run, token: str) -> None:
        self._run = run
        parts = urlsplit(run.job.url)
        head = f"POST {parts.path} HTTP/1.1\r\nhost: {parts.netloc}\r\n"
        head += f"content-type: application/json\r\nauthorization: Bearer {token or 'none'}\r\n"
        self._head = head.encode() + b"content-length: "
        self._transport: Any = None
        self._buffer = b""
        self.client = _Client(run, self._write)

    def _write(self, data: bytes) -> None:
        body = data.replace(b'"type":"answer",', b"")
        self._transport.write(b"%s%d\r\n\r\n%s" % (self._head, len(body), body))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._run.one_ready()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, gap, rest = self._buffer.partition(b"\r\n\r\n")
        if not gap:
            return
        low = head.lower()
        size = int(low.split(b"content-length:")[1].split(b"\r\n")[0])
        if len(rest) < size:
            return
        self._buffer = rest[size:]
        if not head.startswith(b"HTTP/1.1 200"):
            self._run.note_refusal(head + rest)
        self.client.replied()


class _Counter(picows.WSListener):
    """A viewer that counts frames."""

    def __init__(self, run: _Run, token: str) -> None:
        self._run = run
        self._token = token
        self.welcome: Welcome | None = None
        #: It tells how far the frames have come; the others only count.
        self.is_first = False

    def on_ws_connected(self, transport: picows.WSTransport) -> None:
        if self._token:
            transport.send(_TEXT, b'{"type":"hello","token":"%s"}' % self._token.encode())
        else:
            self._run.one_ready()

    def on_ws_frame(self, _transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        if frame.msg_type != _TEXT:
            return
        if self._token and self.welcome is None:
            message = decode_server_message(frame.get_payload_as_bytes())
            assert isinstance(message, Welcome), message
            self.welcome = message
            self._run.one_ready()
            return
        self._run.messages += 1
        if self.is_first:
            message = decode_server_message(frame.get_payload_as_bytes())
            if isinstance(message, DeltaFrame):
                self._run.seen_version = message.version
            elif isinstance(message, Snapshot):
                self._run.seen_version = message.view.version


async def _connect_all(run: _Run, make: Callable[[str], Any]) -> list[Any]:
    job = run.job
    tokens = job.tokens or [""] * job.connections
    gate = asyncio.Semaphore(_OPENING_AT_ONCE)

    async def one(token: str) -> Any:
        async with gate:
            return await make(token)

    clients = await asyncio.gather(*(one(token) for token in tokens[: job.connections]))
    async with asyncio.timeout(_READY_S_MAX):
        await run.all_ready.wait()
    return list(clients)


async def _websocket(run: _Run, listener: Callable[[_Run, str], Any], token: str) -> Any:
    _, made = await picows.ws_connect(
        lambda: listener(run, token), run.job.url, websocket_handshake_timeout=30
    )
    return made


async def _open(run: _Run) -> list[Any]:
    if run.job.url.startswith("ws"):
        return await _connect_all(run, lambda token: _websocket(run, _Socket, token))
    parts = urlsplit(run.job.url)
    loop = asyncio.get_running_loop()

    async def make(token: str) -> _Http:
        _, made = await loop.create_connection(
            lambda: _Http(run, token), parts.hostname or "", parts.port or 80
        )
        return made

    return await _connect_all(run, make)


async def closed_loop(job: Job) -> Report:
    """Every connection sends its next message on each reply, for some seconds."""
    run = _Run(job)
    clients = await _open(run)
    for number, one in enumerate(clients):
        # Spread over the first interval, so that a pace is even.
        delay_s = run.interval_s * number / len(clients)
        asyncio.get_running_loop().call_later(delay_s, one.client.send)
    await asyncio.sleep(_WARM_UP_S)
    run.measuring = True
    before, cpu, started = run.messages, _cpu_s(), time.perf_counter()
    await asyncio.sleep(job.seconds)
    messages, seconds = run.messages - before, time.perf_counter() - started
    cpu = _cpu_s() - cpu
    run.measuring, run.stopped = False, True
    await asyncio.sleep(0.5)  # the last replies
    return _report(run, messages, seconds, cpu)


async def burst(job: Job) -> Report:
    """All connections send one message in the same instant, round after round."""
    run = _Run(job)
    clients = await _open(run)
    burst_ms: list[float] = []
    cpu, begun = _cpu_s(), time.perf_counter()
    run.measuring = True
    for _ in range(job.rounds):
        await asyncio.sleep(_BURST_PAUSE_S)
        run.waiting = len(clients)
        run.none_waiting.clear()
        started = time.perf_counter()
        for one in clients:
            one.client.send()
        async with asyncio.timeout(_READY_S_MAX):
            await run.none_waiting.wait()
        burst_ms.append((time.perf_counter() - started) * 1000)
    report = _report(run, run.messages, time.perf_counter() - begun, _cpu_s() - cpu)
    report.burst_ms = burst_ms
    return report


async def frames(job: Job) -> Report:
    """Count frames at the viewers; publish them where the job names a channel."""
    run = _Run(job)
    viewers = await _connect_all(run, lambda token: _websocket(run, _Counter, token))
    publisher = None
    if job.channel:
        viewers[0].is_first = True
        welcome = viewers[0].welcome
        publisher = asyncio.get_running_loop().create_task(_publish(run, welcome))
    await asyncio.sleep(_WARM_UP_S)
    before, cpu, started = run.messages, _cpu_s(), time.perf_counter()
    await asyncio.sleep(job.seconds)
    messages, seconds = run.messages - before, time.perf_counter() - started
    cpu = _cpu_s() - cpu
    run.stopped = True
    if publisher is not None:
        await publisher
    return _report(run, messages, seconds, cpu)


def scoreboard_frame(epoch: int, version: int) -> bytes:
    """A frame as a scoreboard change makes it: ten rows."""
    rows = tuple(
        ScoreRow(ParticipantId(i), f"Participant {i}", 9_000 + version % 1000 - i, i, 900, i)
        for i in range(1, 11)
    )
    changes = ViewChanges(scoreboard=rows)
    return encode_json(DeltaFrame(Epoch(epoch), FrameVersion(version), 1_764_000_000_000, changes))


async def _publish(run: _Run, welcome: Welcome) -> None:
    assert welcome.view is not None
    epoch, version = welcome.view.epoch, int(welcome.view.version)
    run.seen_version = version
    async with redis.asyncio.Redis.from_url(run.job.redis_url) as client:
        while not run.stopped:
            # By version, not by count: a viewer that fell behind gets one frame instead of many.
            if version - run.seen_version >= _FRAMES_AHEAD:
                await asyncio.sleep(0.001)
                continue
            version += 1
            frame = scoreboard_frame(epoch, version)
            publication = FramePublication(Epoch(epoch), FrameVersion(version), frame)
            await client.publish(run.job.channel, encode_pack(publication))


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _report(run: _Run, messages: int, seconds: float, cpu_s: float) -> Report:
    ordered = sorted(run.latencies_ns) or [0]
    return Report(
        messages=messages,
        messages_total=run.messages,
        seconds=seconds,
        per_s=messages / seconds,
        latency_ms_p50=ordered[len(ordered) // 2] / 1e6,
        latency_ms_p99=ordered[len(ordered) * 99 // 100] / 1e6,
        cpu_us_per_message=cpu_s / max(1, messages) * 1e6,
        refused=run.refused,
    )


def main() -> None:
    """Read a job, run it, print its report."""
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=Job)
    work = {"closed_loop": closed_loop, "burst": burst, "frames": frames}[job.kind]
    report = uvloop.run(work(job))
    sys.stdout.buffer.write(msgspec.json.encode(report) + b"\n")


if __name__ == "__main__":
    main()
