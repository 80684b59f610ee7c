"""Bodies of the API as pydantic models, with bounds from ``engine.limits`` and examples."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from engine import limits
from engine.model import Mode, PointsMode, QuestionKind, ScoringPolicy
from engine.phases import Phase, Step
from serve_app.auth import Role

_Key = Annotated[str, Field(min_length=limits.KEY_CHARS_MIN, max_length=limits.KEY_CHARS_MAX)]
_Number = Annotated[int, Field(ge=0, le=2**31 - 1)]
_Choice = Annotated[str, Field(min_length=1, max_length=limits.CHOICE_CHARS_MAX)]
_Spelling = Annotated[str, Field(min_length=1, max_length=limits.TYPED_CHARS_MAX)]

_QUESTION: JsonDict = {
    "kind": "single",
    "text": "Which planet has the shortest day?",
    "choices": ["Mars", "Jupiter", "Venus", "Earth"],
    "correct": [1],
    "time_limit_ms": 20_000,
    "explanation": "Jupiter turns once in just under ten hours.",
}
_QUIZ: JsonDict = {"title": "The solar system", "questions": [_QUESTION]}


class _In(BaseModel):
    """A request: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Problem(BaseModel):
    """An error (RFC 9457). ``code`` is stable; ``retryable``: send the very same again."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    retryable: bool


class QuestionIn(_In):
    """One question with its key; see ``engine.model.Question``."""

    model_config = ConfigDict(extra="forbid", frozen=True, json_schema_extra={"example": _QUESTION})

    kind: QuestionKind
    text: Annotated[str, Field(min_length=1, max_length=limits.QUESTION_CHARS_MAX)]
    choices: Annotated[list[_Choice], Field(max_length=limits.CHOICES_MAX)] = []
    correct: Annotated[
        list[Annotated[int, Field(ge=0, lt=limits.CHOICES_MAX)]],
        Field(max_length=limits.CHOICES_MAX),
    ] = []
    accepted: Annotated[list[_Spelling], Field(max_length=limits.ACCEPTED_MAX)] = []
    time_limit_ms: Annotated[
        int, Field(ge=limits.TIME_LIMIT_MS_MIN, le=limits.TIME_LIMIT_MS_MAX)
    ] = 20_000
    points: PointsMode = PointsMode.NORMAL
    explanation: Annotated[str, Field(max_length=limits.EXPLANATION_CHARS_MAX)] = ""


class QuizIn(_In):
    """A quiz; the project's own JSON format."""

    model_config = ConfigDict(extra="forbid", frozen=True, json_schema_extra={"example": _QUIZ})

    title: Annotated[str, Field(min_length=1, max_length=limits.TITLE_CHARS_MAX)]
    questions: Annotated[
        list[QuestionIn], Field(min_length=1, max_length=limits.QUIZ_QUESTIONS_MAX)
    ]
    description: Annotated[str, Field(max_length=limits.DESCRIPTION_CHARS_MAX)] = ""
    attribution: Annotated[str, Field(max_length=limits.DESCRIPTION_CHARS_MAX)] = ""


class QuizOut(BaseModel):
    """A quiz in the library."""

    quiz_id: str
    title: str
    question_count: int
    version: int
    created_at: datetime


class QuizFull(QuizOut):
    """A quiz with its questions."""

    quiz: QuizIn


class QuizListing(BaseModel):
    """One page of the library."""

    items: list[QuizOut]
    next: str | None


class NoteOut(BaseModel):
    """An item of an import, and what became of it. Lines count from 1."""

    line: int
    item: str
    reason: str


class ImportOut(QuizOut):
    """What an import made, which items it left out, and which it changed."""

    skipped: list[NoteOut]
    warnings: list[NoteOut]


class SettingsIn(_In):
    """How a session is played; see ``engine.model.SessionSettings``."""

    mode: Mode = Mode.LIVE
    scoring: ScoringPolicy = ScoringPolicy.SPEED
    streak_bonus: bool = False
    preview_ms: Annotated[int, Field(ge=0, le=limits.PREVIEW_MS_MAX)] = limits.PREVIEW_MS_DEFAULT
    close_when_all_answered: bool = True
    late_join: bool = True


class SessionIn(_In):
    """Open a session."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={
            "example": {"quiz_id": "9b2f7c0e-2f5b-4a43-9d8c-3d3f0c6f1a11", "settings": {}}
        },
    )

    quiz_id: Annotated[str, Field(min_length=1, max_length=64)]
    settings: SettingsIn = SettingsIn()


class SessionOpened(BaseModel):
    """A session that people can join."""

    session_id: str
    pin: str
    host_token: str
    viewer_token: str


class SessionOut(BaseModel):
    """A session in a listing."""

    session_id: str
    quiz_id: str
    pin: str
    title: str
    created_at: datetime
    finished_at: datetime | None
    ended_at: datetime | None


class SessionListing(BaseModel):
    """One page of the sessions."""

    items: list[SessionOut]
    next: str | None


class PresenceOut(BaseModel):
    """How many are connected: participants, each once, and sockets of hosts and scoreboards."""

    model_config = ConfigDict(json_schema_extra={"example": {"participants": 24, "viewers": 2}})

    participants: int
    viewers: int


class ViewerOut(BaseModel):
    """A viewer's token."""

    session_id: str
    token: str


class TokenIn(_In):
    """Which token of a session: of ``host`` or ``viewer``; without a role, one's own anew."""

    role: Literal["host", "viewer"] | None = None

    model_config = ConfigDict(
        extra="forbid", frozen=True, json_schema_extra={"example": {"role": "host"}}
    )


class TokenOut(BaseModel):
    """A token of a session. Its page has it behind ``#token=``."""

    session_id: str
    role: Role
    token: str
    expires_in_s: int


class TicketOut(BaseModel):
    """A ticket for the hello of one websocket."""

    session_id: str
    ticket: str
    expires_in_s: int


class HostCodeOut(BaseModel):
    """A QR code: the SVG path of its dark units, in a square of so many."""

    size: int
    path: str


class RevocationIn(_In):
    """Whose tokens of a session end; those who have one need a new link, or join again."""

    roles: Annotated[
        list[Literal["host", "viewer", "participant"]], Field(min_length=1, max_length=3)
    ]

    model_config = ConfigDict(
        extra="forbid", frozen=True, json_schema_extra={"example": {"roles": ["host"]}}
    )


class RevocationOut(BaseModel):
    """``host_token`` is a new one when the hosts' have ended, else null."""

    session_id: str
    host_token: str | None


class MoveIn(_In):
    """The host moves the session; see ``engine.wire.HostMove``."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={
            "example": {
                "command_id": "6c0e4b6a-5a0f",
                "step": "start",
                "phase": "lobby",
                "opening": 0,
            }
        },
    )

    command_id: _Key
    step: Step
    phase: Phase
    opening: _Number
    extra_ms: _Number = 0
    participant: _Number = 0
    participants: Annotated[list[_Number], Field(max_length=limits.REMOVED_AT_ONCE_MAX)] = []


class MoveDone(BaseModel):
    """Where the session stands after the move."""

    command_id: str
    phase: Phase
    opening: int


class PersonOut(BaseModel):
    """One participant in the host's roster."""

    participant_id: int
    nickname: str
    joined_s_ago: int
    has_connected: bool
    connected: bool | None


class RosterOut(BaseModel):
    """A page of the roster, newest first; ``matching`` counts all pages, ``next`` is null on the last."""

    matching: int
    items: list[PersonOut]
    next: int | None


class FastOut(BaseModel):
    """One participant, and how many of its answers came sooner than anybody reads."""

    participant_id: int
    nickname: str
    answers: int


class TooFastOut(BaseModel):
    """Whose answers took less than ``elapsed_ms_below``, most often first."""

    elapsed_ms_below: int
    items: list[FastOut]


class Health(BaseModel):
    """``ok``, or what is away."""

    status: str
