"""What a start offers at once: a session that people can join, of the sample quiz if need be."""

from __future__ import annotations

from typing import NamedTuple

import httpx
import msgspec

from engine.ids import Pin, SessionId
from engine.importers import to_json
from engine.phases import Phase
from serve_app.auth import Role, Tokens
from serve_app.embedded.errors import StartError
from serve_app.samples import welcome_quiz

_TIMEOUT_S = 30.0


class FirstSession(NamedTuple):
    """A session in its lobby."""

    pin: Pin
    host_token: str


def first_session(url: str, tokens: Tokens) -> FirstSession:
    """A session in its lobby: the one that an earlier start left there, or a new one.

    The sample quiz goes into the library only when the library is empty.

    Args:
        url: address of the front, without a slash at the end.
        tokens: of the deployment.

    Raises:
        StartError: the applications do not do what they should; the message says what they said.
    """
    headers = {"authorization": f"Bearer {tokens.operator()}"}
    try:
        with httpx.Client(base_url=f"{url}/api", headers=headers, timeout=_TIMEOUT_S) as api:
            session_id, pin = _waiting(api) or _opened(api)
    except httpx.HTTPError as error:
        raise StartError(f"no session could be opened: {error}") from error
    return FirstSession(pin, tokens.of_session(Role.HOST, session_id, pin))


def _waiting(api: httpx.Client) -> tuple[SessionId, Pin] | None:
    """The newest session, if it still waits in its lobby."""
    sessions = api.get("/sessions", params={"limit": 1}).raise_for_status().json()["items"]
    if not sessions or sessions[0]["finished_at"] is not None:
        return None
    session = sessions[0]
    response = api.get(f"/sessions/{session['session_id']}/view")
    if response.is_error or response.json()["view"]["phase"] != Phase.LOBBY:
        return None
    return SessionId(session["session_id"]), Pin(session["pin"])


def _opened(api: httpx.Client) -> tuple[SessionId, Pin]:
    quizzes = api.get("/quizzes", params={"limit": 1}).raise_for_status().json()["items"]
    if quizzes:
        quiz_id = quizzes[0]["quiz_id"]
    else:
        body = msgspec.json.decode(to_json(welcome_quiz()))
        quiz_id = api.post("/quizzes", json=body).raise_for_status().json()["quiz_id"]
    opened = api.post("/sessions", json={"quiz_id": quiz_id}).raise_for_status().json()
    return SessionId(opened["session_id"]), Pin(opened["pin"])
