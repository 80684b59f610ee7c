"""What stands in a cell."""

import pytest

from serve_app.results_files import harmless


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\tx", "\rx"])
def test_a_spreadsheet_takes_no_nickname_for_a_formula(text):
    assert harmless(text) == f"'{text}"


def test_an_ordinary_nickname_stays():
    assert harmless("Mia = 1") == "Mia = 1"
