"""The bare endpoints that our figures are measured against: the least that FastAPI can do on Serve."""

from __future__ import annotations

import asyncio

from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from starlette.types import ASGIApp

from simulation.load import scoreboard_frame


def echo_app() -> ASGIApp:
    """The smallest FastAPI websocket echo, with uvicorn's own websocket layer."""
    app = FastAPI()

    @app.websocket("/echo")
    async def echo(socket: WebSocket) -> None:
        await socket.accept()
        try:
            while True:
                await socket.send_text(await socket.receive_text())
        except WebSocketDisconnect:
            pass

    return app


def empty_app() -> ASGIApp:
    """An empty FastAPI handler."""
    app = FastAPI()

    @app.post("/empty")
    async def empty() -> dict[str, str]:
        return {}

    return app


def frames_app() -> ASGIApp:
    """The same bytes sent to every websocket in a loop."""
    app = FastAPI()
    frame = scoreboard_frame(1, 1).decode()
    sockets: set[WebSocket] = set()
    tasks: list[asyncio.Task[None]] = []

    async def send_while_somebody_listens() -> None:
        while sockets:
            for socket in list(sockets):
                try:
                    await socket.send_text(frame)
                except (WebSocketDisconnect, RuntimeError):
                    sockets.discard(socket)
            await asyncio.sleep(0)
        tasks.clear()

    @app.websocket("/frames")
    async def frames(socket: WebSocket) -> None:
        await socket.accept()
        sockets.add(socket)
        if not tasks:
            tasks.append(asyncio.get_running_loop().create_task(send_while_somebody_listens()))
        try:
            await socket.receive_text()
        except WebSocketDisconnect:
            sockets.discard(socket)

    return app
