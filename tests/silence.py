"""Ways to servers that fall silent: they swallow what is sent, or are paused. Nobody is refused."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

import psutil

from engine.errors import Unavailable
from tests.chaos.network import Wire

_T = TypeVar("_T")

#: How long anything may take that has short bounds, on a machine that is busy.
PATIENCE_S = 20.0
KINDS = ("dropped", "paused")


class Way:
    """The way to a server over TCP, which can fall silent.

    Attributes:
        server: where it leads to.
        port: its near end, on loopback.
    """

    def __init__(self, server: Any, wire: Wire, port: int, kind: str) -> None:
        self.server = server
        self.port = port
        self._wire = wire
        self._kind = kind

    @asynccontextmanager
    async def silent(self, patience_s: float = PATIENCE_S) -> AsyncIterator[None]:
        """Be silent for as long as something takes, which must come to an end."""
        if self._kind == "dropped":
            self._wire.cut(None)
        else:
            self._signal(signal.SIGSTOP)
        try:
            async with asyncio.timeout(patience_s):
                yield
        finally:
            self.mend()

    def mend(self) -> None:
        """Speak again."""
        if self._kind == "dropped":
            self._wire.mend()
        else:
            self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        main = psutil.Process(self.server.pid)
        for process in (main, *main.children()):
            with suppress(ProcessLookupError):
                os.kill(process.pid, number)


@asynccontextmanager
async def wired(leads_to: Callable[[], str | int]) -> AsyncIterator[tuple[Wire, int]]:
    """A wire to a server (its path or port), and the port of the wire's near end."""
    wire = Wire()
    wire.leads_to = leads_to
    near = await asyncio.start_server(wire.serve, "127.0.0.1", 0)
    yield wire, near.sockets[0].getsockname()[1]
    near.close()
    wire.cut(None)
    wire.mend()
    async with asyncio.timeout(PATIENCE_S):
        while carrying := tasks_of("Wire."):
            await asyncio.wait(carrying)


@asynccontextmanager
async def silenceable(
    server: Any, leads_to: Callable[[], str | int], kind: str
) -> AsyncIterator[Way]:
    """A way to a server that falls silent in one of ``KINDS``."""
    async with wired(leads_to) as (wire, port):
        way = Way(server, wire, port, kind)
        yield way
        way.mend()


async def until(
    works: Callable[[], Awaitable[_T]],
    away: tuple[type[BaseException], ...] = (Unavailable,),
    patience_s: float = PATIENCE_S,
) -> _T:
    """What works again soon after a silence, if not at the first try."""
    async with asyncio.timeout(patience_s):
        while True:
            try:
                return await works()
            except away:
                await asyncio.sleep(0.05)


def tasks_of(module: str) -> list[asyncio.Task[Any]]:
    """The tasks whose coroutine's name has this in it."""
    return [task for task in asyncio.all_tasks() if module in repr(task.get_coro())]
