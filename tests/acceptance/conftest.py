"""A whole quiz that is being played while a test does harm."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.acceptance.rounds import Round


@pytest.fixture
def played(live_site: Any) -> Iterator[Round]:
    """A round to begin, to harm and to finish."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        yield Round(live_site, pool)
