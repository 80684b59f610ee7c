"""Pages have every answer once, in order, and none is larger than a page may be."""

from hypothesis import given
from hypothesis import strategies as st

from actors.answer_pages import OpeningCount, pages_of
from engine import limits


def count(opening_no, people):
    return OpeningCount(opening_no, len(people), max(people))


@given(
    st.dictionaries(
        st.integers(1, 40),
        st.sets(st.integers(1, 30), min_size=1),
        max_size=12,
    ),
    st.integers(1, 25),
)
def test_every_answer_is_on_one_page(answers, size):
    before, limits.READ_PAGE_ROWS = limits.READ_PAGE_ROWS, size
    try:
        pages = list(pages_of([count(n, people) for n, people in sorted(answers.items())]))
    finally:
        limits.READ_PAGE_ROWS = before
    read = []
    for first, last, first_who, last_who in pages:
        page = [
            (opening_no, who)
            for opening_no, people in sorted(answers.items())
            for who in sorted(people)
            if first <= opening_no <= last and first_who <= who <= last_who
        ]
        assert len(page) <= size
        read += page
    assert read == sorted((n, who) for n, people in answers.items() for who in people)


def test_openings_share_a_page():
    counts = [count(n, range(1, 501)) for n in range(1, 2_001)]
    assert len(list(pages_of(counts))) == 500
    assert len(list(pages_of([count(1, range(1, 5_001))]))) == 3
