"""Hot path: an answer over HTTP. A bare ASGI route: FastAPI's own machinery costs more than the rest."""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from starlette.types import Receive, Scope, Send

from engine import limits
from engine.errors import Malformed, QuizError
from engine.ids import OpeningNo, SessionId
from engine.model import Mode
from engine.wire import (
    AnswerItem,
    FaultReply,
    ReceiptReply,
    encode_json,
    mask_of,
    receipt_of,
)
from serve_app.api.body import read_body
from serve_app.api.responses import send_problem, send_response
from serve_app.auth import Role, bearer
from serve_app.replica import Replica
from serve_app.viewer import error_of

_Number = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
_Choice = Annotated[int, msgspec.Meta(ge=0, lt=limits.CHOICES_MAX)]


class AnswerBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An answer: ``choices`` (indices from 0) or ``text``, never both."""

    opening: _Number
    choices: Annotated[tuple[_Choice, ...], msgspec.Meta(max_length=limits.CHOICES_MAX)] = ()
    text: Annotated[str, msgspec.Meta(max_length=limits.TYPED_CHARS_MAX)] = ""


_decode = msgspec.json.Decoder(AnswerBody).decode
#: What every refusal looks like in the OpenAPI document.
PROBLEM_CONTENT: Final[dict[str, Any]] = {
    "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
}
_HEADERS: Final = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]


class AnswerEndpoint:
    """``POST /sessions/{session_id}/answers`` as an ASGI application."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 200 with the receipt once the answer is stored, or problem details."""
        try:
            receipt = await self._answer(scope, receive)
        except QuizError as error:
            await send_problem(send, error)
        else:
            await send_response(send, 200, _HEADERS, receipt)

    async def _answer(self, scope: Scope, receive: Receive) -> bytes:
        session_id = SessionId(scope["path_params"]["session_id"])
        token = bearer(_header(scope, b"authorization"))
        claims = self._replica.tokens.check(token, Role.PARTICIPANT, session_id=session_id)
        data = await read_body(receive)
        try:
            answer = _decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise Malformed(f"body: {error}") from None
        # HTTP has no socket to which the question was written: elapsed time counts from the opening.
        item = AnswerItem(
            claims.participant_id,
            OpeningNo(answer.opening),
            mask_of(answer.choices),
            answer.text,
            -1,
        )
        reply = await self._replica.gateway.ask(session_id, item)
        if isinstance(reply, FaultReply):
            raise error_of(reply)
        assert isinstance(reply, ReceiptReply)
        # From here on nothing may fail: the answer is stored.
        mode = Mode.SELF_PACED if reply.tells_worth else Mode.LIVE
        return encode_json(receipt_of(reply, mode))


def _header(scope: Scope, name: bytes) -> str | None:
    for key, value in scope["headers"]:
        if key == name:
            return str(value.decode("latin-1"))
    return None


def answer_openapi() -> dict[str, Any]:
    """The OpenAPI description of the route, for the application's schema."""
    _, components = msgspec.json.schema_components([AnswerBody], ref_template="{name}")
    receipt = {
        "type": "object",
        "properties": {
            "type": {"const": "receipt"},
            "opening": {"type": "integer"},
            "choices": {"type": "array", "items": {"type": "integer"}},
            "text": {"type": "string"},
            "elapsed_ms": {"type": "integer"},
        },
        "required": ["type", "opening"],
    }
    codes = ("401", "403", "404", "409", "410", "413", "422", "503")
    return {
        "post": {
            "tags": ["play"],
            "summary": "Submit an answer",
            "description": "Stored before it is acknowledged; a repeat gets the same receipt.",
            "operationId": "submit_answer",
            "security": [{"bearer": []}],
            "parameters": [
                {
                    "name": "session_id",
                    "in": "path",
                    "required": True,
                    "schema": {"type": "string", "format": "uuid"},
                }
            ],
            "requestBody": {
                "required": True,
                "content": {
                    "application/json": {
                        "schema": components["AnswerBody"],
                        "example": {"opening": 3, "choices": [1]},
                    }
                },
            },
            "responses": {
                "200": {
                    "description": "The receipt",
                    "content": {
                        "application/json": {
                            "schema": receipt,
                            "example": {
                                "type": "receipt",
                                "opening": 3,
                                "choices": [1],
                                "elapsed_ms": 2140,
                            },
                        }
                    },
                },
                **{code: {"description": "Refused", "content": PROBLEM_CONTENT} for code in codes},
            },
        }
    }
