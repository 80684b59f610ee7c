"""A stage for the pages: a real Chromium, a wire that can be cut, and how to get on.

``live_site`` is the running site: ``base_url``, ``results(session)``.
With ``RAYQUIZ_SCREENSHOTS`` set to a folder, the screens are saved there.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, WebSocketRoute, async_playwright, expect

#: The first that is there; the shell is the same Chromium without windows, for a third of the work.
_BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# A slow machine is no fault of a page; what must be quick is asked for with a time of its own.
expect.set_options(timeout=20_000)
_PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
_LAPTOP = {"viewport": {"width": 1280, "height": 800}}
_PROJECTOR = {"viewport": {"width": 1920, "height": 1080}}
_SIZES = {
    "phone": {"width": 390, "height": 844},
    "tablet": {"width": 1280, "height": 800},
    "laptop": {"width": 1366, "height": 768},
    "projector": {"width": 1920, "height": 1080},
}


class Network:
    """The wire between one page and the site, which a test can cut or make lossy."""

    def __init__(self) -> None:
        self.is_down = False
        #: Messages to the page, and from it, that contain this are lost.
        self.swallowed: str | None = None
        #: What messages to the page say instead of something else.
        self.reworded: tuple[str, str] = ("", "")
        #: Everything that reached the page, and all that it said, in order.
        self.heard: list[str] = []
        self.said: list[str] = []
        #: Sockets that the page has opened.
        self.opened_count = 0
        self._opened = asyncio.Condition()
        self._routes: list[WebSocketRoute] = []

    async def handle(self, route: WebSocketRoute) -> None:
        """Take over a websocket that a page opens."""
        async with self._opened:
            self.opened_count += 1
            self._opened.notify_all()
        if self.is_down:
            route.on_message(lambda _: None)
            return
        server = route.connect_to_server()
        self._routes.append(route)

        def to_page(message: str | bytes) -> None:
            if not (self.swallowed and self.swallowed in str(message)):
                message = str(message).replace(*self.reworded)
                self.heard.append(message)
                route.send(message)

        def to_server(message: str | bytes) -> None:
            self.said.append(str(message))
            if not (self.swallowed and self.swallowed in str(message)):
                server.send(message)

        server.on_message(to_page)
        route.on_message(to_server)

    async def close(self, code: int) -> None:
        """Close every socket towards the page with this code."""
        routes, self._routes = self._routes, []
        for route in routes:
            await route.close(code=code)

    async def cut(self) -> None:
        """Close every socket; new ones reach nobody."""
        self.is_down = True
        await self.close(1012)

    async def opened(self, count: int) -> None:
        """Wait until so many sockets have been opened."""
        async with self._opened, asyncio.timeout(10):
            await self._opened.wait_for(lambda: self.opened_count >= count)

    def mend(self) -> None:
        """Let messages through again; a page whose socket reached nobody finds out by itself."""
        self.is_down = False
        self.swallowed = None


OpenSession = Callable[[dict[str, Any], dict[str, Any]], dict[str, str]]


class Stage:
    """Opens pages, each in a browser profile of its own, and knows the way to get on."""

    def __init__(self, live_site: Any, open_session: OpenSession, browser: Browser) -> None:
        self.site = live_site
        self._open_session = open_session
        self._browser = browser
        #: What pages complained about; none is allowed.
        self.complaints: list[str] = []

    def session(self, *questions: dict[str, Any], **settings: Any) -> dict[str, str]:
        """Open a session; without a preview unless it is asked for."""
        quiz = {"title": "The solar system", "questions": list(questions)}
        return self._open_session(quiz, {"preview_ms": 0, **settings})

    async def open(self, path: str, network: Network | None = None, **device: Any) -> Page:
        """Open a page of the site."""
        context = await self._browser.new_context(**device)
        page = await context.new_page()
        if network is not None:
            await page.route_web_socket(re.compile(r"/ws$"), network.handle)
        page.on("pageerror", lambda error: self.complaints.append(f"{path[:10]}: {error}"))
        page.on("console", lambda line: self._hear(line.text))
        await page.goto(f"{self.site.base_url}{path}")
        return page

    def _hear(self, line: str) -> None:
        if "Content Security Policy" in line:
            self.complaints.append(line)

    async def host(
        self, session: dict[str, str], network: Network | None = None, **device: Any
    ) -> Page:
        """The host's console on a laptop."""
        path = f"/host#token={session['host_token']}"
        return await self.open(path, network, **{**_LAPTOP, **device})

    async def board(
        self, session: dict[str, str], network: Network | None = None, **device: Any
    ) -> Page:
        """The projector."""
        path = f"/board?pin={session['pin']}"
        return await self.open(path, network, **{**_PROJECTOR, **device})

    async def phone(self, path: str, network: Network | None = None) -> Page:
        """A phone that opens a page."""
        return await self.open(path, network, **_PHONE)

    async def join(
        self, session: dict[str, str], name: str, network: Network | None = None
    ) -> Page:
        """A phone whose owner has joined and stands in the lobby."""
        page = await self.phone(f"/play?pin={session['pin']}", network)
        await page.fill("#nickname", name)
        await page.get_by_role("button", name="Let me in").click()
        await expect(page.locator(".play-bar .nickname")).to_have_text(name)
        return page

    async def crowd(self, session: dict[str, str], *names: str) -> None:
        """Programs that join over HTTP and never connect."""
        path = f"{self.site.base_url}/api/pins/{session['pin']}/participants"
        async with httpx.AsyncClient(timeout=60) as http:
            for first in range(0, len(names), 20):
                bodies = [
                    {"nickname": name, "join_key": uuid.uuid4().hex}
                    for name in names[first : first + 20]
                ]
                for answer in await asyncio.gather(*(http.post(path, json=b) for b in bodies)):
                    answer.raise_for_status()
                http.cookies.clear()

    async def press(self, host: Page, name: str) -> None:
        """Press a button of the host's console."""
        await host.get_by_role("button", name=name, exact=True).click()

    async def everywhere(self, page: Page, moment: str) -> None:
        """Look at a page in every size: nothing may stand out of it."""
        before = page.viewport_size
        for name, size in _SIZES.items():
            await page.set_viewport_size(size)
            assert await page.evaluate(
                "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
            ), f"{moment}: wider than {name}"
            await self.shoot(moment, **{name: page})
        await page.set_viewport_size(before)

    async def shoot(self, moment: str, **screens: Page) -> None:
        """Save what the screens show."""
        folder = os.environ.get("RAYQUIZ_SCREENSHOTS")
        if not folder:
            return
        Path(folder).mkdir(parents=True, exist_ok=True)
        for name, page in screens.items():
            await page.screenshot(path=Path(folder, f"{moment}-{name}.png"))


@pytest.fixture
def make_network() -> type[Network]:
    return Network


@pytest.fixture
def network() -> Network:
    return Network()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """One Chromium for all tests; each page has a profile of its own."""
    async with async_playwright() as playwright:
        program = next(filter(None, map(shutil.which, _BROWSERS)))
        browser = await playwright.chromium.launch(executable_path=program, args=_FLAGS)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="session")
async def stage(
    live_site: Any, open_session: OpenSession, browser: Browser
) -> AsyncIterator[Stage]:
    stage = Stage(live_site, open_session, browser)
    yield stage
    for context in browser.contexts:
        await context.close()
    assert not stage.complaints
