"""Find a session by its PIN, and join it: what a hall does in the same few seconds."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from starlette.requests import cookie_parser

from engine import limits
from engine.ids import SessionId
from engine.model import Mode
from engine.session import STARTED, Lock
from engine.wire import (
    BatchReply,
    FaultReply,
    JoinedReply,
    JoinItem,
    ReturnItem,
    encode_json,
)
from serve_app.api.hot import Call, HotRoute, Reply, operation
from serve_app.device import device_of
from serve_app.errors import TooOften
from serve_app.viewer import error_of

#: Characters of a nickname that are taken in; the engine says how long one may be.
_NICKNAME_CHARS_MAX: Final = 200
_Key = Annotated[
    str, msgspec.Meta(min_length=limits.KEY_CHARS_MIN, max_length=limits.KEY_CHARS_MAX)
]


class PinInfo(msgspec.Struct, frozen=True):
    """The live session of a PIN.

    ``locked``: nobody new may join now; ``started``: because it takes nobody after its lobby.
    """

    session_id: str
    title: str
    mode: Mode
    finished: bool
    locked: bool
    started: bool


class JoinBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Join. The page makes a random ``join_key`` once and keeps it."""

    nickname: Annotated[str, msgspec.Meta(max_length=_NICKNAME_CHARS_MAX)]
    join_key: _Key


class ReturnBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Come back on another device: the personal code that the first one shows, and a new ``join_key``."""

    code: Annotated[str, msgspec.Meta(max_length=limits.PIN_TYPED_CHARS_MAX)]
    join_key: _Key


class Joined(msgspec.Struct, frozen=True):
    """A participant's place, its token for HTTP, and a ticket for the hello of a websocket."""

    session_id: str
    participant_id: int
    nickname: str
    token: str
    ticket: str


_decode = msgspec.json.Decoder(JoinBody).decode
_decode_return = msgspec.json.Decoder(ReturnBody).decode


async def _find(call: Call) -> Reply:
    replica = call.replica
    info = await replica.directory.by_pin(call.subject)
    door = Lock.OPEN.value if info.finished else await replica.doors.state(info.session_id)
    found = PinInfo(
        info.session_id,
        info.title,
        Mode(info.mode),
        info.finished,
        locked=door != Lock.OPEN,
        started=door == STARTED,
    )
    return Reply(200, encode_json(found))


async def _join(call: Call) -> Reply:
    replica = call.replica
    body = await call.body(_decode)
    info = await replica.directory.by_pin(call.subject)
    if not await replica.joins.take(info.session_id):
        raise TooOften(f"joins: at most {limits.JOINS_PER_S_MAX} a second are allowed in a session")
    cookies = cookie_parser(call.header(b"cookie") or "")
    device, set_cookie = device_of(cookies, info.session_id, body.join_key)
    reply = await replica.gateway.ask(
        info.session_id, JoinItem(body.join_key, body.nickname, device)
    )
    return _joined(call, info.session_id, reply, set_cookie)


async def _return(call: Call) -> Reply:
    replica = call.replica
    body = await call.body(_decode_return)
    info = await replica.directory.by_pin(call.subject)
    address = replica.addresses.of(call.scope)
    # Right or wrong, every try counts: a guesser learns nothing from those that are not looked at.
    if not (
        await replica.address_returns.take(f"{address} {info.session_id}")
        and await replica.returns.take(info.session_id)
    ):
        raise TooOften("codes: too many were tried; wait a minute")
    who = replica.tokens.who_returns(info.session_id, body.code)
    cookies = cookie_parser(call.header(b"cookie") or "")
    device, set_cookie = device_of(cookies, info.session_id, body.join_key)
    reply = await replica.gateway.ask(info.session_id, ReturnItem(who, body.join_key, device))
    return _joined(call, info.session_id, reply, set_cookie)


def _joined(call: Call, session_id: SessionId, reply: BatchReply, set_cookie: str) -> Reply:
    if isinstance(reply, FaultReply):
        raise error_of(reply)
    assert isinstance(reply, JoinedReply)
    who = reply.participant_id
    token, ticket = call.replica.tokens.participant_with_ticket(session_id, who, reply.returns)
    joined = Joined(session_id, who, reply.nickname, token, ticket)
    return Reply(201, encode_json(joined), [(b"set-cookie", set_cookie.encode())])


ROUTES: Final = (
    HotRoute(
        "GET",
        "/pins/{pin}",
        _find,
        operation(
            "Find a live session by its PIN",
            "Anybody may ask, with spaces or hyphens between; who asks for many that are not there "
            "must wait.",
            "pin",
            (200, "The session", PinInfo),
            needs_token=False,
        ),
        (PinInfo,),
    ),
    HotRoute(
        "POST",
        "/pins/{pin}/participants",
        _join,
        operation(
            "Join a session",
            "The same `join_key` is the same participant: sending it again changes nothing. A cookie "
            "tells the browser from others, so that whom the host removes does not come back by it.",
            "pin",
            (201, "The participant", Joined),
            needs_token=False,
            body=(JoinBody, {"nickname": "Mia", "join_key": "5c0f2b1e-77aa-4b0d"}),
        ),
        (JoinBody, Joined),
    ),
    HotRoute(
        "POST",
        "/pins/{pin}/returns",
        _return,
        operation(
            "Come back to a session",
            "On another device, or when the browser has forgotten the place: with the personal code "
            "(`code` of `welcome`). Points and answers stay, and the tokens and the `join_key` of the "
            "device before end. The same `join_key` sent again changes nothing.",
            "pin",
            (201, "The participant", Joined),
            needs_token=False,
            body=(ReturnBody, {"code": "7-482913", "join_key": "5c0f2b1e-77aa-4b0d"}),
        ),
        (ReturnBody, Joined),
    ),
)
