"""Errors with stable codes, grouped by whose fault they are.

::

    QuizError
    ├── ClientFault            the request cannot be carried out as it stands; sending it again is useless
    │   ├── Malformed          not a message at all, or a field out of bounds
    │   ├── Unauthorized       no token, a forged one, one of another role or session
    │   ├── NotFound           no such quiz, session, participant, opening
    │   ├── Conflict           true at another time: wrong phase, late, nickname taken …
    │   └── TooMany            a limit on size, count or rate
    └── ServerFault            not the client's fault; ``retryable`` says whether to send it again

A code never changes its meaning. The table of HTTP statuses and websocket close codes that belong
to them is in ``serve_app/errors.py``; a test holds it complete.
"""

from __future__ import annotations

from typing import ClassVar, Final


class QuizError(Exception):
    """Base of everything that is told to a client.

    Attributes:
        code: stable, lower case with underscores.
        detail: one sentence: what was wrong, where, what is allowed.
        retryable: whether the very same request may succeed later.
    """

    code: str = "internal"
    retryable: ClassVar[bool] = False

    def __init__(self, detail: str, code: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        if code is not None:
            if code not in CODES:
                msg = f"unknown error code {code!r}"
                raise ValueError(msg)
            self.code = code

    @property
    def told(self) -> str:
        """The detail as clients are told it."""
        return self.detail

    def __reduce__(self) -> tuple[type[QuizError], tuple[str, str]]:
        """Keep the code when the error travels between processes."""
        return type(self), (self.detail, self.code)


class ClientFault(QuizError):
    """The request cannot be carried out as it stands."""


class Malformed(ClientFault):
    """Not a message, or a field out of its bounds."""

    code = "malformed"


class Unauthorized(ClientFault):
    """No token, or one that does not allow this."""

    code = "unauthorized"


class NotFound(ClientFault):
    """Nothing stands under that name."""

    code = "not_found"


class Conflict(ClientFault):
    """Allowed at another time or in another state."""

    code = "wrong_phase"


class TooMany(ClientFault):
    """A limit on size, count or rate was reached."""

    code = "too_many"


class ServerFault(QuizError):
    """Not the client's fault."""

    code = "internal"


class Unavailable(ServerFault):
    """A part is away; the outcome is unknown, the same request may be sent again.

    What stands behind the first colon of the detail is for logs: it may name servers and addresses.
    """

    code = "retry"
    retryable: ClassVar[bool] = True

    @property
    def told(self) -> str:
        """See :attr:`QuizError.told`."""
        return self.detail.partition(":")[0]


class Fenced(ServerFault):
    """This actor has been replaced by one of a higher epoch and must leave."""

    code = "retry"
    retryable: ClassVar[bool] = True


class LaterVersion(ServerFault):
    """Something stored that this version must not act without, and does not know; a later one does."""

    code = "retry"
    retryable: ClassVar[bool] = True


#: Every code with its meaning; ``docs/PROTOCOL.md`` prints this table.
CODES: Final[dict[str, str]] = {
    "malformed": "the message is not valid JSON of a known type, or a field is out of its bounds",
    "unauthorized": "the token is missing, forged, expired, or of another role or session",
    "not_found": "no quiz, session, participant or opening stands under that name",
    "wrong_phase": "the session's phase does not allow this; the detail names the phase",
    "stale_command": "the session has moved on since the phase and opening that the command named",
    "not_open": "the question is not open for answers yet",
    "late": "the question was already closed when the answer arrived",
    "bad_choice": "the answer does not fit the question: the choice does not exist, too many, or text",
    "nickname_taken": "another participant of the session has this nickname, or one that looks the same",
    "wrong_code": "nobody in this session has this personal code",
    "nickname_invalid": "the nickname is empty, too long, or has characters that are not allowed",
    "session_full": "the session has as many participants as it may have",
    "session_over": "the session is finished or cancelled",
    "locked": "the host has locked the session: nobody new may join",
    "quarantined": "the session could not be continued and was set aside; its operator can retry it",
    "removed": "the host removed this participant",
    "too_many": "a limit on size, count or rate was reached; the detail names it",
    "too_large": "the body or message has more bytes than allowed",
    "invalid_quiz": "the quiz cannot be used; the detail names the question and the field",
    "quiz_empty": "no usable question was found",
    "hello_expected": "the first message on a websocket must be hello",
    "hello_twice": "hello was already said on this websocket",
    "retry": "the outcome is unknown because a part is away; send the same again",
    "overloaded": "too much is waiting; send the same again later",
    "internal": "a fault of the server, noted in its log; sending the same again would meet it again",
}
