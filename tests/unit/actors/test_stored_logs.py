"""Logs of every release are read by this one; see :mod:`tests.stored_logs`."""

import base64
from typing import get_args

import msgspec
import pytest

from actors.log_message import decode_log_message
from engine.events import AnswerAccepted, Joined, PhaseEvent, decode_phase_event, encode_phase_event
from engine.ids import SessionId
from engine.model import Quiz, SessionSettings
from engine.recovery import restore
from tests.stored_logs import LOGS, outcome

RECORDED = {
    (file.stem, name): session
    for file in sorted(LOGS.glob("*.json"))
    for name, session in msgspec.json.decode(file.read_bytes()).items()
}


@pytest.mark.parametrize("session", RECORDED.values(), ids=map("-".join, RECORDED))
def test_what_a_release_has_stored_is_folded_to_what_it_was(session):
    batch = decode_log_message(base64.b64decode(session["message"]))
    assert [event for _, event in batch.events] == session["events"]
    state = restore(
        SessionId(batch.session_id),
        msgspec.json.decode(session["quiz"], type=Quiz),
        msgspec.json.decode(session["settings"], type=SessionSettings),
        [Joined(who, key, name, at_ms, device) for who, key, name, _, at_ms, device in batch.join_rows],
        map(decode_phase_event, session["events"]),
        [
            AnswerAccepted(who, opening_no, *row[2:8], row[9])
            for row in batch.answers
            for opening_no, who in [row[:2]]
        ],
    )  # fmt: skip
    assert outcome(state) == session["outcome"]


@pytest.mark.parametrize("session", RECORDED.values(), ids=map("-".join, RECORDED))
def test_an_event_that_was_recorded_is_still_written_so_that_the_release_reads_it(session):
    for event in session["events"]:
        written = msgspec.json.decode(encode_phase_event(decode_phase_event(event)))
        assert written == msgspec.json.decode(event)


def test_a_release_has_recorded_every_kind_of_event_that_is_written():
    recorded = {type(decode_phase_event(e)) for s in RECORDED.values() for e in s["events"]}
    assert recorded == set(get_args(PhaseEvent))
