"""One simulated participant: joins, thinks, answers, and sends again what was not acknowledged."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable

from engine.model import Question, QuestionKind
from engine.phases import Phase
from engine.view import PublicQuestion
from engine.wire import Answer, Fault, Receipt, ServerMessage, Welcome, encode_json
from simulation.live_socket import LiveSocket

#: How long somebody thinks about a question, seconds.
_THINK_S_MIN = 0.1
#: Share of answers that are tapped twice; the second tap must change nothing.
_DOUBLE_TAP_SHARE = 0.02


class Ledger:
    """What all players sent and were told; the checks at the end believe nothing else."""

    def __init__(self) -> None:
        #: (participant, opening) -> when it was sent first, monotonic nanoseconds.
        self.sent: dict[tuple[int, int], int] = {}
        #: (participant, opening) -> the receipt.
        self.acknowledged: dict[tuple[int, int], Receipt] = {}
        #: (participant, opening) -> when the receipt came, monotonic nanoseconds.
        self.acknowledged_at: dict[tuple[int, int], int] = {}
        #: (participant, opening) -> the code of a final refusal.
        self.refused: dict[tuple[int, int], str] = {}
        self.latencies_ms: list[float] = []
        #: Receipts that contradict an earlier one; there must be none.
        self.contradictions: list[str] = []

    def note_receipt(self, participant: int, receipt: Receipt) -> None:
        """Take a receipt; a repeat must say what the first one said."""
        key = (participant, receipt.opening)
        earlier = self.acknowledged.setdefault(key, receipt)
        if earlier is receipt:
            self.acknowledged_at[key] = time.monotonic_ns()
            self.latencies_ms.append((self.acknowledged_at[key] - self.sent[key]) / 1e6)
        elif earlier != receipt:
            self.contradictions.append(
                f"participant {participant}, opening {receipt.opening}: two different receipts"
            )

    def outstanding(self, opening: int) -> int:
        """Answers to an opening that are neither acknowledged nor refused."""
        return sum(
            key[1] == opening and key not in self.acknowledged and key not in self.refused
            for key in self.sent
        )


class Player:
    """A phone and its owner.

    Args:
        participant_id: who it is.
        connect: makes its socket, given the callback for messages.
        questions: the quiz, so that a player can know the right answer.
        ledger: shared by all players.
        rng: its own, so that a run can be repeated.
        think_s_max: longest time to think about a question.
    """

    def __init__(
        self,
        participant_id: int,
        connect: Callable[[Callable[[ServerMessage], None]], LiveSocket],
        questions: tuple[Question, ...],
        ledger: Ledger,
        rng: random.Random,
        think_s_max: float,
    ) -> None:
        self.participant_id = participant_id
        self._questions = questions
        self._ledger = ledger
        self._rng = rng
        self._think_s_max = think_s_max
        #: Share of questions that this player knows.
        self._skill = rng.uniform(0.3, 0.95)
        self._waiting: dict[int, bytes] = {}
        self._timers: dict[int, asyncio.TimerHandle] = {}
        self.socket = connect(self._on_message)

    async def close(self) -> None:
        """Leave."""
        for timer in self._timers.values():
            timer.cancel()
        await self.socket.close()

    def _on_message(self, message: ServerMessage) -> None:
        if isinstance(message, Receipt):
            self._waiting.pop(message.opening, None)
            self._ledger.note_receipt(self.participant_id, message)
            return
        if isinstance(message, Fault):
            self._refused(message)
            return
        if isinstance(message, Welcome):
            # What was on its way when the connection was cut goes again under the same key.
            for opening in list(self._waiting):
                self._send(opening)
        view = self.socket.view
        if view is not None and view.phase is Phase.QUESTION_OPEN and view.question is not None:
            self._think(view.question)

    def _think(self, question: PublicQuestion) -> None:
        opening = question.opening_no
        if opening in self._timers:
            return
        # Nobody takes longer than half of the time that there is.
        longest_s = min(self._think_s_max, question.time_limit_ms / 2000)
        think_s = self._rng.uniform(min(_THINK_S_MIN, longest_s), longest_s)
        loop = asyncio.get_running_loop()
        self._timers[opening] = loop.call_later(think_s, self._answer, question)

    def _answer(self, question: PublicQuestion) -> None:
        answer = self._choose(self._questions[question.question_index], question.opening_no)
        self._waiting[question.opening_no] = encode_json(answer)
        self._ledger.sent[self.participant_id, question.opening_no] = time.monotonic_ns()
        self._send(question.opening_no)
        if self._rng.random() < _DOUBLE_TAP_SHARE:
            self._send(question.opening_no)

    def _choose(self, question: Question, opening: int) -> Answer:
        knows = self._rng.random() < self._skill
        if question.kind is QuestionKind.TYPED:
            return Answer(opening, text=question.accepted[0] if knows else "no idea")
        if knows:
            return Answer(opening, question.correct)
        return Answer(opening, (self._rng.randrange(len(question.choices)),))

    def _send(self, opening: int) -> None:
        payload = self._waiting.get(opening)
        if payload is not None:
            self.socket.send(payload)

    def _refused(self, fault: Fault) -> None:
        if not fault.opening:
            return
        if fault.retryable:
            loop = asyncio.get_running_loop()
            loop.call_later(fault.retry_after_ms / 1000, self._send, fault.opening)
            return
        self._waiting.pop(fault.opening, None)
        self._ledger.refused[self.participant_id, fault.opening] = fault.code
