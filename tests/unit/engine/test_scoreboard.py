"""The scoreboard against a naive ranking, whatever is set and removed, and in whatever order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.scoreboard import Scoreboard

WHO = st.integers(1, 40)
CHANGES = st.lists(
    st.one_of(
        st.tuples(st.just("set"), WHO, st.integers(0, 5).map(lambda n: n * 500)),
        st.tuples(st.just("remove"), WHO, st.just(0)),
        st.tuples(st.just("look"), WHO, st.just(0)),
    ),
    max_size=120,
)


def naive(points):
    rows = [
        (who, value, 1 + sum(other > value for other in points.values()))
        for who, value in points.items()
    ]
    return sorted(rows, key=lambda row: (-row[1], row[0]))


@given(CHANGES, st.integers(0, 50))
def test_ranks_agree_with_a_naive_ranking(changes, rows):
    board, points = Scoreboard(), {}
    for change, who, value in changes:
        if change == "set":
            board.set(who, value)
            points[who] = value
        elif change == "remove":
            board.remove(who)
            points.pop(who, None)
        else:  # looking settles the order: it must not matter when one looks
            assert board.top(1) == naive(points)[:1]
    expected = naive(points)
    assert list(board.ranked()) == expected
    assert board.top(rows) == expected[:rows]
    assert board.points() == points
    assert len(board) == len(points)
    for who, _, rank in expected:
        assert who in board
        assert board.rank(who) == rank


def test_equal_points_share_a_rank_in_the_order_of_joining():
    board = Scoreboard()
    for who, points in ((4, 500), (1, 500), (3, 900), (2, 0)):
        board.set(who, points)
    assert list(board.ranked()) == [(3, 900, 1), (1, 500, 2), (4, 500, 2), (2, 0, 4)]


def test_nobody_has_no_rank():
    board = Scoreboard()
    board.set(1, 10)
    board.remove(1)
    board.remove(1)
    assert 1 not in board
    with pytest.raises(KeyError):
        board.rank(1)


def test_points_are_a_copy():
    board = Scoreboard()
    board.set(1, 10)
    board.points()[1] = 99
    assert board.points() == {1: 10}
