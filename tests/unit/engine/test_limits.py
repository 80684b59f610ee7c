"""Every limit is a whole number with a reason; what depends on each other fits together."""

import inspect
import re

import pytest

from engine import limits

SOURCE = inspect.getsource(limits)
NAMES = [name for name in vars(limits) if name.isupper()]


@pytest.mark.parametrize("name", NAMES)
def test_a_limit_is_a_positive_whole_number(name):
    value = getattr(limits, name)
    assert type(value) is int
    assert value > 0


@pytest.mark.parametrize("name", NAMES)
def test_a_limit_has_a_reason(name):
    """Its own, or that of the line above it, when the two belong together."""
    assert re.search(rf"^#: .*\n(?:(?:#: |[A-Z]).*\n)*?{name}: Final", SOURCE, re.MULTILINE)


@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith("_MIN")])
def test_the_least_is_not_more_than_the_most(name):
    most = getattr(limits, name.removesuffix("_MIN") + "_MAX", None)
    assert most is None or getattr(limits, name) <= most


def test_an_answer_in_the_grace_is_still_within_the_slack():
    """Else an answer given at the last moment would be clamped past the deadline."""
    assert limits.CLOSE_GRACE_MS < limits.DELIVERY_SLACK_MS_MAX


def test_a_quiz_of_the_usual_size_fits_its_body():
    """2,000 questions of 2 kB, far above OpenTriviaQA's 180 bytes."""
    assert limits.QUIZ_QUESTIONS_MAX * 2_000 < limits.QUIZ_BYTES_MAX
