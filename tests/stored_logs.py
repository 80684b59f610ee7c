"""What each release has stored of some sessions, so that every later one proves that it reads it.

``python -m tests.stored_logs NAME`` records what the code at hand stores, as ``tests/data/logs/NAME.json``.
A file that is there never changes: logs like it are in databases and brokers.
"""

import base64
import sys
from pathlib import Path

import msgspec

from actors.log_message import batch_of, encode_log_message
from actors.ports import Record
from engine.commands import Return
from engine.events import Locked
from engine.ids import Epoch
from engine.model import QuestionKind, SessionSettings
from engine.phases import Step
from engine.session import SessionState
from engine.testing.driver import SELF_PACED, SESSION_ID, SessionDriver
from engine.testing.factories import make_question, make_quiz

LOGS = Path(__file__).parent / "data" / "logs"
_EPOCH = Epoch(3)


def _live(driver: SessionDriver) -> None:
    mia, ben, bot = driver.join("Mia"), driver.join("Ben 🏔", device="a-phone"), driver.join("Bot")
    driver.do_event(Locked(at_ms=driver.now_ms, flood=True))
    driver.moves(Step.UNLOCK, Step.LOCK, Step.START)
    driver.wait(5_000)
    driver.move(Step.DUE)
    driver.wait(700)
    driver.answer(mia, 1)
    driver.answer(ben, 0)
    driver.move(Step.EXTEND, extra_ms=5_000)
    driver.move(Step.REMOVE, several=[bot])
    driver.do(Return(mia, "a-second-key"))
    driver.moves(Step.CLOSE, Step.NEXT, Step.NEXT)
    driver.wait(5_000)
    driver.move(Step.DUE)
    driver.answer(ben, text="  ZÜRICH ")
    driver.moves(Step.CLOSE, Step.FINISH)


def _self_paced(driver: SessionDriver) -> None:
    mia = driver.join("Mia")
    driver.move(Step.START)
    driver.move(Step.DEADLINE, extra_ms=60_000)
    driver.answer(mia, 1, opening_no=1)
    driver.answer(mia, text="Genf", opening_no=2)
    driver.move(Step.CANCEL)


_SESSIONS = {
    "live": (_live, SessionSettings(streak_bonus=True, close_when_all_answered=False)),
    "self_paced": (_self_paced, SELF_PACED),
}


def outcome(state: SessionState) -> dict[str, object]:
    """What became of a session, in plain data that no release has reason to say otherwise."""
    return {
        "phase": state.phase.value,
        "lock": state.lock.value,
        "answers": state.answers_total,
        "removed": sorted(state.removed),
        "ranks": [list(row) for row in state.scoreboard.ranked()],
        "commands": sorted(state.commands_done),
    }


def record(name: str) -> None:
    """Write the file of a release.

    Raises:
        FileExistsError: it has one.
    """
    quiz = make_quiz(make_question(), make_question(QuestionKind.TYPED, accepted=("Zürich",)))
    sessions = {}
    for session, (play, settings) in _SESSIONS.items():
        driver = SessionDriver(quiz, settings)
        play(driver)
        records = [Record(seq, event) for seq, event in enumerate(driver.events, 1)]
        batch = batch_of(SESSION_ID, _EPOCH, records)
        sessions[session] = {
            "quiz": msgspec.json.encode(quiz).decode(),
            "settings": msgspec.json.encode(settings).decode(),
            "events": [event for _, event in batch.events],
            "message": base64.b64encode(encode_log_message(batch)).decode(),
            "outcome": outcome(driver.state),
        }
    with (LOGS / f"{name}.json").open("xb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(sessions)) + b"\n")


if __name__ == "__main__":
    record(sys.argv[1])
