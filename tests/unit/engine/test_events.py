"""Stored events come back as they were; their tags never change, because they are in databases."""

from typing import get_args

import msgspec
import pytest

from engine import events
from engine.errors import LaterVersion
from engine.events import NOTE_PREFIX, Skipped, decode_phase_event, encode_phase_event

STORED = [
    (
        events.Previewed(opening_no=1, question_index=0, opens_ms=9, at_ms=5, command_id="c"),
        b'{"type":"previewed","at_ms":5,"command_id":"c","opening_no":1,"question_index":0,"opens_ms":9}',
    ),
    (
        events.Opened(opening_no=1, question_index=0, closes_ms=9, at_ms=5),
        b'{"type":"opened","at_ms":5,"opening_no":1,"question_index":0,"closes_ms":9}',
    ),
    (
        events.Extended(opening_no=1, closes_ms=9, at_ms=5),
        b'{"type":"extended","at_ms":5,"opening_no":1,"closes_ms":9}',
    ),
    (events.Closed(opening_no=1, at_ms=5), b'{"type":"closed","at_ms":5,"opening_no":1}'),
    (events.ScoreboardShown(at_ms=5), b'{"type":"scoreboard_shown","at_ms":5}'),
    (events.SelfPacedOpened(at_ms=5), b'{"type":"self_paced_opened","at_ms":5}'),
    (
        events.DeadlineSet(closes_ms=9, at_ms=5, command_id="c"),
        b'{"type":"deadline_set","at_ms":5,"command_id":"c","closes_ms":9}',
    ),
    (events.Finished(at_ms=5), b'{"type":"finished","at_ms":5}'),
    (events.Cancelled(at_ms=5), b'{"type":"cancelled","at_ms":5}'),
    (
        events.Removed(participant_id=2, at_ms=5),
        b'{"type":"removed","at_ms":5,"participant_id":2}',
    ),
    (
        events.Returned(participant_id=2, join_key="a-second-key", at_ms=5),
        b'{"type":"returned","at_ms":5,"participant_id":2,"join_key":"a-second-key"}',
    ),
    (
        events.Locked(at_ms=5, command_id="c"),
        b'{"type":"locked","at_ms":5,"command_id":"c"}',
    ),
    (events.Locked(at_ms=5, flood=True), b'{"type":"locked","at_ms":5,"flood":true}'),
    (events.Unlocked(at_ms=5), b'{"type":"unlocked","at_ms":5}'),
]


@pytest.mark.parametrize(("event", "data"), STORED)
def test_the_stored_form(event, data):
    assert msgspec.json.decode(encode_phase_event(event)) == msgspec.json.decode(data)
    assert decode_phase_event(data) == event


def test_every_event_is_among_them():
    assert {type(event) for event, _ in STORED} == set(get_args(events.PhaseEvent))


# --- events of the next version -----------------------------------------------------------------------


def test_a_note_that_is_unknown_is_skipped_and_its_command_counts():
    data = b'{"type":"note:hand_raised","at_ms":5,"command_id":"c","who":{"id":2}}'
    assert decode_phase_event(data) == Skipped(at_ms=5, command_id="c")
    assert decode_phase_event('{"who":[],"at_ms":7,"type":"note:x"}') == Skipped(at_ms=7)


@pytest.mark.parametrize("tag", ["paused", "notepaper", "", "opened "])
def test_any_other_event_that_is_unknown_stops_the_reader(tag):
    with pytest.raises(LaterVersion, match=f"'{tag}'"):
        decode_phase_event(msgspec.json.encode({"type": tag, "at_ms": 5}))


@pytest.mark.parametrize(
    "data",
    [
        b'{"type":"opened","at_ms":5}',
        b'{"type":"locked","at_ms":5,"flood":"as of a later version"}',
        b'{"type":"note:hand_raised"}',
        b'{"at_ms":5}',
        b'{"type":7,"at_ms":5}',
        b"[]",
        b"",
        b"{",
    ],
)
def test_what_is_damaged_is_not_taken_for_newer(data):
    with pytest.raises(msgspec.DecodeError):
        decode_phase_event(data)


def test_a_field_that_was_added_to_a_known_event_is_ignored():
    data = b'{"type":"closed","at_ms":5,"opening_no":1,"by":"the clock"}'
    assert decode_phase_event(data) == events.Closed(opening_no=1, at_ms=5)


def test_no_event_that_a_state_depends_on_is_called_a_note():
    for event, _ in STORED:
        assert not type(event).__struct_config__.tag.startswith(NOTE_PREFIX)
