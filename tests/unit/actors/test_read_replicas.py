"""How old what a replica shows may be, from positions in the log and one clock."""

import math

import pytest

from actors.read_replicas import Freshness
from engine import limits


@pytest.fixture
def freshness():
    return Freshness()


def test_of_a_replica_that_was_not_measured_nothing_is_known(freshness):
    assert freshness.lag_ms(1_000.0) == math.inf


def test_one_that_has_replayed_all_is_as_old_as_the_question(freshness):
    freshness.note(10.0, primary=500, replica=500)
    assert freshness.lag_ms(10.25) == 250


def test_an_idle_primary_leaves_no_lag(freshness):
    for second in range(1, 3_600):
        freshness.note(second, primary=500, replica=500)
        assert freshness.lag_ms(second + 0.5) == 500


def test_one_that_stays_behind_grows_old_from_the_last_position_that_it_reached(freshness):
    for second in range(1, 11):
        freshness.note(second, primary=second * 100, replica=min(second * 100, 300))
    assert freshness.lag_ms(10.0) == 7_000


def test_one_that_is_always_a_moment_behind_is_as_old_as_the_last_position_it_reached(freshness):
    for second in range(1, 100):
        freshness.note(second, primary=second * 100, replica=second * 100 - 1)
    assert freshness.lag_ms(99.0) == 1_000


def test_catching_up_is_noticed_position_by_position(freshness):
    for second in range(1, 6):
        freshness.note(second, primary=second * 100, replica=0)
    assert freshness.lag_ms(5.0) == math.inf
    freshness.note(6, primary=600, replica=250)
    assert freshness.lag_ms(6.0) == 4_000
    freshness.note(7, primary=700, replica=700)
    assert freshness.lag_ms(7.0) == 0


def test_one_that_was_long_behind_is_known_again_at_the_second_measurement(freshness):
    behind = 10 * limits.REPLICA_POSITIONS_MAX
    for second in range(1, behind):
        freshness.note(second, primary=second * 100, replica=0)
    everything = behind * 100
    freshness.note(behind, primary=everything, replica=everything)
    freshness.note(behind + 1, primary=everything, replica=everything)
    assert freshness.lag_ms(behind + 1) == 0


def test_one_that_goes_back_is_known_anew(freshness):
    """It was killed: until it is consistent again it shows less than it did."""
    freshness.note(1, primary=500, replica=500)
    freshness.note(2, primary=500, replica=400)
    assert freshness.lag_ms(2.0) == math.inf
    freshness.note(3, primary=500, replica=500)
    assert freshness.lag_ms(3.0) == 0
