"""Laws that hold for every game: Hypothesis plays, and after each command they are checked.

Where a law can be told by a single example, that example stands with its module's own tests.
"""

from __future__ import annotations

import random

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from engine.commands import Join, Move, SubmitAnswer
from engine.errors import ClientFault
from engine.events import (
    AnswerAccepted,
    Joined,
    Locked,
    Removed,
    Unlocked,
    decode_phase_event,
    encode_phase_event,
)
from engine.ids import Epoch, FrameVersion
from engine.model import PointsMode, QuestionKind, ScoringPolicy, SessionSettings
from engine.phases import Phase, Step
from engine.recovery import Digest, Fold, restore, run, snapshot, state_digest
from engine.scoring import Given, points_in_all
from engine.session import Lock, decide, lock_for_flood
from engine.testing.auditor import audit
from engine.testing.driver import PLAIN, SELF_PACED, SESSION_ID, SessionDriver
from engine.testing.factories import make_question, make_quiz
from engine.view import Delta, apply, build_view, diff
from engine.wire import DeltaFrame, Snapshot, choices_of, encode_json, receipt_of

EPOCH = Epoch(3)
KEY = "KEY-OF-QUESTION-"
SETTINGS = st.one_of(
    st.just(SELF_PACED),
    st.builds(
        SessionSettings,
        scoring=st.sampled_from(ScoringPolicy),
        streak_bonus=st.booleans(),
        preview_ms=st.sampled_from([0, 2_000]),
        close_when_all_answered=st.booleans(),
        late_join=st.booleans(),
    ),
)
#: Few names and few participants, so that collisions and repeats are common.
NICKNAMES = st.sampled_from(["Mia", "MIA ", "Noah", "Lea", "", "x" * 25])
KEYS = st.sampled_from([f"join-key-{n}" for n in range(5)])
DEVICES = st.sampled_from(["", "tablet", "phone"])
WHO = st.integers(1, 6)
MASKS = st.integers(0, 31)
TEXTS = st.sampled_from(["", "canberra", "Sydney", f"{KEY}9"])
ELAPSED = st.one_of(st.just(-1), st.integers(0, 30_000))


def keyed_quiz():
    """One question of each kind and points; what only the key knows carries a mark."""
    points = list(PointsMode)
    return make_quiz(
        *(
            make_question(kind, points=points[n % 3], explanation=f"{KEY}{n}-", **(
                {"accepted": ("Canberra", f"{KEY}{n}-")} if kind is QuestionKind.TYPED else {}
            ))
            for n, kind in enumerate(QuestionKind)
        )
    )  # fmt: skip


def stored(driver):
    """The log as the tables hold it: joins, phase events through their stored form, answers."""
    joins = [event for event in driver.events if isinstance(event, Joined)]
    answers = [event for event in driver.events if isinstance(event, AnswerAccepted)]
    others = [
        decode_phase_event(encode_phase_event(event))
        for event in driver.events
        if not isinstance(event, AnswerAccepted | Joined)
    ]
    return joins, others, answers


def audited(driver):
    """What the naive scorer says, from the same data that the API's results have."""
    state = driver.state
    answers = [
        {
            "participant_id": event.participant_id,
            "opening": event.opening_no,
            "question_index": event.question_index,
            "choices": choices_of(event.choice_mask),
            "text": event.text,
            "elapsed_ms": event.elapsed_ms,
        }
        for event in driver.events
        if isinstance(event, AnswerAccepted)
        and (state.openings[event.opening_no].closed or state.settings == SELF_PACED)
    ]
    return audit(
        msgspec.to_builtins(state.quiz),
        msgspec.to_builtins(state.settings),
        list(state.participants),
        answers,
        [who for who, person in state.participants.items() if person.removed],
    )


class Game(RuleBasedStateMachine):
    """Random commands, most of them allowed, some of them not."""

    @initialize(chosen=SETTINGS)
    def begin(self, chosen):
        self.driver = SessionDriver(keyed_quiz(), chosen)
        self.accepted = []  # (time, command), for the replay
        self.refused = []
        self.view = build_view(self.driver.state, EPOCH, FrameVersion(1))
        self.frames = [encode_json(Snapshot(0, self.view))]

    def send(self, command):
        driver = self.driver
        before = snapshot(driver.state)
        frozen = msgspec.json.encode(before)
        try:
            decision = decide(driver.state, command, driver.now_ms, driver.pending)
        except ClientFault as fault:
            decision = None
            self.refused.append(fault.code)
        assert msgspec.json.encode(snapshot(driver.state)) == frozen, "decide changed something"
        if decision is None:
            return
        assert not (decision.events and decision.repeats)
        assert driver.do(command) == decision, "the same arguments gave another result"
        self.accepted.append((driver.now_ms, command))
        if not decision.events:
            assert snapshot(driver.state) == before, "a repeat changed something"
        self.publish()

    def publish(self):
        version = FrameVersion(self.view.version + 1)
        after = build_view(self.driver.state, EPOCH, version)
        changes = diff(self.view, after)
        if changes is None:
            assert after == msgspec.structs.replace(self.view, version=version)
            return
        frame = encode_json(DeltaFrame(EPOCH, version, 0, changes))
        received = msgspec.json.decode(frame, type=DeltaFrame)
        delta = Delta(received.epoch, received.version, received.changes)
        assert apply(delta, self.view) == after
        self.view = after
        self.frames.append(frame)
        self.check_nothing_tells_the_key(frame, encode_json(Snapshot(0, after)))

    def check_nothing_tells_the_key(self, *frames):
        state = self.driver.state
        asked = {
            opening.question_index
            for opening in state.openings.values()
            if opening.closed and opening.opened_ms
        }
        for frame in frames:
            for index in range(len(state.quiz.questions)):
                if index not in asked:
                    assert f"{KEY}{index}-".encode() not in frame
            if not (state.current and state.current.closed):
                assert b'"correct"' not in frame

    @rule(key=KEYS, nickname=NICKNAMES, device=DEVICES)
    def join(self, key, nickname, device):
        self.send(Join(key, nickname, device))

    @rule(key=KEYS)
    def join_with_a_name_of_ones_own(self, key):
        self.send(Join(key, f"name {key}"))

    @rule(lucky=st.integers(0, 3))
    def see_a_flood(self, lucky):
        if lucky:
            return  # or hardly anybody would get in
        for event in lock_for_flood(self.driver.state, self.driver.now_ms):
            self.driver.do_event(event)
        self.accepted.append((self.driver.now_ms, None))
        self.publish()

    @rule(lucky=st.integers(0, 2))
    def unlock(self, lucky):
        if lucky:
            self.move(Step.UNLOCK)

    @rule(who=st.lists(WHO, min_size=1, max_size=4))
    def remove_several(self, who):
        state = self.driver.state
        if len(state.scoreboard) > len(who):
            number = len(self.accepted)
            self.send(
                Move(
                    Step.REMOVE,
                    state.phase,
                    state.current_no,
                    f"removal-{number}",
                    participants=tuple(who),
                )
            )

    @rule(who=WHO, mask=MASKS, text=TEXTS, elapsed_ms=ELAPSED, opening_no=st.integers(0, 4))
    def answer_anything(self, who, mask, text, elapsed_ms, opening_no):
        self.send(SubmitAnswer(who, opening_no, mask, text, elapsed_ms))

    @rule(who=WHO, right=st.booleans(), elapsed_ms=ELAPSED, index=st.integers(0, 3))
    def answer_well(self, who, right, elapsed_ms, index):
        state = self.driver.state
        opening = state.current or state.openings.get(index + 1)
        if opening is None:
            return
        question = state.question(opening)
        if question.kind is QuestionKind.TYPED:
            text = "canberra" if right else "Sydney"
            self.send(SubmitAnswer(who, opening.opening_no, 0, text, elapsed_ms))
        else:
            mask = question.correct_mask if right else 0b1000 >> (4 - len(question.choices))
            self.send(SubmitAnswer(who, opening.opening_no, mask, "", elapsed_ms))

    @rule(step=st.sampled_from([Step.START, Step.NEXT, Step.NEXT, Step.CLOSE, Step.EXTEND]))
    def move_on(self, step):
        self.move(step)

    @rule(step=st.sampled_from(Step), who=WHO, lucky=st.integers(0, 3))
    def move_anyhow(self, step, who, lucky):
        if step in (Step.FINISH, Step.CANCEL, Step.LOCK) and lucky:
            return  # or most games would be over before they began
        self.move(step, who)

    @rule(step=st.sampled_from(Step), phase=st.sampled_from(Phase), opening_no=st.integers(0, 2))
    def move_as_one_who_is_late(self, step, phase, opening_no):
        if step not in (Step.FINISH, Step.CANCEL):
            self.send(Move(step, phase, opening_no, f"late-{step}-{phase}", 5_000))

    def move(self, step, who=0):
        state, number = self.driver.state, len(self.accepted)
        command_id = "" if step is Step.DUE else f"command-{number}"
        self.send(Move(step, state.phase, state.current_no, command_id, 5_000, who))

    @rule(ms=st.sampled_from([1, 400, 1_999, 2_000, 19_000, 20_400]))
    def wait(self, ms):
        self.driver.wait(ms)

    @rule(pick=st.randoms(use_true_random=False))
    def repeat_something(self, pick):
        commands = [command for _, command in self.accepted if command is not None]
        if commands:
            self.send(pick.choice(commands))

    @invariant()
    def nobody_gets_past_a_lock_or_a_removal(self):
        state = self.driver.state
        locked, removed, banned = False, set(), set()
        devices = {}
        for event in self.driver.events:
            if isinstance(event, Locked | Unlocked):
                locked = isinstance(event, Locked)
            elif isinstance(event, Joined):
                assert not locked
                assert not event.device or event.device not in banned
                devices[event.participant_id] = event.device
            elif isinstance(event, Removed):
                assert event.participant_id not in removed, "removed twice"
                removed.add(event.participant_id)
                banned |= {devices[event.participant_id]} - {""}
            elif isinstance(event, AnswerAccepted):
                assert event.participant_id not in removed
        assert (state.removed, state.banned_devices) == (removed, banned)
        assert (state.lock is not Lock.OPEN) == locked

    @invariant()
    def answers_that_count_are_those_of_people_who_are_in(self):
        state = self.driver.state
        for opening in state.openings.values():
            present = [who for who in opening.answers if who in state.scoreboard]
            assert state.answers_count(opening) == len(present)

    @invariant()
    def the_scoreboard_is_what_the_auditor_says(self):
        assert list(self.driver.state.scoreboard.ranked()) == audited(self.driver)

    @invariant()
    def what_is_stored_gives_the_same_state(self):
        joins, others, answers = stored(self.driver)
        mixed = random.Random(len(answers))
        mixed.shuffle(joins)
        mixed.shuffle(answers)
        state = self.driver.state
        again = restore(SESSION_ID, state.quiz, state.settings, joins, others, answers)
        assert snapshot(again) == snapshot(state)
        assert state_digest(again) == state_digest(state)
        # However the answers are cut into pages, and also when they are not kept.
        joins.sort(key=lambda join: join.participant_id)
        answers.sort(key=lambda answer: (answer.opening_no, answer.participant_id))
        cut = mixed.randint(0, len(answers))
        for digest in (None, Digest()):
            fold = Fold(SESSION_ID, state.quiz, state.settings, others, digest)
            for page in (fold.join(joins), fold.answer(answers[:cut]), fold.answer(answers[cut:])):
                run(page)
            folded = run(fold.end())
            assert folded.answers_total == len(answers)
            if digest is None:
                assert snapshot(folded) == snapshot(state)
            else:
                assert digest.of(folded) == state_digest(state)
        # Rows of the scoreboard also tell the rank before; a late joiner's is not stored.
        seen, anew = (
            msgspec.structs.replace(build_view(s, EPOCH, FrameVersion(1)), scoreboard=())
            for s in (state, again)
        )
        assert anew == seen

    def teardown(self):
        """The same commands at the same times give the same bytes."""
        if not hasattr(self, "driver"):
            return
        first = self.driver
        replay = Game()
        replay.driver = SessionDriver(first.state.quiz, first.state.settings)
        replay.accepted, replay.refused = [], []
        replay.view = build_view(replay.driver.state, EPOCH, FrameVersion(1))
        replay.frames = [encode_json(Snapshot(0, replay.view))]
        for now_ms, command in self.accepted:
            replay.driver.now_ms = now_ms
            if command is None:
                replay.see_a_flood(lucky=0)
            else:
                replay.send(command)
        assert replay.frames == self.frames
        assert replay.driver.events == first.events


TestGame = Game.TestCase
TestGame.settings = settings(stateful_step_count=60)


@st.composite
def answers_of_many(draw):
    """For each of six participants: a choice and a time within the first 1.5 s."""
    return [
        (who, draw(st.integers(0, 3)), draw(st.integers(0, 1_500)))
        for who in draw(st.lists(st.integers(1, 6), unique=True))
    ]


def play_round(driver, answers):
    driver.wait(1_500)
    for who, choice, elapsed_ms in answers:
        driver.answer(who, choice, elapsed_ms=elapsed_ms)


def started(settings=PLAIN):
    driver = SessionDriver(make_quiz(make_question(), make_question()), settings)
    for number in range(1, 7):
        driver.join(f"name {number}")
    driver.move(Step.START)
    return driver


@given(answers_of_many(), st.randoms(use_true_random=False))
def test_scores_do_not_depend_on_the_order_of_answers_within_a_question(answers, mixed):
    straight, shuffled = started(), started()
    play_round(straight, answers)
    play_round(shuffled, mixed.sample(answers, len(answers)))
    for driver in (straight, shuffled):
        driver.move(Step.CLOSE)
    assert snapshot(straight.state) == snapshot(shuffled.state)
    views = [build_view(d.state, EPOCH, FrameVersion(1)) for d in (straight, shuffled)]
    assert views[0] == views[1]


@given(answers_of_many(), st.data())
def test_frames_of_an_open_question_do_not_depend_on_what_was_chosen(answers, data):
    """Stronger than looking for the key: whatever people choose, the very same bytes go out."""
    others = [(who, data.draw(st.integers(0, 3)), 1_500 - ms) for who, _, ms in answers]
    frames = []
    for chosen in (answers, others):
        driver = started()
        seen = []
        for answer in chosen:
            play_round(driver, [answer])
            seen.append(encode_json(Snapshot(0, build_view(driver.state, EPOCH, FrameVersion(1)))))
        frames.append(seen)
    assert frames[0] == frames[1]


@given(
    st.sampled_from(ScoringPolicy),
    st.booleans(),
    st.lists(st.one_of(st.none(), st.tuples(st.booleans(), st.integers(0, 25_000))), max_size=8),
)
def test_points_in_all_are_what_the_auditor_says_whatever_is_left_out(policy, bonus, given_answers):
    """None: no answer to that opening, or one that is left out."""
    chosen = SessionSettings(scoring=policy, streak_bonus=bonus)
    quiz = make_quiz(*(make_question(points=p) for p in PointsMode for _ in range(3)))
    given_in_order, rows = [], []
    for number, answer in enumerate(given_answers, 1):
        if answer is None:
            continue
        right, elapsed_ms = answer
        question = quiz.questions[number - 1]
        given_in_order.append(Given(number, question, elapsed_ms, right))
        rows.append({
            "participant_id": 1, "opening": number, "question_index": number - 1,
            "choices": [1 if right else 0], "text": "", "elapsed_ms": elapsed_ms,
        })  # fmt: skip
    [(_, expected, _)] = audit(msgspec.to_builtins(quiz), msgspec.to_builtins(chosen), [1], rows)
    assert points_in_all(chosen, given_in_order) == expected


@given(answers_of_many())
def test_a_repeated_answer_gets_the_same_receipt_and_changes_nothing(answers):
    driver = started()
    play_round(driver, answers)
    before = snapshot(driver.state)
    for who, choice, elapsed_ms in answers:
        again = driver.answer(who, 3 - choice, elapsed_ms=elapsed_ms // 2)
        first = driver.state.openings[1].answers[who]
        mode = driver.state.settings.mode
        assert again.events == ()
        assert receipt_of(again.repeats, mode) == receipt_of(first, mode)
    assert snapshot(driver.state) == before
