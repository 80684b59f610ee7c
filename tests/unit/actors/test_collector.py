"""What a process holds when it is ready is looked through no more, and still all cycles go."""

import gc
import weakref
from itertools import accumulate
from operator import mul

import pytest

from actors import collector
from actors.collector import collect_seldom


@pytest.fixture(autouse=True)
def restore():
    """Python's own thresholds at first, whatever ran in this process before."""
    collect_seldom.cache_clear()
    before = gc.get_threshold()
    gc.set_threshold(700, 10, 10)
    yield
    gc.unfreeze()
    gc.set_threshold(*before)


class Node:
    pass


def test_what_is_there_is_frozen_and_what_comes_is_collected_later():
    before = gc.get_threshold()
    collect_seldom()
    assert gc.get_freeze_count() > 0
    # A generation's turn comes after so many of the younger one's.
    seldom, often = (accumulate(of, mul) for of in (gc.get_threshold(), before))
    assert all(now > was for now, was in zip(seldom, often, strict=True))


def test_a_cycle_of_later_is_still_freed():
    collect_seldom()
    node = Node()
    node.itself = node
    gone = weakref.ref(node)
    del node
    kept = [[] for _ in range(gc.get_threshold()[0] + 1)]
    assert gone() is None
    assert kept


def test_a_cycle_that_has_grown_old_is_freed_within_six_million_objects(monkeypatch):
    # A twentieth of it: the bound is on the first of the thresholds.
    young, *older = collector._THRESHOLDS
    monkeypatch.setattr(collector, "_THRESHOLDS", (young // 20, *older))
    collect_seldom()
    node = Node()
    node.itself = node
    gone = weakref.ref(node)
    gc.collect(1)  # what is alive now belongs to the oldest generation
    del node
    kept = [[] for _ in range(300_000)]
    assert gone() is None
    assert kept
