"""Which browser somebody joins from, so that a removal holds for it.

The server's own cookie says it: no script reads or changes it, it outlives a cleared
``localStorage``, and the page has nothing to do with it. Nobody is known by it beyond one session:
the session's log has a fingerprint of the cookie and the session's id together. Who deletes cookies,
or takes a private window, is another device; against that the host locks the session.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Final

from engine import limits
from engine.ids import SessionId

COOKIE: Final = "rayquiz_device"
_ATTRIBUTES: Final = f"HttpOnly; Max-Age={limits.DEVICE_COOKIE_S}; Path=/; SameSite=Strict"
_ID: Final = re.compile(r"[0-9a-f]{32}")
#: Hexadecimal digits of a fingerprint: 64 bits, far more than one session's devices need.
_FINGERPRINT_CHARS: Final = 16


def device_of(cookies: Mapping[str, str], session_id: SessionId, join_key: str) -> tuple[str, str]:
    """The fingerprint of the browser that joins, within a session; and the ``Set-Cookie`` of its id.

    A browser without the cookie gets an id that follows from its join key, which is random: so a join
    whose answer was lost gives the same one when it is sent again.
    """
    device = cookies.get(COOKIE, "")
    if not _ID.fullmatch(device):
        device = _digest("device", join_key)[:32]
    return _digest(session_id, device)[:_FINGERPRINT_CHARS], f"{COOKIE}={device}; {_ATTRIBUTES}"


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode(errors="surrogatepass")).hexdigest()
