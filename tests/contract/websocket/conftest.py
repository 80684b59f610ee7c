"""A real server for each websocket layer, and an application that records what it is told."""

import asyncio
import os
import socket
from base64 import b64encode

import pytest
import uvicorn
import uvicorn.config
import uvloop
from websockets.frames import Frame, Opcode

from serve_app.client_address import ClientAddresses
from serve_app.websocket import uvicorn_picows
from serve_app.websocket.connection import EXTENSION

#: Layers under the contract, each by what makes uvicorn use it.
LAYERS = {"picows": uvicorn_picows.install}
#: Longer than anything here takes; reached only when a test fails.
WAIT_S_MAX = 10


def pytest_asyncio_loop_factories():
    """The loop that Ray gives replicas: loops differ in how they hold back writes."""
    return {"uvloop": uvloop.new_event_loop}


class RecordingListener:
    """A ConnectionListener that notes everything, and does on a text what it was told to do."""

    def __init__(self):
        self.connection = None
        self._events = asyncio.Queue()
        self.react = lambda _connection, _payload: None
        self.greeting = None

    def on_open(self, connection):
        self.connection = connection
        if self.greeting is not None:
            connection.send_text(self.greeting)
        self._events.put_nowait("open")

    def on_text(self, connection, payload):
        self._events.put_nowait(payload)
        self.react(connection, payload)

    def on_unwritable(self, _connection):
        self._events.put_nowait("unwritable")

    def on_writable(self, _connection):
        self._events.put_nowait("writable")

    def on_close(self, _connection, code):
        self._events.put_nowait(code)

    async def next(self):
        """What happened next: "open", a text as bytes, "unwritable", "writable", a close code."""
        return await asyncio.wait_for(self._events.get(), WAIT_S_MAX)

    @property
    def is_quiet(self):
        return self._events.empty()


class Site:
    """A server, the listener of its next connection, and what the application saw."""

    def __init__(self, server, address):
        self.server = server
        self.address = address
        self.url = "ws://{}:{}/ws".format(*address)
        self.listener = RecordingListener()
        #: Messages that the application received, over all connections.
        self.seen = asyncio.Queue()
        #: Applications that run now.
        self.running = 0
        #: Set when the application may accept.
        self.may_accept = asyncio.Event()
        self.may_accept.set()
        #: What the application sends once it has accepted.
        self.afterwards = []

    async def app(self, scope, receive, send):
        self.running += 1
        try:
            if scope["path"] == "/plain":
                await self._plain(receive, send)
            else:
                await self._with_callbacks(scope, receive, send)
        finally:
            self.running -= 1

    async def _with_callbacks(self, scope, receive, send):
        await self._receive(receive)
        await self.may_accept.wait()
        scope["extensions"][EXTENSION].attach(self.listener)
        await send({"type": "websocket.accept"})
        for message in self.afterwards:
            await send(message)
        while (await self._receive(receive))["type"] != "websocket.disconnect":
            pass

    async def _plain(self, receive, send):
        await self._receive(receive)
        await self.may_accept.wait()
        await send({"type": "websocket.accept"})
        while (message := await self._receive(receive))["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": message["text"]})

    async def _receive(self, receive):
        message = await receive()
        self.seen.put_nowait(message)
        return message

    async def next_seen(self):
        return await asyncio.wait_for(self.seen.get(), WAIT_S_MAX)

    async def until(self, holds):
        """Return when something holds of which uvicorn tells nobody."""
        async with asyncio.timeout(WAIT_S_MAX):
            while not holds():  # noqa: ASYNC110
                await asyncio.sleep(0.001)


@pytest.fixture(params=list(LAYERS))
async def site(request, monkeypatch):
    """A server of one layer on a free loopback port, set up as Serve sets its own up."""
    for table in (uvicorn.config.WS_PROTOCOLS, uvicorn.config.HTTP_PROTOCOLS):
        monkeypatch.setitem(table, "auto", table["auto"])
    LAYERS[request.param](ClientAddresses())
    sites = []

    async def app(*arguments):
        await sites[0].app(*arguments)

    config = uvicorn.Config(
        lambda: app, factory=True, lifespan="off", access_log=False, log_config=None
    )
    server = uvicorn.Server(config)
    listening = socket.create_server(("127.0.0.1", 0))
    sites.append(Site(server, listening.getsockname()))
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    await sites[0].until(lambda: server.started)
    yield sites[0]
    server.should_exit = True
    await asyncio.wait_for(serving, WAIT_S_MAX)
    assert sites[0].running == 0


class RawClient:
    """A client that sends any bytes it likes, and reads only when it is asked to."""

    def __init__(self, reader, writer):
        self.reader = reader
        self.writer = writer

    @staticmethod
    def handshake(path="/ws", **headers):
        lines = [f"GET {path} HTTP/1.1", "Host: test", "Upgrade: websocket", "Connection: Upgrade"]
        lines += ["Sec-WebSocket-Version: 13"]
        lines += [f"Sec-WebSocket-Key: {b64encode(os.urandom(16)).decode()}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        return "\r\n".join([*lines, "", ""]).encode()

    @staticmethod
    def frame(opcode, data, *, fin=True):
        return Frame(opcode, data, fin).serialize(mask=True)

    def text(self, data, *, fin=True):
        self.writer.write(self.frame(Opcode.TEXT, data, fin=fin))

    async def response(self):
        """The head of the handshake's response."""
        return await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), WAIT_S_MAX)

    async def next_frame(self):
        """The opcode and payload of the server's next frame."""
        return await asyncio.wait_for(self._next_frame(), WAIT_S_MAX)

    async def _next_frame(self):
        head = await self.reader.readexactly(2)
        size = head[1]
        if size >= 126:
            size = int.from_bytes(await self.reader.readexactly(2 if size == 126 else 8), "big")
        return Opcode(head[0] & 0x0F), await self.reader.readexactly(size)


@pytest.fixture
async def raw(site):
    """Connect a RawClient; its handshake is up to the test."""
    clients = []

    async def connect():
        client = RawClient(*await asyncio.open_connection(*site.address))
        clients.append(client)
        return client

    yield connect
    for client in clients:
        client.writer.transport.abort()
