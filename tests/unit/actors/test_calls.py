"""Whose fault a failed call is: the actor's code, or the way to it."""

import asyncio

import pytest
import ray
from ray.exceptions import (
    ActorDiedError,
    ActorUnavailableError,
    GetTimeoutError,
    RayActorError,
    RayError,
    RayTaskError,
    TaskCancelledError,
)

from actors.calls import actor_call
from engine import limits
from engine.errors import Conflict, ServerFault, Unavailable


def raised_by_the_actor(cause):
    """As Ray raises it: an instance of the cause's class too, where that can be had."""
    return RayTaskError("submit", "traceback", cause).as_instanceof_cause()


async def call(error):
    future = asyncio.get_running_loop().create_future()
    future.set_exception(error)
    return await actor_call(future, "the callee")


@pytest.mark.parametrize(
    "cause",
    [
        ValueError("a fault"),
        AssertionError(),
        # What Ray makes an instance of the cause's class must not pass for a lost connection.
        TimeoutError("the actor's own"),
        ConnectionResetError("the actor's own"),
        # In the place of a cause that cannot be pickled.
        RayError("Exception x.Y isn't serializable"),
    ],
    ids=repr,
)
async def test_a_fault_of_the_actor_s_code_is_not_to_be_tried_again(cause, caplog):
    with pytest.raises(ServerFault) as caught:
        await call(raised_by_the_actor(cause))
    assert type(caught.value) is ServerFault
    assert (caught.value.code, caught.value.retryable) == ("internal", False)
    assert "action=actor_failed" in caplog.text


@pytest.mark.parametrize(
    "cause", [Conflict("over", "session_over"), Unavailable("the database is away")], ids=repr
)
async def test_what_the_actor_s_code_says_to_the_client_is_said(cause):
    with pytest.raises(type(cause)) as caught:
        await call(raised_by_the_actor(cause))
    assert (caught.value.code, caught.value.detail) == (cause.code, cause.detail)


@pytest.mark.parametrize(
    "error",
    [
        RayActorError(),
        ActorDiedError(),
        ActorUnavailableError("away", b"1" * 16),
        GetTimeoutError("late"),
        TaskCancelledError(),
        # The actor was there, but what it called was not.
        raised_by_the_actor(RayActorError()),
    ],
    ids=repr,
)
async def test_an_actor_that_cannot_be_reached_may_be_tried_again(error):
    with pytest.raises(Unavailable, match="the callee"):
        await call(error)


async def test_an_actor_that_does_not_answer_may_be_tried_again():
    loop = asyncio.get_running_loop()
    with pytest.raises(Unavailable, match="does not answer"):
        await actor_call(loop.create_future(), "the callee")
    assert loop.time() == limits.ACTOR_CALL_MS_MAX / 1000


async def test_what_an_actor_returns_is_returned():
    future = asyncio.get_running_loop().create_future()
    future.set_result(b"reply")
    assert await actor_call(future, "the callee") == b"reply"
    assert not ray.is_initialized()
