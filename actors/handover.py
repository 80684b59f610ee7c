"""From a dead or paused actor to its successor, behind a broker.

Between the raise of the epoch and the fold of the tables stands what the broker still holds:

1. Whoever may still live must have lost its lease before anything behind the barrier is judged:
   then nothing behind it was acknowledged. An earlier actor that is known to be dead needs no wait.
2. The barrier goes through the session's own queue, over a connection that has the session's
   mailbox: no earlier one publishes any more. Once a writer has stored it, everything that was
   confirmed before it is in the tables.
"""

from __future__ import annotations

import asyncio
import logging

import psutil

from actors.postgres import LoneConnection
from actors.rabbitmq import Publisher, pass_barrier
from actors.session_store import Claim, Place, note_place
from engine import limits

log = logging.getLogger(__name__)

#: The barrier of a take-over is the first of its epoch; those at a session's end come behind it.
_TAKE_OVER_BARRIER = 0


async def settle_earlier(
    connection: LoneConnection, publisher: Publisher, claimed: Claim, here: Place
) -> None:
    """Return when all that earlier actors acknowledged is in the tables, and no more can come.

    Raises:
        Fenced: a later actor has claimed the session.
        Unavailable: the database is away; call again.
    """
    if not is_dead(claimed.earlier, here):
        wait_ms = limits.LEASE_MS + limits.LEASE_MARGIN_MS
        log.info("action=lease_waited session=%s wait_ms=%d", claimed.session_id, wait_ms)
        await asyncio.sleep(wait_ms / 1000)
    # Only now: whoever comes next looks at the place that was told last, and nowhere else. Told
    # before the wait, the place of an actor that died in it would hide one that holds its lease yet.
    await note_place(connection, claimed, here)
    if claimed.epoch == 1:
        return  # nobody was there before
    await pass_barrier(publisher, connection, claimed.session_id, claimed.epoch, _TAKE_OVER_BARRIER)


def is_dead(earlier: Place | None, here: Place) -> bool:
    """Whether an earlier actor is dead for certain: it ran on this very node, and is gone.

    One that told no place cannot have decided anything: it tells it before.
    """
    if earlier is None:
        return True
    if earlier.node != here.node:
        return False
    return earlier.pid == here.pid or not psutil.pid_exists(earlier.pid)
