"""Stored events come back as they were; their tags never change, because they are in databases."""

from typing import get_args

import msgspec
import pytest

from engine import events
from engine.events import decode_phase_event, encode_phase_event

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
    (events.Finished(at_ms=5), b'{"type":"finished","at_ms":5}'),
    (events.Cancelled(at_ms=5), b'{"type":"cancelled","at_ms":5}'),
    (
        events.Removed(participant_id=2, at_ms=5),
        b'{"type":"removed","at_ms":5,"participant_id":2}',
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
