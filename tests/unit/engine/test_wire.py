"""Every message: its example, what is refused, and the largest of each."""

import re
from typing import get_args

import msgspec
import pytest

from engine import limits, wire
from engine.errors import CODES, Malformed, ServerFault
from engine.events import AnswerAccepted
from engine.ids import Epoch, FrameVersion
from engine.model import Mode, PointsMode, QuestionKind, Quiz, SessionSettings
from engine.phases import Step
from engine.testing.driver import START_MS, SessionDriver
from engine.testing.factories import make_question
from engine.view import Delta, apply, build_view, diff

CLIENT = get_args(wire.ClientMessage)
SERVER = get_args(wire.ServerMessage)
WIDE = "\U0001f600"  # four bytes


def examples(kinds):
    return [
        pytest.param(kind, text, id=kind.__name__)
        for kind in kinds
        for text in re.findall(r"^\s*Example: (.*)$", kind.__doc__, re.MULTILINE)
    ]


@pytest.mark.parametrize(("kind", "text"), examples(CLIENT))
def test_the_examples_of_clients_decode_and_encode_equal(kind, text):
    message = wire.decode_client_message(text)
    assert type(message) is kind
    full = msgspec.json.decode(wire.encode_json(message))
    given = msgspec.json.decode(text)
    assert {name: full[name] for name in given} == given
    assert wire.decode_client_message(wire.encode_json(message)) == message


@pytest.mark.parametrize(("kind", "text"), examples(SERVER))
def test_the_examples_of_the_server_decode_and_encode_equal(kind, text):
    message = wire.decode_server_message(text)
    assert type(message) is kind
    assert wire.encode_json(message).decode() == text


def test_every_message_of_clients_has_an_example():
    assert {param.values[0] for param in examples(CLIENT)} == set(CLIENT)


def test_every_tag_is_used_once():
    tags = [kind.__struct_config__.tag for kind in (*CLIENT, *SERVER)]
    assert len(tags) == len(set(tags))


@pytest.mark.parametrize(
    "data",
    [
        "", "null", "[]", "{}", "17", '"hello"', "{", '{"type":7}', '{"type":"nothing"}',
        '{"type":"ping","n":-1}', '{"type":"ping","n":2147483648}', '{"type":"ping","n":1.5}',
        '{"type":"ping","n":"1"}', '{"type":"ping","n":true}', '{"type":"ping","x":1}',
        '{"type":"ping"} {}', '{"type":"answer"}', '{"type":"answer","opening":null}',
        '{"type":"answer","opening":1,"choices":[8]}', '{"type":"answer","opening":1,"choices":1}',
        '{"type":"answer","opening":1,"choices":[-1]}',
        '{"type":"answer","opening":1,"choices":[0,1,2,3,4,5,6,7,0]}',
        f'{{"type":"answer","opening":1,"text":"{"x" * 201}"}}',
        '{"type":"answer","opening":1,"text":"\\ud800"}',
        '{"type":"move","command_id":"short","step":"next","phase":"lobby","opening":0}',
        '{"type":"move","command_id":"long enough","step":"jump","phase":"lobby","opening":0}',
        '{"type":"move","command_id":"long enough","step":"next","phase":"bar","opening":0}',
        '{"type":"hello"}', '{"type":"receipt","opening":1,"elapsed_ms":1}',
        b"\xff\xfe", b'{"type":"ping\xff"}', "[" * 2_000,
    ],
)  # fmt: skip
def test_what_is_no_message_is_malformed(data):
    with pytest.raises(Malformed) as caught:
        wire.decode_client_message(data)
    assert caught.value.code == "malformed"
    assert caught.value.detail.startswith("message: ")


def test_a_message_that_is_too_large_is_not_even_looked_at():
    with pytest.raises(Malformed, match="4097 bytes") as caught:
        wire.decode_client_message(b"x" * (limits.MESSAGE_BYTES_MAX + 1))
    assert caught.value.code == "too_large"


def test_the_largest_messages_of_clients_fit():
    largest = [
        wire.Hello("x" * 2_048, 2**31 - 1, 2**31 - 1),
        wire.Answer(2**31 - 1, tuple(range(limits.CHOICES_MAX)), WIDE * limits.TYPED_CHARS_MAX),
        wire.HostMove(WIDE * limits.KEY_CHARS_MAX, Step.REMOVE, "question_closed", 2**31 - 1),
    ]
    for message in largest:
        assert len(wire.encode_json(message)) <= limits.MESSAGE_BYTES_MAX


def largest_quiz():
    """Every text as long as it may be, in characters of four bytes."""
    questions = [
        make_question(
            QuestionKind.MULTIPLE,
            text=WIDE * limits.QUESTION_CHARS_MAX,
            choices=tuple(
                str(n) + WIDE * (limits.CHOICE_CHARS_MAX - 1) for n in range(limits.CHOICES_MAX)
            ),
            correct=tuple(range(limits.CHOICES_MAX)),
            explanation=WIDE * limits.EXPLANATION_CHARS_MAX,
            points=PointsMode.DOUBLE,
        ),
        make_question(
            QuestionKind.TYPED,
            text=WIDE * limits.QUESTION_CHARS_MAX,
            accepted=(WIDE * limits.TYPED_CHARS_MAX,) * limits.ACCEPTED_MAX,
            explanation=WIDE * limits.EXPLANATION_CHARS_MAX,
        ),
    ]
    return Quiz(
        WIDE * limits.TITLE_CHARS_MAX,
        tuple(questions),
        attribution=WIDE * limits.DESCRIPTION_CHARS_MAX,
    )


def test_the_largest_snapshot_and_delta_fit_one_frame():
    driver = SessionDriver(largest_quiz(), SessionSettings(preview_ms=0))
    for number in range(limits.ROSTER_ROWS_MAX):
        driver.join(f"{number:02}" + WIDE * (limits.NICKNAME_CHARS_MAX - 2))
    before = build_view(driver.state, Epoch(2**53), FrameVersion(2**53))
    for _ in driver.state.quiz.questions:
        driver.move(Step.START if not driver.state.current else Step.NEXT)
        driver.move(Step.CLOSE)
        view = build_view(driver.state, Epoch(2**53), FrameVersion(2**53 + 1))
        changes = diff(before, view)
        assert apply(Delta(view.epoch, view.version, changes), before) == view
        snapshot = wire.encode_json(wire.Snapshot(START_MS, view))
        delta = wire.encode_json(wire.DeltaFrame(view.epoch, view.version, START_MS, changes))
        assert len(delta) < len(snapshot) <= limits.FRAME_BYTES_MAX
        assert wire.decode_server_message(snapshot).view == view
        driver.move(Step.NEXT)


ANSWER = AnswerAccepted(7, 3, 2, 0b101, "", 2_140, True, 967, START_MS)


def test_a_receipt_of_live_play_tells_nothing_about_the_key():
    receipt = wire.receipt_of(ANSWER, Mode.LIVE)
    assert wire.encode_json(receipt) == (
        b'{"type":"receipt","opening":3,"elapsed_ms":2140,"choices":[0,2]}'
    )


def test_a_receipt_of_self_paced_play_says_what_it_was_worth():
    receipt = wire.receipt_of(ANSWER, Mode.SELF_PACED)
    assert (receipt.correct, receipt.points) == (True, 967)


def test_a_receipt_is_made_of_what_is_stored():
    """So that the first one, a repeat, and one after a crash are the same."""
    reply = wire.ReceiptReply(3, 0b101, "", 2_140, True, 967)
    for mode in Mode:
        assert wire.receipt_of(reply, mode) == wire.receipt_of(ANSWER, mode)


@pytest.mark.parametrize("mask", range(1 << limits.CHOICES_MAX))
def test_masks_and_choices_say_the_same(mask):
    assert wire.mask_of(wire.choices_of(mask)) == mask


def test_a_batch_comes_back_as_it_was():
    batch = [
        wire.AnswerItem(1, 2, 0b10, "", 1_500),
        wire.AnswerItem(2, 2, 0, WIDE * limits.TYPED_CHARS_MAX, -1),
        wire.JoinItem("join-key", "Mia"),
        wire.HelloItem(3),
        wire.MoveItem(Step.NEXT, "scoreboard", 2, "command-id", 0, 0),
    ]
    assert wire.decode_batch(wire.encode_pack(batch)) == batch
    reply = wire.BatchAnswer(
        Epoch(4),
        [
            wire.ReceiptReply(2, 0b10, "", 1_500, True, 900),
            wire.JoinedReply(1, "Mia"),
            wire.DoneReply("command-id", "question_open", 3),
            wire.FaultReply("late", "opening 2 is closed", False),
        ],
    )
    assert wire.decode_batch_answer(wire.encode_pack(reply)) == reply


def test_a_receipt_of_an_actor_of_the_version_before_is_read():
    old = msgspec.msgpack.encode([4, [[1, 2, 0b10, "", 1_500, True, 900]]])
    (reply,) = wire.decode_batch_answer(old).replies
    assert reply == wire.ReceiptReply(2, 0b10, "", 1_500, True, 900)
    assert not reply.tells_worth


def test_a_batch_of_choices_stays_under_what_ray_puts_into_a_message():
    item = wire.AnswerItem(limits.PARTICIPANTS_MAX, limits.QUIZ_QUESTIONS_MAX, 0xFF, "", 600_000)
    assert len(wire.encode_pack([item] * limits.BATCH_ITEMS_MAX)) < 100 * 1024


def test_publications_come_back_as_they_were():
    driver = SessionDriver()
    driver.join("Mia")
    view = build_view(driver.state, Epoch(1), FrameVersion(1))
    for publication in (
        wire.FramePublication(Epoch(1), FrameVersion(2), b'{"type":"delta"}'),
        wire.ResultsPublication(Epoch(1), FrameVersion(2), {}),
        wire.BeatPublication(Epoch(1), FrameVersion(2)),
        wire.GonePublication(Epoch(1), FrameVersion(2)),
    ):
        assert wire.decode_publication(wire.encode_pack(publication)) == publication
    answer = wire.SnapshotAnswer(START_MS, view, [])
    # What an actor of the version before sends has neither the removed nor the keys.
    before = msgspec.msgpack.encode(msgspec.msgpack.decode(wire.encode_pack(answer))[:3])
    assert wire.decode_snapshot(before) == answer
    assert wire.decode_snapshot(wire.encode_pack(answer)) == answer


# --- versions that run side by side -----------------------------------------------------------------


def pack(*items):
    return msgspec.msgpack.encode(items)


def test_a_newer_replica_s_item_fails_alone():
    items = wire.decode_batch(
        pack(
            [1, 1, 2, 0b10, "", 1_500],
            [1, 2, 2, 0b10, "", 1_500, 0, "a field that is newer"],
            [99, "an item that is newer"],
            [4, "a step that is newer", "lobby", 0, "command-id", 0, 0],
            [3, 7],
            [5, 7, "a-second-key", ""],
        )
    )
    assert items[:2] == [
        wire.AnswerItem(1, 2, 0b10, "", 1_500),
        wire.AnswerItem(2, 2, 0b10, "", 1_500, 0),
    ]
    assert [type(item) for item in items[2:4]] == [wire.UnreadableItem] * 2
    assert "99" in items[2].reason
    assert items[4:] == [wire.HelloItem(7), wire.ReturnItem(7, "a-second-key", "")]


def test_a_newer_actor_s_reply_fails_alone():
    answer = wire.decode_batch_answer(
        pack(
            4,
            [[2, 1, "Mia", 0, "a field that is newer"], [99, "newer"], [5, "late", "no", False]],
            1,
        )
    )
    assert answer.epoch == 4
    assert answer.replies[0] == wire.JoinedReply(1, "Mia")
    assert (answer.replies[1].code, answer.replies[1].retryable) == ("internal", False)
    assert answer.replies[2] == wire.FaultReply("late", "no", False)


def test_a_refusal_to_be_asked_again_is_a_retry_to_a_replica_that_knows_no_such_thing():
    class FaultReply(msgspec.Struct, array_like=True, tag=5):
        code: str
        detail: str
        retryable: bool

    again = wire.FaultReply("retry", "this may be refused", True, again=True)
    before = msgspec.msgpack.decode(wire.encode_pack(again), type=FaultReply)
    assert (before.code, before.retryable) == ("retry", True)
    assert wire.decode_batch_answer(pack(4, [[5, "late", "no", False]])).replies == [
        wire.FaultReply("late", "no", False, again=False)
    ]


@pytest.mark.parametrize("tag", [99, "a name"])
def test_a_newer_actor_s_publication_still_says_how_far_the_view_is(tag):
    beat = wire.BeatPublication(Epoch(3), FrameVersion(8))
    assert wire.decode_publication(pack(tag, 3, 8, {"what": "is newer"})) == beat
    assert wire.decode_publication(pack(3, 3, 8, "a field that is newer")) == beat


def test_a_newer_actor_s_view_that_cannot_be_shown_is_a_fault_with_a_code():
    with pytest.raises(ServerFault, match="another version"):
        wire.decode_snapshot(pack(START_MS, {"phase": "a phase that is newer"}, []))


@pytest.mark.parametrize(
    "decode", [wire.decode_batch, wire.decode_batch_answer, wire.decode_publication]
)
@pytest.mark.parametrize("data", [b"", b"\xff", pack(1)[:-1]])
def test_what_is_no_message_of_any_version_is_refused(decode, data):
    with pytest.raises(msgspec.MsgspecError):
        decode(data)


def test_a_fault_says_when_to_come_back_only_when_that_helps():
    assert wire.fault_of("late", "closed", retryable=False, opening=3).retry_after_ms == 0
    fault = wire.fault_of("retry", "away", retryable=True, command_id="command-id")
    assert (fault.retry_after_ms, fault.command_id) == (limits.RETRY_AFTER_MS, "command-id")
    assert fault.code in CODES
