"""Cursors; what needs a database stands in tests/integration/actors."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from actors.library import make_cursor, parse_cursor
from engine.errors import Malformed

ROW_ID = "00000000-0000-4000-8000-000000000001"


@pytest.mark.parametrize("zone", [UTC, timezone(timedelta(hours=-5))])
def test_a_cursor_comes_back_as_the_place_that_it_names(zone):
    at = datetime(2026, 11, 24, 16, 0, 0, 123_456, zone)
    assert parse_cursor(make_cursor(at, ROW_ID)) == (at, ROW_ID)


def test_no_cursor_is_the_first_page():
    assert parse_cursor(None) == (None, None)


@pytest.mark.parametrize(
    "cursor",
    ["", "~", "x", "2026-11-24~", f"2026-11-24T16:00:00+00:00~{ROW_ID}x", f"yesterday~{ROW_ID}",
     f"0001-01-01T00:00:00+23:00~{ROW_ID}", "2026-11-24T16:00:00\0~", f"~{ROW_ID}"],
)  # fmt: skip
def test_what_no_listing_has_given_is_malformed(cursor):
    with pytest.raises(Malformed, match="cursor"):
        parse_cursor(cursor)
