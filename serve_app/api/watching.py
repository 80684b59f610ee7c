"""Read a live session: its view and its scoreboard, for those who have no websocket."""

from __future__ import annotations

from typing import Any, Final, Literal
from urllib.parse import parse_qs

import msgspec
from starlette.requests import Request

from actors.postgres import Database
from actors.results import ResultRow, ResultsReader
from engine import limits
from engine.errors import Malformed
from engine.ids import SessionId
from engine.wire import Snapshot, encode_json
from serve_app.api.context import allowed, read_session
from serve_app.api.hot import Call, HotRoute, Reply, operation
from serve_app.auth import Role
from serve_app.session_reads import Score

_MEMBERS: Final = (Role.HOST, Role.VIEWER, Role.PARTICIPANT)
_PAGE_ROWS_MAX: Final = limits.SCOREBOARD_PAGE_ROWS_MAX
#: Parameters of a page: least, most, and default.
_PAGE: Final = {
    "offset": (0, limits.PARTICIPANTS_MAX, 0),
    "limit": (1, _PAGE_ROWS_MAX, _PAGE_ROWS_MAX),
}


class ScoreboardPage(msgspec.Struct, frozen=True):
    """Rows of the scoreboard, best first; ``source`` is memory while the session lives."""

    source: Literal["memory", "database"]
    items: list[Score]


async def _view(call: Call) -> Reply:
    session_id = _checked(call)
    return Reply(200, await call.replica.session_reads.view(session_id))


async def _scoreboard(call: Call) -> Reply:
    session_id = _checked(call)
    offset, rows = _page(call.scope["query_string"])

    async def finished(database: Database) -> list[ResultRow]:
        reader = ResultsReader(database)
        await reader.require_finished(session_id)
        return await reader.scoreboard(session_id, 0, limits.PARTICIPANTS_MAX)

    found = await call.replica.session_reads.scoreboard(
        session_id, offset, rows, lambda: read_session(Request(call.scope), session_id, finished)
    )
    return Reply(200, encode_json(ScoreboardPage(found.source, found.rows)))


def _checked(call: Call) -> SessionId:
    """The session in the path, once the caller's token fits it."""
    allowed(call.replica.tokens, call.header(b"authorization"), call.subject, *_MEMBERS)
    return SessionId(call.subject)


def _page(query: bytes) -> tuple[int, int]:
    """Offset and limit.

    Raises:
        Malformed: one of them is no number, or out of bounds.
    """
    given = parse_qs(query.decode("latin-1"), keep_blank_values=True)
    found = []
    for name, (least, most, default) in _PAGE.items():
        text = given.get(name, [str(default)])[-1]
        # No more digits than ``most`` has are read.
        is_number = text.isascii() and text.isdigit() and len(text) <= len(str(most))
        if not (is_number and least <= int(text) <= most):
            raise Malformed(f"query.{name}: {text} is no whole number from {least} to {most}")
        found.append(int(text))
    return found[0], found[1]


def _parameter(name: str) -> dict[str, Any]:
    least, most, default = _PAGE[name]
    kind = {"type": "integer", "minimum": least, "maximum": most, "default": default}
    return {"name": name, "in": "query", "required": False, "schema": kind}


ROUTES: Final = (
    HotRoute(
        "GET",
        "/sessions/{session_id}/view",
        _view,
        operation(
            "What everybody sees now",
            "The newest view as a websocket `snapshot` message carries it.",
            "session_id",
            (200, "The view", Snapshot),
        ),
        (Snapshot,),
    ),
    HotRoute(
        "GET",
        "/sessions/{session_id}/scoreboard",
        _scoreboard,
        operation(
            "Read the scoreboard",
            "From the session's memory while its actor lives, else from the database; page by page. "
            "Closed questions only, so that a score that moves tells nobody the right answer.",
            "session_id",
            (200, "A page", ScoreboardPage),
            query=[_parameter(name) for name in _PAGE],
        ),
        (ScoreboardPage,),
    ),
)
