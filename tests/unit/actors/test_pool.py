"""How many blank actors are kept: by what was given away, by what lives, by what fits."""

from actors.pool import Demand
from engine import limits

WINDOW_S = limits.OPENINGS_WINDOW_MS / 1000
REST_S = limits.POOL_REST_MS / 1000
MOST = limits.EXTRA_WARM_ACTORS_MAX


def test_at_rest_there_are_as_many_as_were_asked_for():
    assert [Demand(rest).wanted(0.0, 0, 100) for rest in (0, 1, 5)] == [0, 1, 5]
    assert Demand(1).kept(0.0, 0, 100) == 1


def test_what_was_given_away_within_the_window_is_wanted_again():
    demand = Demand(1)
    for at_s in (0.0, 0.5, 1.0):
        demand.note(at_s)
    assert demand.wanted(1.0, 0, 100) == 3
    assert demand.wanted(WINDOW_S + 0.1, 0, 100) == 2
    assert demand.wanted(WINDOW_S + 2.0, 0, 100) == 1


def test_a_lone_opening_is_no_wave():
    demand = Demand(1)
    demand.note(0.0)
    assert demand.wanted(0.0, 0, 100) == 1


def test_what_was_started_stays_until_nothing_was_given_away_for_a_while():
    demand = Demand(1)
    demand.note(0.0)
    assert demand.kept(REST_S - 1, 0, 100) == 1 + MOST
    assert demand.kept(REST_S, 0, 100) == 1


def test_more_sessions_want_a_larger_pool():
    live = 2 * limits.SESSIONS_PER_WARM_ACTOR
    assert Demand(1).wanted(0.0, live, 100) == 3


def test_there_is_a_most_and_what_does_not_fit_is_not_wanted():
    demand = Demand(1)
    for _ in range(300):
        demand.note(0.0)
    assert demand.wanted(0.0, limits.SESSIONS_LIVE_MAX, 100) == 1 + MOST
    assert demand.wanted(0.0, limits.SESSIONS_LIVE_MAX, 2) == 3
    assert demand.wanted(0.0, limits.SESSIONS_LIVE_MAX, 0) == 1
