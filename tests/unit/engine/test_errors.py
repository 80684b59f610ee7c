"""Codes are stable, known, and travel between processes."""

import pickle
import re

import pytest

from engine import errors
from engine.errors import (
    CODES,
    ClientFault,
    Fenced,
    LaterVersion,
    Malformed,
    QuizError,
    ServerFault,
    Unavailable,
)


def tree(kind):
    """The engine's own errors; other packages derive theirs."""
    yield kind
    for child in kind.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from tree(child)


def test_every_error_has_a_known_code():
    assert {kind.code for kind in tree(QuizError)} <= set(CODES)


def test_every_code_reads_well():
    for code, meaning in CODES.items():
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", code)
        assert meaning
        assert not meaning.endswith(".")


def test_a_code_that_nobody_knows_is_our_own_mistake():
    with pytest.raises(ValueError, match="unknown error code"):
        Malformed("detail", "no_such_code")


@pytest.mark.parametrize("kind", list(tree(QuizError)))
def test_errors_survive_pickling(kind):
    again = pickle.loads(pickle.dumps(kind("what was wrong", "late")))
    assert (type(again), again.detail, again.code) == (kind, "what was wrong", "late")
    assert str(again) == "what was wrong"


def test_only_faults_of_the_server_are_worth_a_retry():
    retryable = {kind for kind in tree(QuizError) if kind.retryable}
    assert retryable == {Unavailable, Fenced, LaterVersion}
    assert all(issubclass(kind, ServerFault) for kind in retryable)
    assert not issubclass(ServerFault, ClientFault)


def test_the_drawn_tree_names_every_error():
    for kind in tree(QuizError):
        if kind not in (
            Unavailable,
            Fenced,
            LaterVersion,
        ):  # the drawing stops at whose fault it is
            assert kind.__name__ in errors.__doc__
