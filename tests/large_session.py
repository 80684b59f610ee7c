"""Tables of a session as if very many people had played it, filled by SQL."""

from engine.events import Closed, Finished, Opened, SelfPacedOpened, encode_phase_event
from engine.model import Mode, Quiz, SessionSettings
from engine.testing.driver import PLAIN, SELF_PACED
from engine.testing.factories import make_question

#: Rows of one statement, so that each ends long before its time-out.
_ROWS = 50_000
_JOINS = """
INSERT INTO participants (session_id, epoch, participant_id, join_key, nickname, seq, at_ms)
SELECT $1, 0, n, 'join-key-' || n, 'Person ' || n, n, 1 FROM generate_series(1, $2::int) AS n
"""
#: Everybody answers everything; a quarter is right. In the order of arrival: question by question in
#: a live quiz, mixed in a self-paced one.
_ANSWERS = """
INSERT INTO answers (session_id, epoch, opening_no, participant_id, question_index, choice_mask, text,
                     elapsed_ms, correct, points, seq, at_ms)
SELECT $1, 0, o, p, o - 1, 1 << ((o + p) % 4), '', (o * 7919 + p * 104729) % 20000, (o + p) % 4 = 1,
       CASE WHEN (o + p) % 4 = 1 THEN 700 ELSE 0 END, $2::int + n, 1700000000000 + n
FROM (
    SELECT n, CASE WHEN $5 THEN n % $3::int ELSE n / $2::int END + 1 AS o,
           CASE WHEN $5 THEN n / $3::int ELSE n % $2::int END + 1 AS p
    FROM generate_series($4::int, least($4::int + $6::int, $2::int * $3::int) - 1) AS n
) AS given
"""
_EVENTS = """
INSERT INTO session_events (session_id, epoch, seq, event)
SELECT $1, 0, $2::bigint + n, event FROM unnest($3::text[]) WITH ORDINALITY AS e (event, n)
"""


def quiz_of(questions: int) -> Quiz:
    """A quiz with so many short questions."""
    return Quiz("A large quiz", tuple(make_question() for _ in range(questions)))


def settings_of(mode: Mode) -> SessionSettings:
    """The plainest settings of a mode."""
    return SELF_PACED if mode is Mode.SELF_PACED else PLAIN


async def fill(
    pool, session_id: str, people: int, questions: int, mode: Mode, *, finished: bool = False
) -> None:
    """Store everybody's answers to all questions of a session that nobody has touched.

    Unless it is finished, the host has still to end it.
    """
    await pool.execute(_JOINS, session_id, people)
    mixed = mode is Mode.SELF_PACED
    for first in range(0, people * questions, _ROWS):
        await pool.execute(_ANSWERS, session_id, people, questions, first, mixed, _ROWS)
    events = [SelfPacedOpened(at_ms=1)]
    if not mixed:
        events = []
        for number in range(1, questions + 1):
            opened = Opened(at_ms=1, opening_no=number, question_index=number - 1, closes_ms=20_000)
            events += [opened, Closed(at_ms=2, opening_no=number)]
    if finished:
        events.append(Finished(at_ms=3))
    encoded = [encode_phase_event(event).decode() for event in events]
    await pool.execute(_EVENTS, session_id, people * (questions + 1), encoded)
