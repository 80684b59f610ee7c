"""Who waits for whom at a take-over, and in which order it tells the tables."""

import asyncio
import os

import pytest

from actors import handover
from actors.handover import is_dead, settle_earlier
from actors.session_store import Claim, Place
from actors.sql import queries
from engine import limits
from engine.errors import Fenced
from engine.model import SessionSettings
from engine.testing.driver import SESSION_ID
from engine.testing.factories import make_quiz

HERE = Place("here", os.getpid())
GONE = Place("here", 2**22 + 1)  # above every process id that Linux gives
ELSEWHERE = Place("elsewhere", 1)
LEASE_S = (limits.LEASE_MS + limits.LEASE_MARGIN_MS) / 1000


class Tables:
    """Notes when it is asked what; a place is told as long as nobody has come later."""

    def __init__(self, told):
        self._told = told
        self.is_fenced = False

    async def fetch(self, query, *_args):
        assert query == queries["note_place"]
        self._told.append(("place", asyncio.get_running_loop().time()))
        return [] if self.is_fenced else [{"session_id": SESSION_ID}]


@pytest.fixture
def told(monkeypatch):
    """What was done, and when."""
    told = []

    async def pass_barrier(*_args):
        told.append(("barrier", asyncio.get_running_loop().time()))

    monkeypatch.setattr(handover, "pass_barrier", pass_barrier)
    return told


def claim(epoch, earlier):
    return Claim(SESSION_ID, epoch, 0, make_quiz(), SessionSettings(), earlier)


async def test_the_first_actor_tells_its_place_and_waits_for_nobody(told):
    await settle_earlier(Tables(told), None, claim(1, None), HERE)
    assert told == [("place", 0.0)]


@pytest.mark.parametrize("earlier", [None, GONE, HERE], ids=["untold", "gone", "this process"])
async def test_an_earlier_actor_that_is_dead_is_not_waited_for(told, earlier):
    await settle_earlier(Tables(told), None, claim(2, earlier), HERE)
    assert told == [("place", 0.0), ("barrier", 0.0)]


async def test_a_place_is_told_only_when_the_lease_of_the_earlier_actor_is_over(told):
    # Told before, it would hide that actor from whoever comes when this one dies in its wait.
    await settle_earlier(Tables(told), None, claim(2, ELSEWHERE), HERE)
    assert told == [("place", pytest.approx(LEASE_S)), ("barrier", pytest.approx(LEASE_S))]


async def test_who_was_overtaken_in_its_wait_sends_no_barrier(told):
    tables = Tables(told)
    tables.is_fenced = True
    with pytest.raises(Fenced):
        await settle_earlier(tables, None, claim(2, ELSEWHERE), HERE)
    assert [what for what, _ in told] == ["place"]


def test_only_who_is_gone_from_this_very_node_is_dead_for_certain():
    assert is_dead(GONE, HERE)
    assert not is_dead(ELSEWHERE, HERE)
    assert not is_dead(Place("here", os.getppid()), HERE)
