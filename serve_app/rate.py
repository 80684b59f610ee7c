"""Token buckets: a burst at once, then so many a second. On the monotonic clock."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from typing import NamedTuple


class Rate(NamedTuple):
    """What is allowed: ``burst`` at once, and ``per_s`` a second in the long run."""

    per_s: float
    burst: int


class TokenBucket:
    """Says whether one more is allowed now. O(1)."""

    __slots__ = ("_clock_s", "_filled_at", "_rate", "_tokens")

    def __init__(self, rate: Rate, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._clock_s = clock_s
        self._tokens = float(rate.burst)
        self._filled_at = clock_s()

    def take(self) -> bool:
        """Take a token, if there is one."""
        now = self._clock_s()
        rate = self._rate
        self._tokens = min(rate.burst, self._tokens + (now - self._filled_at) * rate.per_s)
        self._filled_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    @property
    def is_full(self) -> bool:
        """Whether nothing was taken lately: the bucket is like a new one."""
        idle_s = self._clock_s() - self._filled_at
        return self._tokens + idle_s * self._rate.per_s >= self._rate.burst


class KeyedBuckets:
    """A bucket for each key, made when it is asked for; those that are full again are forgotten."""

    def __init__(
        self, rate: Rate, keys_max: int, clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._rate = rate
        self._keys_max = keys_max
        self._clock_s = clock_s
        self._buckets: dict[Hashable, TokenBucket] = {}

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, key: Hashable) -> bool:
        """Take a token of a key's bucket, if there is one."""
        bucket = self._buckets.get(key)
        if bucket is None:
            if len(self._buckets) >= self._keys_max:
                self._buckets = {k: b for k, b in self._buckets.items() if not b.is_full}
            bucket = self._buckets[key] = TokenBucket(self._rate, self._clock_s)
        return bucket.take()
