"""Token buckets on a clock that the test moves."""

import pytest

from serve_app.rate import KeyedBuckets, Rate, TokenBucket


class Clock:
    now_s = 1_000.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


def taken(bucket, tries=100):
    return sum(bucket.take() for _ in range(tries))


def test_a_burst_and_then_so_many_a_second(clock):
    bucket = TokenBucket(Rate(per_s=8, burst=5), clock)
    assert taken(bucket) == 5
    clock.now_s += 0.375
    assert taken(bucket) == 3
    clock.now_s += 1_000
    assert taken(bucket) == 5


def test_a_trickle_is_never_refused(clock):
    bucket = TokenBucket(Rate(per_s=8, burst=1), clock)
    for _ in range(50):
        assert bucket.take()
        clock.now_s += 0.125


def test_keys_have_buckets_of_their_own(clock):
    buckets = KeyedBuckets(Rate(per_s=1, burst=2), keys_max=10, clock_s=clock)
    assert [buckets.take("a") for _ in range(3)] == [True, True, False]
    assert buckets.take("b")


def test_of_too_many_keys_those_unused_the_longest_are_forgotten(clock):
    buckets = KeyedBuckets(Rate(per_s=1, burst=1), keys_max=3, clock_s=clock)
    assert all(buckets.take(key) for key in ("a", "b", "c"))
    assert not buckets.take("a"), "and is used again"
    assert buckets.take("d")
    assert len(buckets) == 3
    assert not buckets.take("a")
    assert buckets.take("b"), "it was forgotten"
