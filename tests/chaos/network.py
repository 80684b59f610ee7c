"""Wires to the servers that can be cut without a word: what is sent over them then goes nowhere."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path

import psutil

_CHUNK = 64 * 1024
_LOOPBACK = "127.0.0.1"
#: What the kernel tells of a Unix socket's peer: process, user, group.
_CREDENTIALS = struct.Struct("3i")
#: libpq's name for the socket of the usual port.
POSTGRES_SOCKET = ".s.PGSQL.5432"

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Wire:
    """A way to one server, for all processes: a proxy on an address of its own."""

    def __init__(self) -> None:
        #: Tells where the server listens: a path or a port; asked at each connection.
        self.leads_to: Callable[[], str | int] | None = None
        self._is_whole = asyncio.Event()
        self._is_whole.set()
        #: Whose connections are cut; None: everybody's.
        self._cut_off: Collection[int] | None = ()
        self._open: set[asyncio.StreamWriter] = set()

    def cut(self, pids: Collection[int] | None) -> None:
        """Let nothing through any more, for some processes or for all."""
        self._cut_off = pids
        self._is_whole.clear()

    def mend(self) -> None:
        """Let everything through again; what was open meanwhile is over."""
        for writer in self._open:
            if self._is_cut(writer):
                writer.transport.abort()
        self._is_whole.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection."""
        self._open.add(writer)
        try:
            if not self._is_whole.is_set() and self._is_cut(writer):
                await self._is_whole.wait()
                return
            assert self.leads_to is not None
            where = self.leads_to()
            there = await (
                asyncio.open_connection(_LOOPBACK, where)
                if isinstance(where, int)
                else asyncio.open_unix_connection(where)
            )
            await asyncio.gather(
                self._carry(reader, there[1], writer), self._carry(there[0], writer, writer)
            )
        except OSError:
            pass  # one of them has gone, and the other is told below
        finally:
            self._open.discard(writer)
            writer.transport.abort()

    async def _carry(
        self, reader: asyncio.StreamReader, to: asyncio.StreamWriter, client: asyncio.StreamWriter
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(_CHUNK):
                if not self._is_whole.is_set() and self._is_cut(client):
                    await self._is_whole.wait()
                    break  # it was sent into nothing
                to.write(data)
                await to.drain()
        to.close()

    def _is_cut(self, writer: asyncio.StreamWriter) -> bool:
        if self._cut_off is None:
            return True
        one: socket.socket = writer.get_extra_info("socket")
        if one.family == socket.AF_UNIX:
            told = one.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
            return _CREDENTIALS.unpack(told)[0] in self._cut_off
        port = writer.get_extra_info("peername")[1]
        return any(
            found.laddr.port == port
            for pid in self._cut_off
            if psutil.pid_exists(pid)
            for found in psutil.Process(pid).net_connections("tcp")
        )


class Wires:
    """The wires to database, broker and Valkey, carried by a thread of its own.

    Attributes:
        settings: what the services must be told to use them.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._wires: dict[str, Wire] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.settings = {
            "database_url": f"postgresql://postgres@/rayquiz?host={folder}",
            "redis_url": f"unix://{self._listen('valkey', folder / 'valkey.sock')}",
            "rabbitmq_url": f"amqp://guest:guest@{_LOOPBACK}:{self._listen('broker', None)}/",
        }
        self._listen("database", folder / POSTGRES_SOCKET)

    def lead_to(self, **servers: Callable[[], str | int]) -> None:
        """Say where the servers listen: a path or a port, by the wire's name."""
        for name, where in servers.items():
            self._wires[name].leads_to = where

    def cut(self, *names: str, pids: Collection[int] | None = None) -> None:
        """Cut wires, for some processes or for all."""
        for name in names:
            self._loop.call_soon_threadsafe(self._wires[name].cut, pids)

    def mend(self) -> None:
        """Make all whole again."""
        for wire in self._wires.values():
            self._loop.call_soon_threadsafe(wire.mend)

    def end(self) -> None:
        """Carry nothing any more."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _listen(self, name: str, path: Path | None) -> str:
        wire = self._wires[name] = Wire()

        async def listen() -> str:
            if path is not None:
                await asyncio.start_unix_server(wire.serve, path)
                return str(path)
            server = await asyncio.start_server(wire.serve, _LOOPBACK, 0)
            return str(server.sockets[0].getsockname()[1])

        return asyncio.run_coroutine_threadsafe(listen(), self._loop).result()
