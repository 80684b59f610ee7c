"""Seeds hold; and without any one of the safeguards one does not, so the check can fail.

``make prove`` plays thousands of fresh seeds; these are always the same.
"""

import functools
import gc

import pytest

from tests.simulation.ablations import ABLATIONS
from tests.simulation.cluster import SETTINGS
from tests.simulation.play import simulate

pytestmark = pytest.mark.simulation

_SEEDS = range(1, 101)


@pytest.fixture(autouse=True)
def tidy():
    """Collect what the seeds leave behind: cycles of tasks that were cancelled at their end."""
    yield
    gc.collect()


@functools.cache
def outcomes(profile):
    """What came of the seeds; two tests look at them."""
    return [simulate(seed, profile=profile) for seed in _SEEDS]


@pytest.mark.xdist_group("seeds")
@pytest.mark.parametrize("profile", SETTINGS)
def test_every_invariant_holds_for_every_seed(profile):
    broken = [str(outcome) for outcome in outcomes(profile) if outcome.violations]
    assert not broken, "\n\n".join(broken)


@pytest.mark.xdist_group("seeds")
@pytest.mark.parametrize("profile", SETTINGS)
def test_seeds_reach_what_they_are_for(profile):
    found = outcomes(profile)
    assert sum(outcome.epochs > 1 for outcome in found) > 30, "take-overs"
    assert sum(outcome.acknowledged for outcome in found) > 1_000, "something to lose"
    if profile == "cluster":
        alone = sum(outcome.acknowledged_away for outcome in found)
        assert alone > 10, "the broker's word alone"


@pytest.mark.parametrize("profile", SETTINGS)
def test_a_seed_plays_the_same_again(profile):
    told = [[], []]
    first, again = (simulate(7, profile=profile, tell=lines.append) for lines in told)
    assert first == again
    # Line by line: of two long lists pytest would look for the smallest difference, for ever.
    for line, same in zip(*told, strict=True):
        assert line == same


@pytest.mark.parametrize("name", ABLATIONS)
def test_without_a_safeguard_its_invariant_breaks(name):
    """What the protocol does is drawn from the seed: after a change, another seed may be needed."""
    ablation = ABLATIONS[name]
    outcome = simulate(ablation.seed, without=name)
    assert outcome.violations, (
        f"nobody misses {name} with seed {ablation.seed}: if the safeguard is still needed, "
        f"`python -m tests.simulation --find {name}` finds a seed that shows it"
    )
    assert outcome.violations[0][0] in ablation.breaks, str(outcome)
