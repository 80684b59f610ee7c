"""A thousand seeds hold; and without any one of the safeguards some do not, so the check can fail."""

import gc

import pytest

from tests.simulation.ablations import ABLATIONS
from tests.simulation.play import simulate

pytestmark = pytest.mark.simulation

_SEEDS = 1_000
_CHUNKS = 10
#: So many seeds may pass before a missing safeguard is found; the rarest takes some hundreds.
_SEEDS_TO_FIND_MAX = 2_000


@pytest.fixture(autouse=True)
def tidy():
    """Collect what the seeds leave behind: cycles of tasks that were cancelled at their end."""
    yield
    gc.collect()


@pytest.mark.parametrize("chunk", range(_CHUNKS))
def test_every_invariant_holds_for_every_seed(chunk):
    seeds = range(1 + chunk * _SEEDS // _CHUNKS, 1 + (chunk + 1) * _SEEDS // _CHUNKS)
    broken = [str(outcome) for seed in seeds if (outcome := simulate(seed)).violations]
    assert not broken, "\n\n".join(broken)


def test_a_seed_plays_the_same_again():
    told = [[], []]
    first, again = (simulate(7, tell=lines.append) for lines in told)
    assert first == again
    # Line by line: of two long lists pytest would look for the smallest difference, for ever.
    for line, same in zip(*told, strict=True):
        assert line == same


def test_seeds_reach_what_they_are_for():
    outcomes = [simulate(seed) for seed in range(1, 101)]
    assert sum(outcome.epochs > 1 for outcome in outcomes) > 30, "take-overs"
    assert sum(outcome.acknowledged for outcome in outcomes) > 1_000, "something to lose"
    assert sum(outcome.acknowledged_away for outcome in outcomes) > 10, "the broker's word alone"


@pytest.mark.parametrize("name", ABLATIONS)
def test_without_a_safeguard_its_invariant_breaks(name):
    ablation = ABLATIONS[name]
    for seed in (ablation.seed, *range(1, _SEEDS_TO_FIND_MAX)):
        outcome = simulate(seed, without=name)
        if outcome.violations:
            assert outcome.violations[0][0] in ablation.breaks, str(outcome)
            return
    pytest.fail(f"nobody misses {name}")
