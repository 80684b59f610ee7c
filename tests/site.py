"""A running stack as tests and tools use it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from engine.phases import Phase, Step
from serve_app.auth import Tokens
from serve_app.embedded.stack import EmbeddedStack

if TYPE_CHECKING:
    from tests.chaos.head import Head
    from tests.chaos.network import Wires
    from tests.chaos.nodes import OtherNodes

#: How long the end of a session may take, and to be noted, seconds.
_NOTED_S_MAX = 30.0
#: What is answered while a part of the site is away, and how long to wait then, seconds.
_AWAY = (httpx.codes.BAD_GATEWAY, httpx.codes.SERVICE_UNAVAILABLE, httpx.codes.GATEWAY_TIMEOUT)
_PAUSE_S = 0.05


class LiveSite:
    """A running embedded profile: its stack, data folder, address, and the operator's ways in."""

    def __init__(self, stack: EmbeddedStack, folder: Path) -> None:
        self.stack = stack
        self.folder = folder
        self.base_url = stack.settings.public_url
        self.operator_token = Tokens.of(stack.settings).operator()
        #: Nodes of Ray beside the head's, where there are any.
        self.nodes: OtherNodes | None = None
        #: Ray's head, where it can be lost.
        self.head: Head | None = None
        #: Ways to the servers that can be cut, where they are used.
        self.wires: Wires | None = None

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

    def cancel(self, session: dict[str, str]) -> None:
        """End a session that nobody needs any more, whatever its phase.

        Its process would take a hundredth of a core until the site stops.
        """
        path = f"/sessions/{session['session_id']}"
        deadline = time.monotonic() + _NOTED_S_MAX
        with self.api() as api:  # a test may have revoked the session's own tokens
            while True:
                found = api.get(f"{path}/view")
                if found.status_code == httpx.codes.GONE:
                    return
                if found.status_code == httpx.codes.OK:
                    view = found.json()["view"]
                    if Phase(view["phase"]).is_over:
                        return
                    # A deadline that passes in between makes it another phase.
                    place = {"phase": view["phase"], "opening": view["opening_no"]}
                    move = {"command_id": f"cancel {place}", "step": Step.CANCEL, **place}
                    api.post(f"{path}/moves", json=move)
                else:
                    # Its actor may be on its way back from what a test has done to it.
                    assert found.status_code in _AWAY, f"{found.status_code}: {found.text}"
                    time.sleep(_PAUSE_S)
                assert time.monotonic() < deadline, f"it does not end: {found.text}"

    def results(self, session: dict[str, str]) -> dict[str, Any]:
        """The results of a session that is seen as finished, once its end is noted as well."""
        deadline = time.monotonic() + _NOTED_S_MAX
        with self.api(session["host_token"]) as api:
            while True:
                found = api.get(f"/sessions/{session['session_id']}/results")
                if found.status_code != httpx.codes.CONFLICT or time.monotonic() > deadline:
                    break
                time.sleep(0.05)
        assert found.status_code == httpx.codes.OK, found.text
        return dict(found.json())
