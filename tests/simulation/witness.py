"""What pages are told: checked with each message, and once more when all has been quiet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actors.session_host import SessionHost
from engine.model import Mode
from engine.view import Result
from engine.wire import (
    DeltaFrame,
    Fault,
    Receipt,
    ReceiptReply,
    ResultMessage,
    ServerMessage,
    Snapshot,
    Welcome,
    choices_of,
)
from tests.simulation.audit import Auditor

if TYPE_CHECKING:
    from tests.simulation.pages import Page

_Stamp = tuple[int, int]

_ORDER = "what a socket is told follows what it was told"
_SECRET = "nobody is told the key before the close"
_KEPT = "a receipt stays what it was"


def secret_of(opening_no: int) -> str:
    """Stands in the explanation of a question, which is told with its key."""
    return f"Secret of question {opening_no}."


class Witness:
    """Looks over the shoulder of every page.

    Args:
        questions: how many the quiz has.
    """

    def __init__(self, auditor: Auditor, questions: int) -> None:
        self._auditor = auditor
        self._secrets = {n: secret_of(n).encode() for n in range(1, questions + 1)}
        self._pages: dict[Page, None] = {}
        #: What each page's socket has shown; none before the welcome.
        self._stamps: dict[Page, _Stamp] = {}
        #: The openings whose receipts had been told when each page said hello.
        self._given: dict[Page, set[int]] = {}

    def opened(self, page: Page) -> None:
        """A page is there."""
        self._pages[page] = None

    def said_hello(self, page: Page) -> None:
        """A page says hello on a new socket."""
        self._stamps.pop(page, None)
        self._given[page] = {
            reply.opening_no
            for key, reply in self._auditor.acknowledged.items()
            if isinstance(reply, ReceiptReply) and key[2] == page.who
        }

    # --- with each message ----------------------------------------------------------------------

    def heard(self, page: Page, payload: bytes, message: ServerMessage) -> None:
        """A page is told something."""
        self._keeps_secrets(page, payload, message)
        if isinstance(message, Welcome):
            self._welcomed(page, message)
        elif isinstance(message, Snapshot):
            self._moved(page, (message.view.epoch, message.view.version), is_whole=True)
        elif isinstance(message, DeltaFrame):
            self._moved(page, (message.epoch, message.version), is_whole=False)
        elif isinstance(message, ResultMessage):
            self._closed(page, message.result.opening_no)
        elif isinstance(message, Receipt):
            self._same(page, message)
        elif isinstance(message, Fault) and message.code == "internal":
            self._violate("nothing fails inside", page, message)

    def _keeps_secrets(self, page: Page, payload: bytes, message: ServerMessage) -> None:
        for opening_no, secret in self._secrets.items():
            if secret in payload and not self._has_answered(page, opening_no, message):
                self._closed(page, opening_no)

    def _has_answered(self, page: Page, opening_no: int, message: ServerMessage) -> bool:
        """Self-paced play: whether a receipt tells the key of what is answered, and stored."""
        return (
            isinstance(message, Receipt)
            and message.opening == opening_no
            and page.view is not None
            and page.view.mode is Mode.SELF_PACED
            and self._auditor.stored.answer(page.who, opening_no) is not None
        )

    def _closed(self, page: Page, opening_no: int) -> None:
        stored = self._auditor.stored
        if opening_no not in stored.closed and not stored.is_over:
            self._violate(_SECRET, page, f"opening {opening_no}")

    def _welcomed(self, page: Page, message: Welcome) -> None:
        view = message.view or page.view
        if page in self._stamps or view is None:
            self._violate(_ORDER, page, f"a welcome behind {self._stamps.get(page)}: {message}")
            return
        self._stamps[page] = (view.epoch, view.version)
        you, host = message.you, self._auditor.host
        if you is None or host is None:
            return
        if you.receipt is not None:
            self._same(page, you.receipt)
        elif (
            view.opening_no in self._given[page]
            # The place is told behind the view: the session may have moved on in between.
            and (host.epoch, host.state.current_no) == (view.epoch, view.opening_no)
        ):
            self._violate(_KEPT, page, f"no receipt for opening {view.opening_no}: {message}")

    def _same(self, page: Page, receipt: Receipt) -> None:
        """A receipt says what is stored: the first answer, which no other takes the place of."""
        row = self._auditor.stored.answer(page.who, receipt.opening)
        told = (receipt.elapsed_ms, receipt.choices)
        if row is None or told != (row["elapsed_ms"], choices_of(row["choice_mask"])):
            self._violate(_KEPT, page, f"{receipt}, of {row}")

    def _moved(self, page: Page, stamp: _Stamp, *, is_whole: bool) -> None:
        seen = self._stamps.get(page)
        if seen is None:
            self._violate(_ORDER, page, f"{stamp} before the welcome")
        elif stamp < seen if is_whole else stamp != (seen[0], seen[1] + 1):
            self._violate(_ORDER, page, f"{stamp} behind {seen}")
        else:
            self._stamps[page] = stamp

    def _violate(self, invariant: str, page: Page, seen: object) -> None:
        self._auditor.violate(invariant, f"page {page.who}: {seen}")

    # --- when all has been quiet ----------------------------------------------------------------

    def blind(self, host: SessionHost) -> list[str]:
        """What pages do not see that the session publishes; nothing, a while after all is quiet."""
        return [seen for page in self._pages if (seen := self._lacks(page, host))]

    def _lacks(self, page: Page, host: SessionHost) -> str:
        view = host.snapshot().view
        if page.who in self._auditor.stored.removed:
            return "" if page.is_out else f"page {page.who} is removed and still there"
        if not page.is_welcome:
            return f"page {page.who} is not connected: {page.ended or 'cut'}"
        if page.view != view:
            return f"page {page.who} shows {page.view}, the session {view}"
        result = host._results.get(page.who)
        if page.who and view.reveal is not None and _gain(page.result) != _gain(result):
            return f"page {page.who} was told {page.result}, its result is {result}"
        return ""


def _gain(result: Result | None) -> tuple[object, ...] | None:
    """What nobody's removal changes, as it does ranks."""
    if result is None:
        return None
    return (result.opening_no, result.answered, result.correct, result.gained, result.points)
