"""Calls of Ray actors, and whose fault it is when one fails: the actor's code, or the way to it."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from ray.exceptions import RayError, RayTaskError

from engine import limits
from engine.errors import QuizError, ServerFault, Unavailable

log = logging.getLogger(__name__)


async def actor_call(reference: Any, callee: str) -> Any:
    """Await a call to an actor, with a deadline: a paused actor would let it hang for ever.

    Args:
        reference: what ``actor.method.remote(...)`` returned.
        callee: who is called, for messages: "the session's actor".

    Raises:
        QuizError: the actor's code raised this one.
        ServerFault: the actor's code raised something else (code ``internal``, not retryable): the
            same call would meet the same fault.
        Unavailable: the actor is away, or did not answer in time; whether the call ran is unknown.
    """
    try:
        async with asyncio.timeout(limits.ACTOR_CALL_MS_MAX / 1000):
            return await reference
    except RayTaskError as error:  # first: it is also an instance of the class of its cause
        raise _fault_of(error, callee) from error
    except TimeoutError:
        raise Unavailable(f"{callee} does not answer") from None
    except RayError as error:
        raise Unavailable(f"{callee} is away: {type(error).__name__}") from error


def _fault_of(error: RayTaskError, callee: str) -> QuizError:
    cause = error.cause
    if isinstance(cause, QuizError):
        return cause
    # Ray puts a bare RayError in the place of a cause that it cannot pickle.
    if isinstance(cause, RayError) and type(cause) is not RayError:
        return Unavailable(f"{callee} could not reach another actor: {type(cause).__name__}")
    log.error("action=actor_failed callee=%r", callee, exc_info=error)
    return ServerFault(f"{callee} failed; see the server's log")
