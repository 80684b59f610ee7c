"""A rate that all replicas share by key, kept in Redis; without Redis each replica keeps its own."""

from __future__ import annotations

import time
from typing import Final

from actors.cache import NOW_MS, Cache
from actors.tasks import SharedWork
from engine import limits
from engine.errors import Unavailable
from serve_app.rate import KeyedBuckets, Rate

#: A token bucket that grants as many of the wanted tokens as it has.
_GRANT: Final = f"""{NOW_MS}
local per_s, burst, wanted = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local bucket = redis.call('HMGET', KEYS[1], 'tokens', 'filled_ms')
local tokens = tonumber(bucket[1]) or burst
local idle_ms = math.max(0, now_ms - (tonumber(bucket[2]) or now_ms))
tokens = math.min(burst, tokens + idle_ms * per_s / 1000)
local granted = math.min(wanted, math.floor(tokens))
redis.call('HSET', KEYS[1], 'tokens', tokens - granted, 'filled_ms', now_ms)
redis.call('PEXPIRE', KEYS[1], math.ceil(burst / per_s * 1000) + 1000)
return granted
"""


class SharedRate:
    """Says whether one more is allowed. Takes tokens from Redis by the score, so most ask nobody.

    Args:
        name: of what is limited, for Redis' keys.
        rate: for each key, all replicas together; without Redis, each replica.
        keys_max: keys that are remembered.
    """

    def __init__(self, cache: Cache, name: str, rate: Rate, keys_max: int) -> None:
        self._cache = cache
        self._name = name
        self._rate = rate
        self._keys_max = keys_max
        self._own = KeyedBuckets(rate, keys_max)
        #: What Redis has granted and nobody has used: how many, and until when.
        self._credits: dict[str, tuple[int, float]] = {}
        self._asking = SharedWork[str, bool]()

    async def take(self, key: str) -> bool:
        """Take a token of a key, if there is one."""
        while not self._use(key):
            try:
                if not await self._asking.do(key, lambda: self._ask(key)):
                    return False
            except Unavailable:
                return self._own.take(key)
        return True

    def _use(self, key: str) -> bool:
        count, until = self._credits.get(key, (0, 0.0))
        if not count or time.monotonic() > until:
            return False
        self._credits[key] = (count - 1, until)
        return True

    async def _ask(self, key: str) -> bool:
        granted: int = await self._cache.ask(
            lambda client: client.eval(
                _GRANT,
                1,
                f"rayquiz:rate:{self._name}:{key}",
                self._rate.per_s,
                self._rate.burst,
                limits.JOINS_CREDIT,
            )
        )
        if len(self._credits) >= self._keys_max:
            self._credits.clear()
        self._credits[key] = (granted, time.monotonic() + limits.JOINS_CREDIT_MS / 1000)
        return granted > 0
