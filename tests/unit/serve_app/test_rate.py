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


def test_full_again(clock):
    bucket = TokenBucket(Rate(per_s=8, burst=5), clock)
    assert bucket.is_full
    bucket.take()
    assert not bucket.is_full
    clock.now_s += 0.125
    assert bucket.is_full


def test_keys_have_buckets_of_their_own(clock):
    buckets = KeyedBuckets(Rate(per_s=1, burst=2), keys_max=10, clock_s=clock)
    assert [buckets.take("a") for _ in range(3)] == [True, True, False]
    assert buckets.take("b")


def test_only_buckets_that_are_full_again_are_forgotten(clock):
    buckets = KeyedBuckets(Rate(per_s=1, burst=2), keys_max=3, clock_s=clock)
    assert [buckets.take("busy") for _ in range(2)] == [True, True]
    assert all(buckets.take(key) for key in ("idle", "idle too"))
    clock.now_s += 1
    assert buckets.take("new")
    assert len(buckets) == 2, "those that only sat there went, busy stayed"
    assert [buckets.take("busy") for _ in range(2)] == [True, False]
