"""What stands in the broker is read by the release before and the release after."""

import msgspec
import pytest

from actors.log_message import (
    LOG_VERSION,
    BarrierMessage,
    BatchMessage,
    decode_log_message,
    encode_log_message,
)
from engine.errors import Malformed
from engine.testing.driver import SESSION_ID

BATCH = BatchMessage(LOG_VERSION, SESSION_ID, 3, [], [(1, "key-of-mia", "Mia", 1, 5)], [(2, "{}")])
BARRIER = BarrierMessage(LOG_VERSION, SESSION_ID, 3, 1)


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
