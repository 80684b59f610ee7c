"""What an error code becomes at the edge: HTTP statuses, problem details, websocket close codes."""

from __future__ import annotations

from typing import ClassVar, Final, NamedTuple

from engine import limits
from engine.errors import CODES, QuizError, TooMany


class TooOften(TooMany):
    """A limit on rate was reached: the very same may be sent again a moment later."""

    retryable: ClassVar[bool] = True


#: HTTP status of every code in ``engine.errors.CODES``.
HTTP_STATUS: Final[dict[str, int]] = {
    "malformed": 422,
    "unauthorized": 401,
    "not_found": 404,
    "wrong_phase": 409,
    "stale_command": 409,
    "not_open": 409,
    "late": 409,
    "bad_choice": 422,
    "nickname_taken": 409,
    "wrong_code": 422,
    "nickname_invalid": 422,
    "session_full": 409,
    "session_over": 410,
    "locked": 423,
    "quarantined": 503,
    "removed": 403,
    "too_many": 429,
    "too_large": 413,
    "invalid_quiz": 422,
    "quiz_empty": 422,
    "hello_expected": 400,
    "hello_twice": 409,
    "retry": 503,
    "overloaded": 503,
    "internal": 500,
}


class CloseCode(NamedTuple):
    """One websocket close code."""

    code: int
    reconnect: bool
    meaning: str


#: Every close code that the server sends, and whether the client should come back by itself.
CLOSE_CODES: Final[dict[str, CloseCode]] = {
    "hello_expected": CloseCode(4000, False, "something else came before hello"),
    "unauthorized": CloseCode(4001, False, "the token is missing, forged, expired or does not fit"),
    "session_over": CloseCode(4002, False, "the session is over and its actor has left"),
    "removed": CloseCode(4003, False, "the host removed this participant"),
    "slow_consumer": CloseCode(
        4004, True, "the connection could not keep up; come back for a snapshot"
    ),
    "too_many_faults": CloseCode(4005, False, "too many malformed messages, or too many messages"),
    "replica_full": CloseCode(
        4006,
        True,
        "this replica has as many connections as it may have, at all or from one address",
    ),
    "replaced": CloseCode(4007, False, "the same participant connected again elsewhere"),
    "hello_late": CloseCode(
        4008, True, "no hello came in time, or others that have not said it wait for the place"
    ),
    "quarantined": CloseCode(
        4010,
        False,
        "the session could not be continued and was set aside; its operator can retry it",
    ),
    "failed": CloseCode(
        4012, False, "a fault of the server; trying again at once would meet it again"
    ),
    "restart": CloseCode(1012, True, "the server goes away; reconnect at once, with jitter"),
}


def problem(error: QuizError) -> dict[str, object]:
    """RFC 9457 problem details of an error."""
    return {
        "type": f"urn:rayquiz:error:{error.code}",
        "title": CODES[error.code],
        "status": HTTP_STATUS[error.code],
        # It may quote what the client sent: at any length, and what no encoder takes.
        "detail": error.told[: limits.ERROR_DETAIL_CHARS_MAX].encode("utf-8", "replace").decode(),
        "code": error.code,
        "retryable": error.retryable,
    }


def problem_headers(error: QuizError) -> dict[str, str]:
    """Headers that belong to an error's response."""
    headers = {"content-type": "application/problem+json"}
    if error.retryable:
        headers["retry-after"] = str(limits.RETRY_AFTER_MS // 1000)
    if error.code == "unauthorized":
        headers["www-authenticate"] = "Bearer"
    return headers
