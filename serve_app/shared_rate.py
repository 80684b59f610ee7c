"""Rates that all replicas share by key, kept in Redis; without Redis each replica keeps its own."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Final, NamedTuple

from actors.cache import NOW_MS, Cache
from actors.tasks import SharedWork
from engine import limits
from engine.errors import Unavailable
from serve_app.rate import KeyedBuckets, Rate, Recent

#: Reads a token bucket and fills it.
_FILL: Final = f"""{NOW_MS}
local per_s, burst, wanted = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local bucket = redis.call('HMGET', KEYS[1], 'tokens', 'filled_ms')
local tokens = tonumber(bucket[1]) or burst
local idle_ms = math.max(0, now_ms - (tonumber(bucket[2]) or now_ms))
tokens = math.min(burst, tokens + idle_ms * per_s / 1000)
"""
#: Keeps it for as long as it differs from a full one.
_KEEP: Final = """
redis.call('HSET', KEYS[1], 'tokens', tokens, 'filled_ms', now_ms)
redis.call('PEXPIRE', KEYS[1], math.ceil((burst - tokens) / per_s * 1000) + 1000)
"""
#: Grants as many of the wanted tokens as there are.
_GRANT: Final = f"""{_FILL}
local granted = math.max(0, math.min(wanted, math.floor(tokens)))
tokens = tokens - granted
{_KEEP}
return granted
"""
#: Takes tokens whether they are there or not; a bucket that lacks some has to fill up first.
_CHARGE: Final = f"""{_FILL}
tokens = math.max(tokens - wanted, -burst)
{_KEEP}
return tostring(tokens)
"""


def _key(name: str, key: str) -> str:
    return f"rayquiz:rate:{name}:{key}"


class _Credit(NamedTuple):
    """What is left of the tokens that Redis granted, of how many that were asked for; 0 for a refusal."""

    tokens: int
    until: float
    asked: int


class SharedRate:
    """Says whether one more is allowed. Takes tokens from Redis by the score, so most ask nobody.

    The more are used, the more are asked for, up to ``JOINS_CREDIT_MAX``: of a key that is seldom asked
    for none are left to lapse. A refusal is remembered until there may be a token again.

    Args:
        name: of what is limited, for Redis' keys.
        rate: for each key, all replicas together; without Redis, each replica.
        keys_max: keys that are remembered.
    """

    def __init__(self, cache: Cache, name: str, rate: Rate, keys_max: int) -> None:
        self._cache = cache
        self._name = name
        self._rate = rate
        self._own = KeyedBuckets(rate, keys_max)
        self._credits = Recent[str, _Credit](keys_max)
        self._asking = SharedWork[str, bool]()

    async def take(self, key: str) -> bool:
        """Take a token of a key, if there is one."""
        while True:
            credit = self._credits.get(key)
            if credit is not None and time.monotonic() <= credit.until:
                if credit.tokens:
                    self._credits[key] = credit._replace(tokens=credit.tokens - 1)
                    return True
                if not credit.asked:
                    return False
            try:
                if not await self._asking.do(key, lambda: self._ask(key)):
                    return False
            except Unavailable:
                return self._own.take(key)

    async def _ask(self, key: str) -> bool:
        before = self._credits.get(key)
        wanted = 1
        if before is not None and not before.tokens and time.monotonic() <= before.until:
            wanted = min(2 * before.asked, limits.JOINS_CREDIT_MAX)
        granted: int = await self._cache.ask(
            lambda client: client.eval(
                _GRANT, 1, _key(self._name, key), self._rate.per_s, self._rate.burst, wanted
            )
        )
        life_s = limits.JOINS_CREDIT_MS / 1000
        if not granted:
            life_s = min(life_s, 1 / self._rate.per_s)
        self._credits[key] = _Credit(granted, time.monotonic() + life_s, granted and wanted)
        return granted > 0


class SharedAllowance:
    """Counts by key what was done, and says how much of it is left: for what is known afterwards only.

    Who does it many times at once owes the rest, up to one burst: nothing is left until that has been
    made up for.

    Args:
        name: of what is counted, for Redis' keys.
        rate: what each key may do, all replicas together; without Redis, at each replica.
        keys_max: keys that are remembered.
    """

    def __init__(self, cache: Cache, name: str, rate: Rate, keys_max: int) -> None:
        self._cache = cache
        self._name = name
        self._rate = rate
        #: What was left, and when.
        self._left = Recent[str, tuple[float, float]](keys_max)
        #: What was done and not told to Redis yet.
        self._due: dict[str, int] = {}
        self._telling = SharedWork[str, None]()

    def left(self, key: str) -> float:
        """How much of it is left, as this replica knows; less than 1 is nothing."""
        left, since = self._left.get(key, (self._rate.burst, 0.0))
        return min(self._rate.burst, left + (time.monotonic() - since) * self._rate.per_s)

    async def charge(self, key: str) -> None:
        """Count one; return when all replicas can know of it, or Redis is away."""
        left = max(self.left(key) - 1, -self._rate.burst)
        self._left[key] = (left, time.monotonic())
        self._due[key] = self._due.get(key, 0) + 1
        with suppress(Unavailable):
            await self._telling.do(key, lambda: self._tell(key))

    async def _tell(self, key: str) -> None:
        while count := self._due.pop(key, 0):
            left: bytes = await self._cache.ask(
                lambda client, count=count: client.eval(  # type: ignore[misc]
                    _CHARGE, 1, _key(self._name, key), self._rate.per_s, self._rate.burst, count
                )
            )
            self._left[key] = (float(left) - self._due.get(key, 0), time.monotonic())
