"""The rules, one by one. Laws that hold for every game stand in test_laws.py."""

import msgspec
import pytest

from engine import limits
from engine.commands import Join, Move, Return, SubmitAnswer
from engine.errors import ClientFault, Conflict, Malformed, NotFound, TooMany, Unauthorized
from engine.events import AnswerAccepted, Cancelled, Closed, Extended, Finished, Joined, Opened
from engine.ids import OpeningNo, ParticipantId
from engine.model import PointsMode, QuestionKind, ScoringPolicy, SessionSettings
from engine.names import clean_nickname, fold_nickname
from engine.phases import Phase, Step
from engine.recovery import restore, snapshot
from engine.session import (
    Lock,
    Pending,
    decide,
    door_of,
    due_ms,
    forgive_absence,
    lock_for_flood,
    rearm,
)
from engine.testing.driver import PLAIN, SELF_PACED, START_MS, SessionDriver
from engine.testing.factories import make_question, make_quiz

LIMIT_MS = 20_000


def opened(*questions, settings=PLAIN, people=("Mia", "Noah")):
    driver = SessionDriver(make_quiz(*questions or (make_question(), make_question())), settings)
    for nickname in people:
        driver.join(nickname)
    driver.move(Step.START)
    return driver


def refused(driver, code, command):
    """The command is refused with this code, and has changed nothing."""
    before = snapshot(driver.state)
    with pytest.raises(ClientFault) as caught:
        driver.do(command)
    assert caught.value.code == code
    assert snapshot(driver.state) == before
    return caught.value


def refused_answer(driver, code, who=1, opening_no=None, mask=0b10, text="", elapsed_ms=-1):
    opening_no = driver.state.current_no if opening_no is None else opening_no
    return refused(driver, code, SubmitAnswer(who, opening_no, mask, text, elapsed_ms))


# --- joining --------------------------------------------------------------------------------------


def test_participants_are_numbered_in_the_order_of_joining():
    driver = SessionDriver()
    assert [driver.join(name) for name in ("Mia", "Noah", "Lea")] == [1, 2, 3]


def test_the_same_key_is_the_same_participant_whatever_the_name():
    driver = SessionDriver()
    first = driver.join("Mia", "one-key")
    driver.move(Step.START)
    assert driver.join("Somebody else", "one-key") == first
    assert driver.state.participants[first].nickname == "Mia"
    assert len(driver.state.participants) == 1


def test_a_repeated_join_comes_back_even_after_the_end():
    driver = opened()
    driver.moves(Step.FINISH)
    assert driver.join("Mia") == 1


@pytest.mark.parametrize("key", ["nul\0inside", "surrogate\ud800", "line\nbreak"])
def test_a_key_that_no_log_could_store_is_refused(key):
    refused(opened(), "malformed", Join(key, "Noah"))
    move = Move(Step.CLOSE, Phase.QUESTION_OPEN, 1, command_id=key)
    refused(opened(), "malformed", move)


@pytest.mark.parametrize("other", ["Mia", "mia", " MIA ", "Mia\u200d", "M\uff49a", "Mia\ufe0f"])
def test_a_nickname_that_looks_the_same_is_taken(other):
    driver = SessionDriver()
    driver.join("Mia")
    refused(driver, "nickname_taken", Join("another-key", other))


@pytest.mark.parametrize(
    "nickname",
    ["", "  ", "x" * (limits.NICKNAME_CHARS_MAX + 1), "a\0b", "a\u202eb", "\u200d",
     "\u3164", "\u2800",
     "a\u200bb", "\ud800", "\ufe0f"],
)  # fmt: skip
def test_nicknames_that_cannot_be_seen_are_invalid(nickname):
    refused(SessionDriver(), "nickname_invalid", Join("some-key", nickname))


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("  Mia   Lou ", "Mia Lou"),
        ("Zoe\u0308", "Zoë"),
        ("👩‍🚀", "👩‍🚀"),
        ("名前", "名前"),
        ("<b>x</b>", "<b>x</b>"),
    ],
)
def test_nicknames_are_shown_tidily(given, shown):
    assert clean_nickname(given) == shown


def test_folding_a_nickname_twice_changes_nothing():
    for nickname in ("Mia", "STRASSE", "ﬁn", "👩‍🚀"):
        assert fold_nickname(fold_nickname(nickname)) == fold_nickname(nickname)


def test_late_joins_start_with_nothing_unless_they_are_not_allowed():
    driver = opened()
    late = driver.join("Lea")
    assert driver.state.scoreboard.rank(late) == 1
    strict = opened(settings=SessionSettings(preview_ms=0, late_join=False))
    assert refused(strict, "wrong_phase", Join("some-key", "Lea")).detail
    assert (door_of(driver.state), door_of(strict.state)) == ("open", "started")


def test_the_door_of_a_lobby_is_open_or_locked_whatever_comes_later():
    driver = SessionDriver(settings=SessionSettings(late_join=False))
    assert door_of(driver.state) == "open"
    driver.move(Step.LOCK)
    assert door_of(driver.state) == "host"


@pytest.mark.parametrize(
    ("chars", "preview_ms", "expected_ms"),
    [
        (8, 4_000, 4_000),
        (limits.PREVIEW_CHARS, 4_000, 4_000),
        (280, 4_000, 12_000),
        (800, 4_000, limits.PREVIEW_MS_MAX),
        (800, 0, 0),
    ],
)
def test_a_longer_question_stands_alone_for_longer(chars, preview_ms, expected_ms):
    question = msgspec.structs.replace(make_question(), text="x" * chars)
    driver = opened(question, settings=SessionSettings(preview_ms=preview_ms))
    opening = driver.state.current
    if preview_ms:
        assert opening.closes_ms - driver.now_ms == expected_ms
    assert driver.state.phase is (Phase.PREVIEW if preview_ms else Phase.QUESTION_OPEN)


@pytest.mark.parametrize("step", [Step.FINISH, Step.CANCEL])
def test_nobody_new_comes_in_after_the_end(step):
    driver = opened()
    driver.move(step)
    refused(driver, "session_over", Join("some-key", "Lea"))


def test_a_session_has_so_many_participants_and_no_more():
    driver = SessionDriver()
    for number in range(limits.PARTICIPANTS_MAX):
        driver.join(f"name {number}")
    with pytest.raises(TooMany):
        driver.join("one more")
    driver.move(Step.REMOVE, who=1)
    assert driver.join("one more") == limits.PARTICIPANTS_MAX + 1


def test_joins_on_their_way_count_for_the_maximum():
    driver = SessionDriver()
    for number in range(limits.PARTICIPANTS_MAX - 1):
        driver.join(f"name {number}")
    pending = Pending()
    (last,) = decide(driver.state, Join("last-key", "last"), START_MS, pending).events
    pending.add(last)
    with pytest.raises(TooMany):
        decide(driver.state, Join("another-key", "one more"), START_MS, pending)


def test_nobody_is_let_in_who_could_give_more_answers_than_a_session_may_have(monkeypatch):
    monkeypatch.setattr(limits, "ANSWERS_MAX", 6)
    driver = SessionDriver(make_quiz(make_question(), make_question(), make_question()))
    for name in ("Mia", "Ben"):
        driver.join(name)
    refusal = refused(driver, "session_full", Join("some-key", "Lea"))
    assert "the 6 answers" in refusal.detail
    # Questions that are over ask nobody any more, and who is in answers all that comes.
    driver.moves(Step.START, Step.CLOSE, Step.NEXT, Step.NEXT)
    lea = driver.join("Lea")
    for who in (1, 2, lea):
        driver.answer(who, 1)
    driver.moves(Step.CLOSE, Step.NEXT, Step.NEXT)
    for who in (1, 2, lea):
        driver.answer(who, 1)
    assert driver.state.answers_total == 6
    refused(driver, "session_full", Join("some-key", "Noah"))


def test_answers_of_the_removed_count_for_what_a_session_holds(monkeypatch):
    monkeypatch.setattr(limits, "ANSWERS_MAX", 4)
    driver = SessionDriver(make_quiz(make_question(), make_question()), SELF_PACED)
    for name in ("Mia", "Ben"):
        driver.join(name)
    driver.move(Step.START)
    driver.answer(1, 1, opening_no=1)
    driver.move(Step.REMOVE, who=1)
    refused(driver, "session_full", Join("some-key", "Lea"))


def test_a_session_numbers_so_many_people_in_its_life():
    driver = SessionDriver()
    driver.state.next_participant_id = limits.PARTICIPANT_ID_MAX
    assert driver.join("last") == limits.PARTICIPANT_ID_MAX
    with pytest.raises(TooMany) as refusal:
        driver.join("one more")
    assert refusal.value.code == "session_full"


def test_joins_that_are_not_stored_yet_are_found():
    driver = SessionDriver()
    pending = Pending()
    (first,) = decide(driver.state, Join("key-one", "Mia"), START_MS, pending).events
    pending.add(first)
    again = decide(driver.state, Join("key-one", "Mia"), START_MS + 5, pending)
    assert (again.events, again.repeats) == ((), first)
    with pytest.raises(Conflict, match="taken"):
        decide(driver.state, Join("key-two", "mia"), START_MS, pending)
    (second,) = decide(driver.state, Join("key-two", "Noah"), START_MS, pending).events
    assert isinstance(second, Joined)
    assert second.participant_id == 2
    pending.discard(first)
    decide(driver.state, Join("key-three", "mia"), START_MS, pending)


# --- answering ------------------------------------------------------------------------------------


def test_an_answer_counts_at_the_close_and_not_before():
    driver = opened()
    driver.wait(2_000)
    (event,) = driver.answer(1, 1).events
    assert (event.correct, event.points, event.elapsed_ms) == (True, 950, 2_000)
    assert driver.state.participants[1].points == 0
    driver.move(Step.CLOSE)
    assert list(driver.state.scoreboard.ranked()) == [(1, 950, 1), (2, 0, 2)]


def test_the_first_answer_stands():
    driver = opened()
    first = driver.answer(1, 0).events[0]
    driver.wait(500)
    again = driver.answer(1, 1)
    assert (again.events, again.repeats) == ((), first)
    driver.move(Step.CLOSE)
    assert driver.answer(1, 1, opening_no=1).repeats == first  # a repeat is no latecomer
    driver.move(Step.FINISH)
    assert driver.answer(1, 1, opening_no=1).repeats == first


def test_pending_knows_what_is_on_its_way_to_the_log():
    pending = Pending()
    answer = AnswerAccepted(1, 1, 0, 0b10, "", 0, True, 1_000, START_MS)
    join = Joined(2, "key-of-ben", "Ben", START_MS)
    for event in (answer, join):
        assert event not in pending
        pending.add(event)
        assert event in pending
        pending.discard(event)
        assert event not in pending


def test_an_answer_that_is_not_stored_yet_is_found():
    driver = opened()
    pending = Pending()
    command = SubmitAnswer(1, 1, 0b10)
    (first,) = decide(driver.state, command, driver.now_ms, pending).events
    pending.add(first)
    assert decide(driver.state, SubmitAnswer(1, 1, 0b1), driver.now_ms, pending).repeats == first
    pending.discard(first)
    assert decide(driver.state, command, driver.now_ms, pending).events == (first,)


@pytest.mark.parametrize(
    ("own_ms", "told_ms", "elapsed_ms"),
    [
        (5_000, -1, 5_000),  # nobody measured: the session's own time
        (5_000, 4_700, 4_700),  # a replica's measurement
        (5_000, 3_000, 3_000),  # just within the slack
        (5_000, 2_999, 3_000),  # a fresh socket earns nothing
        (5_000, 0, 3_000),
        (5_000, 9_000, 5_000),  # never more than the session's own
        (1_000, 0, 0),
        (0, 7, 0),
        (-50, -1, 0),  # the clock went back
    ],
)
def test_elapsed_time_is_clamped(own_ms, told_ms, elapsed_ms):
    driver = opened()
    driver.wait(own_ms)
    (event,) = driver.answer(1, 1, elapsed_ms=told_ms).events
    assert event.elapsed_ms == elapsed_ms


def test_an_absence_of_the_session_costs_nobody_any_time():
    driver = opened()
    driver.wait(12_000)
    forgive_absence(driver.state, driver.now_ms)
    driver.wait(1_000)
    assert driver.answer(1, 1, elapsed_ms=500).events[0].elapsed_ms == 500
    driver.wait(3_000)  # what came afterwards is clamped as ever, by the time since then
    assert driver.answer(2, 1, elapsed_ms=500).events[0].elapsed_ms == 2_000


def test_what_was_measured_in_time_counts_within_the_grace():
    driver = opened()
    driver.wait(LIMIT_MS + limits.CLOSE_GRACE_MS)
    assert driver.answer(1, 1, elapsed_ms=LIMIT_MS).events
    refused_answer(driver, "late", who=2, elapsed_ms=LIMIT_MS + 1)
    refused_answer(driver, "late", who=2)


@pytest.mark.parametrize(
    ("kind", "mask", "text"),
    [
        (QuestionKind.SINGLE, 0, ""),
        (QuestionKind.SINGLE, 0b11, ""),
        (QuestionKind.SINGLE, 0b1_0000, ""),
        (QuestionKind.SINGLE, -1, ""),
        (QuestionKind.SINGLE, 0b10, "words"),
        (QuestionKind.MULTIPLE, 0, ""),
        (QuestionKind.MULTIPLE, 0b1_0001, ""),
        (QuestionKind.TRUE_FALSE, 0b11, ""),
        (QuestionKind.TRUE_FALSE, 0b100, ""),
        (QuestionKind.TYPED, 0b1, "Canberra"),
        (QuestionKind.TYPED, 0, ""),
        (QuestionKind.TYPED, 0, " \u00a0"),
        (QuestionKind.TYPED, 0, "a\0b"),
        (QuestionKind.TYPED, 0, "x" * (limits.TYPED_CHARS_MAX + 1)),
    ],
)
def test_answers_that_do_not_fit_the_question(kind, mask, text):
    refused_answer(opened(make_question(kind)), "bad_choice", mask=mask, text=text)


def test_answers_at_the_wrong_time_or_of_nobody():
    driver = opened(settings=SessionSettings(preview_ms=4_000))
    refused_answer(driver, "not_open")
    refused_answer(driver, "not_found", opening_no=2)
    refused_answer(driver, "not_found", who=99)
    driver.moves(Step.NEXT, Step.CLOSE)
    refused_answer(driver, "late")
    with pytest.raises(NotFound):
        opened().answer(1, 1, opening_no=7)


def test_answers_in_the_lobby_find_no_opening():
    driver = SessionDriver()
    driver.join("Mia")
    refused_answer(driver, "not_found", opening_no=1)


# --- the host's commands --------------------------------------------------------------------------


def test_a_repeated_command_moves_nothing_and_gets_the_first_answer():
    driver = opened()
    command = Move(Step.CLOSE, Phase.QUESTION_OPEN, 1, command_id="close-once")
    driver.do(command)
    first = driver.state.commands_done["close-once"]
    driver.move(Step.NEXT)
    again = driver.do(command)
    assert (again.events, again.repeats) == ((), first)
    assert (first.phase, first.opening_no) == (Phase.QUESTION_CLOSED, 1)


@pytest.mark.parametrize(
    ("phase", "opening_no"), [(Phase.PREVIEW, 1), (Phase.QUESTION_OPEN, 2), (Phase.LOBBY, 0)]
)
def test_a_command_for_what_has_passed_is_stale(phase, opening_no):
    refused(opened(), "stale_command", Move(Step.CLOSE, phase, opening_no, command_id="a-command"))


def test_only_so_many_commands_are_remembered():
    driver = opened()
    for _ in range(limits.COMMANDS_REMEMBERED_MAX + 5):
        driver.move(Step.EXTEND, extra_ms=1_000)
    assert len(driver.state.commands_done) == limits.COMMANDS_REMEMBERED_MAX
    assert "command-1" not in driver.state.commands_done


def test_a_question_closes_by_itself_a_grace_after_its_deadline():
    driver = opened()
    driver.wait(LIMIT_MS + limits.CLOSE_GRACE_MS - 1)
    assert driver.move(Step.DUE).events == ()
    driver.wait(1)
    assert driver.move(Step.DUE).events == (Closed(opening_no=1, at_ms=driver.now_ms),)


def test_a_preview_opens_by_itself_at_its_time():
    driver = opened(settings=SessionSettings(preview_ms=4_000))
    driver.wait(3_999)
    assert driver.move(Step.DUE).events == ()
    driver.wait(1)
    (event,) = driver.move(Step.DUE).events
    assert event == Opened(
        opening_no=1, question_index=0, closes_ms=driver.now_ms + LIMIT_MS, at_ms=driver.now_ms
    )


def test_a_question_closes_when_everybody_who_is_in_has_answered():
    driver = opened(settings=SessionSettings(preview_ms=0), people=("Mia", "Noah", "Lea"))
    driver.answer(1, 1)
    assert not driver.state.all_answered
    driver.answer(2, 0)
    assert driver.move(Step.DUE).events == ()
    driver.move(Step.REMOVE, who=3)
    assert driver.state.all_answered
    assert driver.move(Step.DUE).events


def test_an_empty_session_waits_for_its_deadline():
    driver = opened(settings=SessionSettings(preview_ms=0), people=())
    assert not driver.state.all_answered
    assert driver.move(Step.DUE).events == ()


@pytest.mark.parametrize("extra_ms", [0, limits.EXTEND_MS_MIN - 1, limits.EXTEND_MS_MAX + 1])
def test_an_extension_out_of_bounds(extra_ms):
    driver = opened()
    with pytest.raises(Malformed, match="extra_ms"):
        driver.move(Step.EXTEND, extra_ms=extra_ms)


def test_an_extension_counts_from_the_deadline_or_from_now():
    driver = opened()
    driver.move(Step.EXTEND, extra_ms=5_000)
    assert driver.state.current.closes_ms == START_MS + LIMIT_MS + 5_000
    driver.wait(LIMIT_MS + 5_100)  # in the grace
    driver.move(Step.EXTEND, extra_ms=5_000)
    assert driver.state.current.closes_ms == driver.now_ms + 5_000
    driver.wait(4_000)
    (event,) = driver.answer(1, 1).events
    assert event.points == 500  # the scale is the question's, not the extended one


@pytest.mark.parametrize(("step", "last"), [(Step.FINISH, Finished), (Step.CANCEL, Cancelled)])
def test_an_open_question_is_closed_before_the_end(step, last):
    driver = opened()
    driver.answer(1, 1)
    closed, end = driver.move(step).events
    assert isinstance(closed, Closed)
    assert isinstance(end, last)
    assert driver.state.participants[1].points == 1_000


def test_the_last_question_leads_to_the_end_and_others_to_the_scoreboard():
    driver = opened()
    driver.moves(Step.CLOSE, Step.NEXT)
    assert driver.state.phase is Phase.SCOREBOARD
    driver.moves(Step.NEXT, Step.CLOSE, Step.NEXT)
    assert driver.state.phase is Phase.FINISHED
    assert driver.state.current_no == 2


# --- removal --------------------------------------------------------------------------------------


def test_who_is_removed_is_out_for_good_and_the_name_is_free():
    driver = opened()
    driver.answer(1, 1)
    driver.move(Step.REMOVE, who=1)
    assert list(driver.state.scoreboard.ranked()) == [(2, 0, 1)]
    refused(driver, "removed", Join("key-of-Mia", "Mia"))
    assert driver.join("Mia", "another-key") == 3
    driver.move(Step.CLOSE)
    assert 1 not in driver.state.scoreboard
    driver.moves(Step.NEXT, Step.NEXT)
    refused_answer(driver, "removed", who=1)


def test_several_are_removed_with_one_command():
    driver = opened(people=("Mia", "Noah", "Lea", "Finn"))
    driver.move(Step.REMOVE, who=2)
    decision = driver.move(Step.REMOVE, several=[3, 2, 1, 3])
    assert [event.participant_id for event in decision.events] == [3, 1]
    assert list(driver.state.scoreboard.ranked()) == [(4, 0, 1)]
    command = Move(Step.REMOVE, Phase.LOBBY, 0, "again", participants=(1, 3))
    assert refused(driver, "not_found", command).detail.startswith("participant: 1 ")
    command = Move(Step.REMOVE, Phase.LOBBY, 0, "command-3", participants=(4,))
    assert driver.do(command).events == (), "a repeat removes nobody else"


@pytest.mark.parametrize(
    "who",
    [
        {"participants": tuple(range(1, limits.REMOVED_AT_ONCE_MAX + 2))},
        {"participant_id": 1, "participants": (2,)},
    ],
)
def test_removals_that_make_no_sense_are_refused(who):
    driver = opened()
    refused(driver, "malformed", Move(Step.REMOVE, Phase.LOBBY, 0, "too-many", **who))
    assert len(driver.state.scoreboard) == 2


def test_who_is_removed_does_not_come_back_from_the_same_device():
    driver = SessionDriver()
    driver.join("Mia", "first-key", "a-tablet")
    driver.join("Noah", "second-key", "a-phone")
    driver.join("Lea", "third-key")
    driver.move(Step.REMOVE, several=[1, 3])
    refused(driver, "removed", Join("new-key", "Somebody else", "a-tablet"))
    assert driver.join("Finn", "a-key", "a-laptop") == 4
    assert driver.join("Ada", "b-key") == 5, "who has no device is not taken for Lea"
    assert driver.join("Noah", "second-key", "a-phone") == 2
    assert driver.join("Noah 2", "another-key", "a-phone") == 6, "one phone, two people"


def test_a_place_that_is_there_is_kept_whatever_becomes_of_its_device():
    """Two share a tablet, one is removed: the other one's place is still its own."""
    driver = SessionDriver()
    driver.join("Mia", "first-key", "a-tablet")
    driver.join("Noah", "second-key", "a-tablet")
    driver.move(Step.REMOVE, who=1)
    assert driver.join("Noah", "second-key", "a-tablet") == 2


# --- the lock -------------------------------------------------------------------------------------


@pytest.mark.parametrize("late", [False, True])
def test_a_locked_session_lets_nobody_new_in_and_everybody_back(late):
    driver = SessionDriver()
    driver.join("Mia")
    if late:
        driver.move(Step.START)
    driver.move(Step.LOCK)
    refused(driver, "locked", Join("key-of-Noah", "Noah"))
    refused(driver, "locked", Join("key-of-Noah", ""))
    assert driver.join("Mia") == 1
    driver.move(Step.UNLOCK)
    assert driver.join("Noah") == 2


def test_a_join_that_was_decided_before_the_lock_is_told_again():
    driver = SessionDriver()
    (first,) = decide(driver.state, Join("key-one", "Mia"), START_MS, driver.pending).events
    driver.pending.add(first)
    driver.move(Step.LOCK)
    again = decide(driver.state, Join("key-one", "Mia"), START_MS, driver.pending)
    assert again.repeats == first


def test_locking_twice_is_locking_once():
    driver = SessionDriver()
    driver.moves(Step.UNLOCK, Step.LOCK, Step.LOCK)
    assert driver.state.lock is Lock.HOST
    driver.moves(Step.UNLOCK, Step.UNLOCK)
    assert driver.state.lock is Lock.OPEN


@pytest.mark.parametrize("step", [Step.LOCK, Step.UNLOCK])
def test_a_session_that_is_over_is_neither_locked_nor_unlocked(step):
    driver = opened()
    driver.move(Step.FINISH)
    refused(driver, "session_over", Move(step, Phase.FINISHED, 1, "a-command"))


def flood(driver):
    events = lock_for_flood(driver.state, driver.now_ms)
    for event in events:
        driver.do_event(event)
    return len(events)


def test_a_flood_locks_once_and_not_again_when_the_host_has_undone_it():
    driver = SessionDriver()
    assert flood(driver) == 1
    assert driver.state.lock is Lock.FLOOD
    refused(driver, "locked", Join("a-key", "Mia"))
    assert flood(driver) == 0
    driver.move(Step.UNLOCK)
    assert driver.join("Mia") == 1
    assert flood(driver) == 0, "the host knows better"
    driver.moves(Step.LOCK, Step.UNLOCK)
    assert flood(driver) == 1, "who locks by hand wants to be told again"


def test_a_flood_changes_nothing_about_the_hosts_own_lock_or_a_session_that_is_over():
    driver = SessionDriver()
    driver.move(Step.LOCK)
    assert flood(driver) == 0
    driver.moves(Step.UNLOCK, Step.CANCEL)
    assert flood(driver) == 0


def test_answers_of_the_removed_keep_nothing_open_and_nobody_waiting():
    driver = opened(people=("Mia", "Noah", "Lea"))
    driver.answer(1, 1)
    driver.answer(2, 1)
    driver.move(Step.REMOVE, who=1)
    assert not driver.state.all_answered
    driver.answer(3, 1)
    assert driver.state.all_answered
    assert driver.state.answers_count(driver.state.current) == 2


def test_a_name_that_was_freed_and_taken_again_is_not_freed_by_recovery():
    """Recovery folds all joins first, so the removal comes after the second owner of the name."""
    driver = SessionDriver()
    driver.join("Mia", "first-key")
    driver.join("Mia again", "second-key")
    driver.state.nicknames["mia"] = 2
    driver.move(Step.REMOVE, who=1)
    assert driver.state.nicknames["mia"] == 2


@pytest.mark.parametrize("who", [0, 99, 1])
def test_removing_nobody_is_refused(who):
    driver = opened()
    driver.move(Step.REMOVE, who=1)
    with pytest.raises(NotFound):
        driver.move(Step.REMOVE, who=who)


# --- streaks, self-paced play, coming back --------------------------------------------------------


def test_a_streak_grows_with_right_answers_and_ends_with_a_wrong_one_or_none():
    settings = SessionSettings(
        scoring=ScoringPolicy.ACCURACY,
        streak_bonus=True,
        preview_ms=0,
        close_when_all_answered=False,
    )
    questions = [make_question() for _ in range(6)]
    questions[2] = make_question(points=PointsMode.NONE)
    driver = opened(*questions, settings=settings)
    gained = []
    for choice in (1, 1, 1, 1, None, 1):
        if choice is not None:
            driver.answer(1, choice)
        driver.answer(2, 0)
        driver.move(Step.CLOSE)
        gained.append((driver.state.participants[1].gained, driver.state.participants[1].streak))
        driver.moves(Step.NEXT)
        if driver.state.phase is Phase.SCOREBOARD:
            driver.move(Step.NEXT)
    assert gained == [(1_000, 1), (1_100, 2), (0, 3), (1_300, 4), (0, 0), (1_000, 1)]
    assert driver.state.participants[1].correct_count == 5
    assert driver.state.participants[2].streak == 0


def test_self_paced_play_opens_everything_and_counts_at_once():
    driver = opened(*make_quiz().questions, settings=SELF_PACED)
    assert driver.state.phase is Phase.SELF_PACED_OPEN
    assert list(driver.state.openings) == [1, 2, 3, 4]
    driver.wait(3_600_000)  # nobody is late
    driver.answer(1, text="canberra", opening_no=4)
    driver.answer(1, 0, opening_no=1)
    driver.answer(1, 0, 2, opening_no=2, elapsed_ms=4_000)
    assert list(driver.state.scoreboard.ranked()) == [(1, 2_000, 1), (2, 0, 2)]
    assert driver.state.openings[2].answers[1].elapsed_ms == 4_000
    driver.move(Step.FINISH)
    refused_answer(driver, "late", opening_no=3, mask=0b1)


@pytest.mark.parametrize("settings", [PLAIN, SELF_PACED])
def test_an_answer_that_comes_twice_from_the_log_counts_once(settings):
    driver = opened(settings=settings)
    (event,) = driver.answer(1, 1, opening_no=1).events
    before = snapshot(driver.state)
    driver.do_event(event)
    assert snapshot(driver.state) == before


def test_a_removed_participant_stays_out_of_a_self_paced_scoreboard():
    driver = opened(settings=SELF_PACED)
    pending_answer = decide(
        driver.state, SubmitAnswer(1, 1, 0b10), driver.now_ms, driver.pending
    ).events[0]
    driver.move(Step.REMOVE, who=1)
    driver.do_event(pending_answer)
    assert list(driver.state.scoreboard.ranked()) == [(2, 0, 1)]


def test_a_deadline_that_passed_while_away_moves():
    driver = opened()
    assert rearm(driver.state, driver.now_ms + LIMIT_MS - 1) == ()
    back_ms = driver.now_ms + LIMIT_MS
    assert rearm(driver.state, back_ms) == (
        Extended(opening_no=1, closes_ms=back_ms + limits.RECOVERY_GRACE_MS, at_ms=back_ms),
    )
    driver.move(Step.CLOSE)
    assert rearm(driver.state, back_ms) == ()
    assert rearm(SessionDriver().state, back_ms) == ()


def test_unauthorized_is_what_somebody_unknown_gets():
    with pytest.raises(Unauthorized):
        opened().answer(77, 1)


# --- coming back on another device ------------------------------------------------------------------


def come_back(driver, who, join_key, device=""):
    return driver.do(Return(ParticipantId(who), join_key, device))


def test_whoever_comes_back_keeps_points_and_answers_and_counts_once():
    driver = opened(people=())
    mia = driver.join("Mia")
    driver.answer(mia, 1)
    come_back(driver, mia, "a-second-key")
    first = driver.answer(mia, 1).repeats
    assert isinstance(first, AnswerAccepted)
    assert come_back(driver, mia, "a-second-key").repeats.participant_id == mia
    assert driver.join("Mia", "a-second-key") == mia
    driver.move(Step.CLOSE)
    assert driver.state.participants[mia].points == first.points > 0
    assert driver.state.participants[mia].returns == 1


def test_the_device_before_loses_the_place():
    driver = opened(people=())
    mia = driver.join("Mia", "the-first-key")
    come_back(driver, mia, "a-second-key")
    refused(driver, "unauthorized", Join("the-first-key", "Mia"))
    left = SubmitAnswer(mia, OpeningNo(1), 0b10, returns=0)
    refused(driver, "unauthorized", left)
    driver.do(msgspec.structs.replace(left, returns=1))
    # A replica of the version before does not tell which device it is.
    assert driver.do(msgspec.structs.replace(left, returns=-1)).repeats is not None


def test_who_may_not_come_back():
    driver = SessionDriver()
    mia, ben = driver.join("Mia", device="a-device"), driver.join("Ben", "key-of-ben-1")
    driver.move(Step.REMOVE, who=mia)
    refused(driver, "removed", Return(mia, "a-second-key"))
    refused(driver, "removed", Return(ben, "a-second-key", "a-device"))
    refused(driver, "not_found", Return(ParticipantId(9), "a-second-key"))
    refused(driver, "malformed", Return(ben, "key-of-Mia"))
    refused(driver, "malformed", Return(ben, "nul \0 key"))
    for number in range(limits.RETURNS_MAX):
        come_back(driver, ben, f"key-number-{number}")
    refused(driver, "too_many", Return(ben, "one-key-more"))
    driver.move(Step.CANCEL)
    refused(driver, "session_over", Return(ben, "one-key-more"))


def test_a_return_survives_a_recovery():
    driver = opened(people=())
    mia = driver.join("Mia", "the-first-key")
    come_back(driver, mia, "a-second-key")
    joined = [event for event in driver.events if isinstance(event, Joined)]
    others = [event for event in driver.events if not isinstance(event, Joined)]
    state = driver.state
    again = restore(state.session_id, state.quiz, state.settings, joined, others, [])
    assert snapshot(again) == snapshot(state)
    assert again.by_join_key["a-second-key"] == again.by_join_key["the-first-key"] == mia


# --- the end of self-paced play ---------------------------------------------------------------------


def test_self_paced_play_ends_at_the_deadline_that_was_set_last():
    driver = opened(settings=SELF_PACED)
    driver.move(Step.DEADLINE, extra_ms=60_000)
    driver.move(Step.DEADLINE, extra_ms=20_000)
    assert due_ms(driver.state) == driver.now_ms + 20_000 + limits.CLOSE_GRACE_MS
    driver.answer(1, 1, opening_no=1)
    driver.wait(20_000 + limits.CLOSE_GRACE_MS - 1)
    assert driver.move(Step.DUE).events == ()
    driver.answer(1, 1, opening_no=2)
    driver.wait(2)
    refused(driver, "late", SubmitAnswer(ParticipantId(2), OpeningNo(1), 0b10))
    driver.move(Step.DUE)
    assert driver.state.phase is Phase.FINISHED
    assert driver.state.answers_total == 2


def test_without_a_deadline_self_paced_play_does_not_end_by_itself():
    driver = opened(settings=SELF_PACED)
    driver.wait(10**9)
    assert due_ms(driver.state) == 0
    assert driver.move(Step.DUE).events == ()


@pytest.mark.parametrize("extra_ms", [limits.DEADLINE_MS_MIN - 1, limits.DEADLINE_MS_MAX + 1])
def test_a_deadline_has_bounds_and_belongs_to_self_paced_play(extra_ms):
    driver = opened(settings=SELF_PACED)
    refused(
        driver,
        "malformed",
        Move(Step.DEADLINE, Phase.SELF_PACED_OPEN, OpeningNo(0), "command-9", extra_ms),
    )
    live = opened()
    refused(
        live,
        "wrong_phase",
        Move(Step.DEADLINE, live.state.phase, OpeningNo(1), "command-9", 60_000),
    )


def test_a_deadline_that_passed_while_the_session_was_away_moves_once():
    driver = opened(settings=SELF_PACED)
    driver.move(Step.DEADLINE, extra_ms=20_000)
    assert rearm(driver.state, driver.now_ms) == ()
    driver.wait(30_000)
    (owed,) = rearm(driver.state, driver.now_ms)
    driver.do_event(owed)
    assert driver.state.closes_ms == driver.now_ms + limits.RECOVERY_GRACE_MS
    assert rearm(driver.state, driver.now_ms) == ()
