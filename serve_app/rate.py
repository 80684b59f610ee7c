"""Token buckets: a burst at once, then so many a second. On the monotonic clock."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import NamedTuple, TypeVar

_K = TypeVar("_K")
_V = TypeVar("_V")


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

    def has_one(self) -> bool:
        """Whether there is a token."""
        now = self._clock_s()
        rate = self._rate
        self._tokens = min(rate.burst, self._tokens + (now - self._filled_at) * rate.per_s)
        self._filled_at = now
        return self._tokens >= 1

    def take(self) -> bool:
        """Take a token, if there is one."""
        if not self.has_one():
            return False
        self._tokens -= 1
        return True

    def give_back(self) -> None:
        """Put a token back that was taken."""
        self._tokens = min(self._rate.burst, self._tokens + 1)


class Recent(OrderedDict[_K, _V]):
    """A dictionary that keeps the keys that were set last, and no more than so many."""

    def __init__(self, keys_max: int) -> None:
        super().__init__()
        self._keys_max = keys_max

    def __setitem__(self, key: _K, value: _V) -> None:
        super().__setitem__(key, value)
        self.move_to_end(key)
        if len(self) > self._keys_max:
            self.popitem(last=False)


class KeyedBuckets:
    """A bucket for each key, made when it is asked for; of too many, those unused the longest go."""

    def __init__(
        self, rate: Rate, keys_max: int, clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._rate = rate
        self._clock_s = clock_s
        self._buckets = Recent[Hashable, TokenBucket](keys_max)

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, key: Hashable) -> bool:
        """Take a token of a key's bucket, if there is one."""
        bucket = self._buckets.get(key) or TokenBucket(self._rate, self._clock_s)
        self._buckets[key] = bucket
        return bucket.take()
