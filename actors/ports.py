"""What a session needs from the outside, as protocols; each has one contract suite for all its forms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from engine.events import Event
from engine.ids import SessionSeq


class Record(NamedTuple):
    """An event with its place in the session's log."""

    seq: SessionSeq
    event: Event


class CheckpointLog(Protocol):
    """Where a session's events become durable. One per session and epoch."""

    async def append(self, records: Sequence[Record]) -> None:
        """Return when every record is durable. Appending a record again changes nothing.

        Records of one kind (answers; joins; all others) become durable together.

        Raises:
            Fenced: a higher epoch exists; of these records nothing more will ever be written.
            Unavailable: the outcome is unknown; append the same records again.
        """

    def moment(self) -> int:
        """Now, for :meth:`is_held_since` and :meth:`hold`."""

    def is_held_since(self, moment: int) -> bool:
        """Whether it is known already that no other actor had changed the session at a moment.

        An append that began after the moment tells it, once it has returned.
        """

    async def hold(self, moment: int) -> None:
        """Return when no other actor had changed the session at a moment: what was known is the newest.

        However many wait, one look at the epoch serves all who came before it began.

        Raises:
            Fenced: a higher epoch exists.
            Unavailable: it cannot be told for the moment.
        """

    async def settle(self) -> None:
        """Return when everything that was appended before is in the tables, where all can read it.

        Raises:
            Fenced: a higher epoch exists.
        """

    async def close(self) -> None:
        """Give back what the log holds open."""
