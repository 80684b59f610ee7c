"""The short form of ``make abuse``: memory, refusals and correctness; speed is the long form's."""

import pytest

from tests.abuse.trial import SHORT, run, scenarios


@pytest.mark.parametrize("module", scenarios())
def test_an_attack_takes_nothing_from_honest_people(live_site, module):
    assert run(live_site, module, SHORT).broken == []
