"""Every state of the hand-over is sound, and with any part of it taken away one is not.

Here each of two actors opens one connection; ``make prove`` lets them open more, and adds an actor.
"""

import pytest

from tests.model.handover import Rules, Word, explore

pytestmark = pytest.mark.simulation

#: Everything is in force.
ALL = Rules(connections=(1, 1))
#: Without the broker's word, as docs/adr/0003 has it: readings of the epoch alone.
READINGS = ALL._replace(mailbox=False, word=Word.NOTHING)


def test_what_is_acknowledged_is_what_the_tables_will_have():
    found = explore(ALL)
    assert found.problem is None, found.trace
    assert found.states > 30_000


def test_readings_alone_are_sound_and_need_no_mailbox():
    assert explore(READINGS).problem is None


def test_a_broker_that_is_cut_in_two_is_covered_by_readings_as_long_as_there_are_any():
    rules = ALL._replace(split=True, word=Word.NOTHING, outages=0)
    assert explore(rules).problem is None


@pytest.mark.parametrize(
    "rules",
    [
        ALL._replace(barrier=False),
        ALL._replace(mailbox=False),
        ALL._replace(word=Word.OF_ANY),
        ALL._replace(wait=False),
        ALL._replace(split=True),
        READINGS._replace(wait=False),
        READINGS._replace(set_aside=False),
    ],
    ids=[
        "no barrier",
        "no mailbox",
        "the word of any connection",
        "no wait",
        "a broker in two parts",
        "readings alone, no wait",
        "readings alone, nothing set aside",
    ],
)
def test_a_part_that_is_taken_away_is_missed(rules):
    found = explore(rules)
    assert found.problem is not None
    assert found.trace[0] == "1 claims the session"
    assert found.trace[-1].endswith("acknowledges")


def test_with_a_mailbox_nothing_comes_late():
    """Writers set late batches aside all the same: for a broker that gives it out twice."""
    assert explore(ALL._replace(set_aside=False)).problem is None
