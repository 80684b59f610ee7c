"""The tables at the edge are complete and agree with each other."""

import msgspec
import pytest

from engine import limits
from engine.errors import CODES, ClientFault, QuizError, ServerFault, Unavailable
from serve_app.errors import CLOSE_CODES, HTTP_STATUS, problem, problem_headers
from serve_app.viewer import _CLOSE_NAMES, _FINAL


def every_kind(kind=QuizError):
    yield kind
    for inner in kind.__subclasses__():
        yield from every_kind(inner)


def test_every_code_has_a_status_and_no_status_is_left_over():
    assert set(HTTP_STATUS) == set(CODES)


def test_statuses_say_whose_fault_it_is():
    for kind in every_kind():
        status = HTTP_STATUS[kind.code]
        if issubclass(kind, ClientFault) and kind is not ClientFault:  # that one is never raised
            assert 400 <= status < 500, kind
        if issubclass(kind, ServerFault):
            assert status >= 500, kind


def test_close_codes_are_different_and_may_be_used():
    codes = [close.code for close in CLOSE_CODES.values()]
    assert len(set(codes)) == len(codes)
    assert all(code == 1012 or 4000 <= code < 4100 for code in codes)


def test_errors_that_close_a_socket_have_a_close_code():
    assert set(_FINAL) <= set(CLOSE_CODES)
    assert set(_FINAL) <= set(CODES)
    assert set(_CLOSE_NAMES.values()) <= set(CLOSE_CODES)
    assert set(_CLOSE_NAMES) <= set(CODES)
    assert not any(CLOSE_CODES[name].reconnect for name in _CLOSE_NAMES.values())


@pytest.mark.parametrize("code", list(CODES))
def test_problem_details_of_every_code(code):
    body = problem(QuizError("what was wrong", code))
    assert set(body) >= {"type", "title", "status", "detail"}, "RFC 9457"
    assert body["type"] == f"urn:rayquiz:error:{code}"
    assert (body["title"], body["status"]) == (CODES[code], HTTP_STATUS[code])
    assert (body["detail"], body["code"], body["retryable"]) == ("what was wrong", code, False)


def test_headers_of_a_problem():
    assert problem_headers(QuizError("x", "late")) == {"content-type": "application/problem+json"}
    assert problem_headers(QuizError("x", "unauthorized"))["www-authenticate"] == "Bearer"
    wait_s = int(problem_headers(Unavailable("away"))["retry-after"])
    assert wait_s * 1_000 == limits.RETRY_AFTER_MS
    assert problem(Unavailable("away"))["retryable"] is True


def test_what_a_client_wrote_can_always_be_told_back_and_is_not_told_at_length():
    detail = problem(QuizError("\ud800" + "x" * 100_000))["detail"]
    assert len(msgspec.json.encode(detail)) < 2_000
