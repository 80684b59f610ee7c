"""How tests are named by their values."""

import pytest

_LONG = "x" * 5_000_000


@pytest.mark.parametrize("value", [_LONG, _LONG.encode(), bytes(range(256)) * 40])
def test_no_value_makes_a_long_name(value, request):
    assert len(value) > 10_000
    assert len(request.node.name) < 200


@pytest.mark.parametrize("value", ["short", "x" * 80])
def test_a_short_value_is_the_name(value, request):
    assert request.node.name.endswith(f"[{value}]")
