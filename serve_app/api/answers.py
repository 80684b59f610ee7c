"""An answer over HTTP."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from engine import limits
from engine.ids import OpeningNo, SessionId
from engine.model import Mode
from engine.wire import (
    AnswerItem,
    FaultReply,
    Receipt,
    ReceiptReply,
    encode_json,
    mask_of,
    receipt_of,
)
from serve_app.api.hot import Call, HotRoute, Reply, operation
from serve_app.auth import Role, bearer
from serve_app.viewer import error_of

_Number = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
_Choice = Annotated[int, msgspec.Meta(ge=0, lt=limits.CHOICES_MAX)]


class AnswerBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An answer: ``choices`` (indices from 0) or ``text``, never both."""

    opening: _Number
    choices: Annotated[tuple[_Choice, ...], msgspec.Meta(max_length=limits.CHOICES_MAX)] = ()
    text: Annotated[str, msgspec.Meta(max_length=limits.TYPED_CHARS_MAX)] = ""


_decode = msgspec.json.Decoder(AnswerBody).decode


async def _submit(call: Call) -> Reply:
    """The receipt once the answer is stored."""
    session_id = SessionId(call.subject)
    token = bearer(call.header(b"authorization"))
    claims = call.replica.tokens.check(token, Role.PARTICIPANT, session_id=session_id)
    answer = await call.body(_decode)
    # HTTP has no socket to which the question was written: elapsed time counts from the opening.
    item = AnswerItem(
        claims.participant_id,
        OpeningNo(answer.opening),
        mask_of(answer.choices),
        answer.text,
        -1,
        claims.returns,
    )
    reply = await call.replica.gateway.ask(session_id, item)
    if isinstance(reply, FaultReply):
        raise error_of(reply)
    assert isinstance(reply, ReceiptReply)
    # From here on nothing may fail: the answer is stored.
    mode = Mode.SELF_PACED if reply.tells_worth else Mode.LIVE
    return Reply(200, encode_json(receipt_of(reply, mode)))


ROUTES: Final = (
    HotRoute(
        "POST",
        "/sessions/{session_id}/answers",
        _submit,
        operation(
            "Submit an answer",
            "Stored before it is acknowledged; a repeat gets the same receipt.",
            "session_id",
            (200, "The receipt", Receipt),
            body=(AnswerBody, {"opening": 3, "choices": [1]}),
        ),
        (AnswerBody, Receipt),
    ),
)
