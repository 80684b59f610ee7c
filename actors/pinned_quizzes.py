"""The quizzes that live sessions play, with the answers that are expected.

A version of a quiz never changes and a session pins one, so wherever a version is found, it is
right: under a time to live in Redis, on a read replica however far it lags, on the session's
primary. Each is asked only for what the one before it lacks
(docs/adr/0018-pinned-quizzes-in-redis.md).
"""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

import asyncpg
import msgspec

from actors.cache import Cache
from actors.postgres import LoneConnection
from actors.sql import queries
from engine import limits
from engine.errors import Unavailable
from engine.ids import QuizId
from engine.model import Quiz

log = logging.getLogger(__name__)

_decoder = msgspec.json.Decoder(Quiz)

#: How a session's quiz is read: with the session's primary, the quiz's id, and its version.
ReadQuiz: TypeAlias = Callable[[LoneConnection, QuizId, int], Awaitable[Quiz]]


async def read_from_primary(primary: LoneConnection, quiz_id: QuizId, version: int) -> Quiz:
    """The quiz as the session's primary has it; it has all that its sessions pin.

    Raises:
        Unavailable: the primary is away.
    """
    return _decoder.decode(await _body_on_primary(primary, quiz_id, version))


class PinnedQuizzes:
    """One process's way to them.

    Args:
        redis_url: of the Redis that all share.
        replica_urls: of the replicas of the catalogue, which has every quiz; may be empty.
    """

    def __init__(self, redis_url: str, replica_urls: Sequence[str]) -> None:
        self._cache = Cache(redis_url)
        self._replica_urls = replica_urls

    async def read(self, primary: LoneConnection, quiz_id: QuizId, version: int) -> Quiz:
        """See :data:`ReadQuiz`. However many ask at once, one of them reads a database.

        Raises:
            Unavailable: nobody who has it can be reached.
        """
        key = f"rayquiz:quiz:{quiz_id}:{version}"

        async def fill() -> bytes:
            return (await self._stored_body(primary, quiz_id, version)).encode()

        return await self._cache.read_through(key, limits.PINNED_QUIZ_TTL_MS, fill, _decoder.decode)

    async def _stored_body(self, primary: LoneConnection, quiz_id: QuizId, version: int) -> str:
        if self._replica_urls:
            url = random.choice(self._replica_urls)  # noqa: S311 - it spreads the load
            replica = LoneConnection(url, limits.REPLICA_READ_MS_MAX / 1000, is_primary=False)
            try:
                rows = await replica.fetch(queries["quiz_body"], quiz_id, version)
                if rows:
                    return str(rows[0]["body"])
            except (Unavailable, asyncpg.PostgresError) as error:
                log.warning("action=quiz_replica_failed reason=%s", error)
            finally:
                await replica.close()
        return await _body_on_primary(primary, quiz_id, version)

    async def close(self) -> None:
        """Give the connections back."""
        await self._cache.close()


async def _body_on_primary(primary: LoneConnection, quiz_id: QuizId, version: int) -> str:
    [row] = await primary.fetch(queries["quiz_body"], quiz_id, version)  # a foreign key holds it
    return str(row["body"])
