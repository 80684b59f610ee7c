"""The whole system, started once for all tests that need it, on ports and folders of its own."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from serve_app.auth import Tokens
from serve_app.embedded.stack import EmbeddedStack


class LiveSite:
    """A running embedded profile: its stack, data folder, address, and the operator's ways in."""

    def __init__(self, stack: EmbeddedStack, folder: Path) -> None:
        self.stack = stack
        self.folder = folder
        self.base_url = stack.settings.public_url
        self.operator_token = Tokens(stack.settings.secret).operator()

    @property
    def ws_url(self) -> str:
        """Where websockets connect."""
        return self.base_url.replace("http", "ws", 1) + "/ws"

    def api(self, token: str | None = None) -> httpx.Client:
        """A client of the API; the operator's without a token."""
        headers = {"authorization": f"Bearer {token or self.operator_token}"}
        return httpx.Client(base_url=f"{self.base_url}/api", headers=headers, timeout=30)

    def open_session(self, quiz: dict[str, Any], settings: dict[str, Any]) -> dict[str, str]:
        """Create a quiz and open a session of it."""
        with self.api() as api:
            created = api.post("/quizzes", json=quiz)
            assert created.status_code == 201, created.text
            body = {"quiz_id": created.json()["quiz_id"], "settings": settings}
            opened = api.post("/sessions", json=body)
            assert opened.status_code == 201, opened.text
            return dict(opened.json())


@pytest.fixture(scope="session")
def live_site() -> Iterator[LiveSite]:
    """The embedded profile with its applications, for as long as the tests run."""
    folder = Path(tempfile.mkdtemp(prefix="rq-site-"))
    try:
        with EmbeddedStack(folder, 0) as stack:
            from serve_app.deploy import deploy  # noqa: PLC0415 - imports ray, after its environment

            deploy(stack.settings)
            yield LiveSite(stack, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep all tests of the whole system on one worker: Ray starts once."""
    for item in items:
        if "live_site" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("live_site"))
            item.add_marker(pytest.mark.service)
