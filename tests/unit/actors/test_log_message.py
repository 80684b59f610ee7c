"""What stands in the broker is read by the release before and the release after."""

import msgspec
import pytest

from actors.log_message import (
    LOG_VERSION,
    BarrierMessage,
    BatchMessage,
    batch_of,
    decode_log_message,
    encode_log_message,
)
from actors.ports import Record
from engine.errors import Malformed
from engine.events import Joined
from engine.testing.driver import SESSION_ID

BATCH = BatchMessage(LOG_VERSION, SESSION_ID, 3, [], [(1, "key-of-mia", "Mia", 1, 5)], [(2, "{}")])
BARRIER = BarrierMessage(LOG_VERSION, SESSION_ID, 3, 1)
JOINS = [
    Record(8, Joined(2, "key-of-ben", "Ben", 5, "a-phone")),
    Record(7, Joined(1, "key-of-mia", "Mia", 4)),
]


@pytest.mark.parametrize("message", [BATCH, BARRIER], ids=["batch", "barrier"])
def test_a_field_that_a_later_release_has_added_is_ignored(message):
    fields = msgspec.msgpack.decode(encode_log_message(message))
    assert decode_log_message(msgspec.msgpack.encode([*fields, "newer"])) == message


@pytest.mark.parametrize(
    "fields",
    [
        [2, LOG_VERSION + 1, SESSION_ID, 3, 1],
        [99, LOG_VERSION, SESSION_ID, 3, 1],
        [1, LOG_VERSION, SESSION_ID, 3, [], [(1, "key", "Mia", 1, 5, "a column more")], []],
    ],
    ids=["version", "kind", "column"],
)
def test_what_changes_the_meaning_is_refused_and_so_kept_as_a_dead_letter(fields):
    with pytest.raises(Malformed, match="log message"):
        decode_log_message(msgspec.msgpack.encode(fields))


def test_joins_travel_with_their_devices():
    sent = batch_of("a-session", 3, JOINS)
    received = decode_log_message(encode_log_message(sent))
    assert received == sent
    assert received.join_rows == [
        (1, "key-of-mia", "Mia", 7, 4, ""),
        (2, "key-of-ben", "Ben", 8, 5, "a-phone"),
    ]


def test_a_batch_of_the_version_before_has_joins_without_devices():
    older = [1, 1, "a-session", 3, [], [[1, "key-of-mia", "Mia", 7, 4]], []]
    received = decode_log_message(msgspec.msgpack.encode(older))
    assert received.join_rows == [(1, "key-of-mia", "Mia", 7, 4, "")]


def test_a_writer_of_the_version_before_finds_the_joins_as_it_knows_them():
    fields = msgspec.msgpack.decode(encode_log_message(batch_of("a-session", 3, JOINS)))
    known = tuple[int, int, str, int, list, list[tuple[int, str, str, int, int]], list]
    assert msgspec.convert(fields[:7], known)[5][0] == (1, "key-of-mia", "Mia", 7, 4)
