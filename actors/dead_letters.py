"""Messages that no writer could store: looked through, and sent to their partitions again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Container
from typing import Any, NamedTuple

import aio_pika
from aio_pika.abc import AbstractIncomingMessage

from actors.log_message import BatchMessage, decode_log_message
from actors.rabbitmq import (
    CONFIRM_S_MAX,
    DEAD_QUEUE,
    away_is_unavailable,
    close,
    connect,
    declare_dead_letters,
)
from engine import limits
from engine.errors import Malformed

#: The broker's reason for a message that it has delivered more often than its queue's limit.
GIVEN_UP = "delivery_limit"


class DeadLetter(NamedTuple):
    """A message among the dead letters.

    Attributes:
        queue: the partition's queue that it comes from; empty when the broker does not say.
        reason: the broker's: ``rejected`` by a writer, or ``delivery_limit``.
        died_at: when, ISO 8601, UTC; empty when the broker does not say.
        session_id, epoch, rows: what is in it; empty and 0 when it cannot be read.
        problem: why it cannot be read; empty when it can.
        bytes: its size.
    """

    queue: str
    reason: str
    died_at: str
    session_id: str
    epoch: int
    rows: int
    problem: str
    bytes: int


async def list_dead_letters(url: str) -> list[DeadLetter]:
    """All dead letters, oldest first.

    Raises:
        Unavailable: the broker is away.
    """
    found: list[DeadLetter] = []

    def look(incoming: AbstractIncomingMessage) -> str:
        found.append(_describe(incoming))
        return DEAD_QUEUE

    # Moved to the end, not put back: a queue may drop what it has delivered too often.
    await _move(url, look)
    return found


async def replay_dead_letters(url: str) -> int:
    """Send the dead letters to where they came from; return how many went.

    Sending one twice changes nothing. What still cannot be stored comes back as a dead letter; what
    does not say where it came from stays.

    Raises:
        Unavailable: the broker is away.
    """
    return await _replay(url, {"rejected", GIVEN_UP}, messages_max=None)


async def replay_given_up(url: str) -> int:
    """As :func:`replay_dead_letters`, of what no writer has refused: the broker gave it up by itself.

    It looks at ``REPLAY_MESSAGES_MAX`` at a time, each time at others.

    Raises:
        Unavailable: the broker is away.
    """
    return await _replay(url, {GIVEN_UP}, limits.REPLAY_MESSAGES_MAX)


async def _replay(url: str, reasons: Container[str], messages_max: int | None) -> int:
    replayed = 0

    def again(incoming: AbstractIncomingMessage) -> str:
        nonlocal replayed
        death = _death(incoming)
        queue = death.get("queue", "") if death.get("reason") in reasons else ""
        replayed += bool(queue)
        return queue or DEAD_QUEUE

    await _move(url, again, messages_max)
    return replayed


async def _move(
    url: str,
    whither: Callable[[AbstractIncomingMessage], str],
    messages_max: int | None = None,
) -> None:
    """Move the dead letters that are there now; none is gone before its copy is confirmed."""
    with away_is_unavailable("the broker is away"):
        connection = await connect(url)
        try:
            async with asyncio.timeout(CONFIRM_S_MAX):
                channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
                dead = await declare_dead_letters(channel)
            count = dead.declaration_result.message_count or 0
            for _ in range(count if messages_max is None else min(count, messages_max)):
                async with asyncio.timeout(CONFIRM_S_MAX):
                    incoming = await dead.get(fail=False)
                    if incoming is None:
                        return
                    queue = whither(incoming)
                    copy = aio_pika.Message(
                        incoming.body,
                        headers=incoming.headers if queue == DEAD_QUEUE else None,
                        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
                    )
                    await channel.default_exchange.publish(copy, queue, mandatory=True)
                    await incoming.ack()
        finally:
            await close(connection)


def _death(incoming: AbstractIncomingMessage) -> dict[str, Any]:
    """What the broker noted when it put the message among the dead letters last."""
    deaths: Any = incoming.headers.get("x-death")
    return deaths[0] if deaths else {}


def _describe(incoming: AbstractIncomingMessage) -> DeadLetter:
    death = _death(incoming)
    session_id, epoch, rows, problem = "", 0, 0, ""
    try:
        message = decode_log_message(incoming.body)
    except Malformed as error:
        problem = error.detail
    else:
        session_id, epoch = message.session_id, message.epoch
        rows = message.rows_count if isinstance(message, BatchMessage) else 0
    died_at = death["time"].isoformat() if "time" in death else ""
    return DeadLetter(
        death.get("queue", ""),
        death.get("reason", ""),
        died_at,
        session_id,
        epoch,
        rows,
        problem,
        len(incoming.body),
    )
