"""Everybody who is in, in pages: what the host looks through, searches and selects from."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from enum import StrEnum
from typing import NamedTuple

from engine import limits
from engine.ids import ParticipantId
from engine.names import fold_nickname
from engine.session import SessionState


class RosterFilter(StrEnum):
    """Whom a roster lists."""

    ALL = "all"
    #: Those who joined within ``ROSTER_RECENT_MS``.
    RECENT = "recent"
    NEVER_CONNECTED = "never_connected"
    #: Those who have not answered the question that is open; nobody while none is.
    UNANSWERED = "unanswered"


class Person(NamedTuple):
    """One participant. ``has_connected``: a socket of theirs has said hello, now or earlier."""

    participant_id: ParticipantId
    nickname: str
    joined_ms_ago: int
    has_connected: bool


def roster_page(
    state: SessionState,
    unseen: AbstractSet[ParticipantId],
    now_ms: int,
    search: str,
    only: RosterFilter,
    before: int,
    rows: int,
) -> tuple[int, list[Person]]:
    """How many match, and one page of them, newest first.

    Args:
        state: the session.
        unseen: who has never connected.
        now_ms: the time.
        search: part of a nickname, whatever the case; empty for all.
        only: whom to list.
        before: only those who joined before this participant; 0 for all.
        rows: at most so many in the page.
    """
    needle = fold_nickname(search.strip())
    since_ms = now_ms - limits.ROSTER_RECENT_MS
    people = state.participants
    opening = state.current
    is_open = opening is not None and opening.opened_ms and not opening.closed
    answered = opening.answers.keys() if opening is not None and is_open else people.keys()
    found = [
        who
        for folded, who in state.nicknames.items()
        if needle in folded
        and (only is not RosterFilter.RECENT or people[who].joined_ms > since_ms)
        and (only is not RosterFilter.NEVER_CONNECTED or who in unseen)
        and (only is not RosterFilter.UNANSWERED or who not in answered)
    ]
    found.sort(reverse=True)
    page = [who for who in found if not before or who < before][:rows]
    return len(found), [
        Person(
            who,
            people[who].nickname,
            max(0, now_ms - people[who].joined_ms),
            who not in unseen,
        )
        for who in page
    ]
