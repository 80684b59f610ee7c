"""Keeps the tokens of a process up to date: which keys are believed, and what was revoked.

Nobody looks anything up for a token. Each replica reads the file of keys and the table of revocations
every ``TOKENS_CHECK_INTERVAL_MS``, and remembers them. While the catalogue is away nothing can be
revoked either, so nothing is missed; a replica that alone has lost its way there learns of a revocation
when it finds it again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from contextlib import suppress

from actors.postgres import Database
from actors.revocations import revocations, store_revocation
from actors.settings import SettingsError
from actors.tasks import cancel
from engine import limits
from engine.errors import Unavailable
from engine.ids import SessionId
from serve_app.auth import Role, Tokens

log = logging.getLogger(__name__)

#: Revocations are remembered so much longer than tokens live: one that was renewed by a replica which
#: had not heard of its revocation yet lives that much longer.
_MARGIN_S = 3_600
_INTERVAL_S = limits.TOKENS_CHECK_INTERVAL_MS / 1000


class TokenWatch:
    """See the module.

    Args:
        tokens: what is kept up to date.
        catalogue: where revocations are stored.
    """

    def __init__(self, tokens: Tokens, catalogue: Database) -> None:
        self._tokens = tokens
        self._catalogue = catalogue
        #: Called with the sessions of which tokens were revoked.
        self.on_revoked: Callable[[set[SessionId]], None] = lambda _sessions: None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Look once, then every ``TOKENS_CHECK_INTERVAL_MS``."""
        await self.look()
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Look no more."""
        if self._task is not None:
            await cancel([self._task])

    async def revoke(self, session_id: SessionId, roles: Iterable[Role]) -> None:
        """End all tokens of a session's roles that were given until now; here at once.

        Raises:
            Unavailable: the catalogue is away; whether they were revoked is unknown.
        """
        now_ms = time.time_ns() // 1_000_000 + 1  # those of this millisecond, too
        await store_revocation(self._catalogue, session_id, [role.value for role in roles], now_ms)
        await self.look()

    async def look(self) -> None:
        """Read the keys and the revocations; what cannot be read stays as it was."""
        try:
            if self._tokens.reload_keys():
                log.warning("action=keys_changed")
        except SettingsError as error:
            log.warning("action=keys_unreadable reason=%s", error)
        since_ms = (int(time.time()) - limits.TOKEN_LIFE_S - _MARGIN_S) * 1_000
        with suppress(Unavailable):
            fresh = self._tokens.revoke(await revocations(self._catalogue, since_ms))
            if fresh:
                self.on_revoked(fresh)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(_INTERVAL_S)
            try:
                await self.look()
            except Exception:
                log.exception("action=token_watch_failed")
