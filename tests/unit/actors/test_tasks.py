"""A task that misses a cancellation is told again."""

import asyncio

from actors import tasks as module
from actors.tasks import cancel


async def test_what_misses_a_cancellation_is_told_again(monkeypatch):
    monkeypatch.setattr(module, "_AGAIN_S", 0.01)
    missed = 0

    async def deaf():
        nonlocal missed
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                missed += 1
                if missed == 3:
                    raise

    task = asyncio.create_task(deaf())
    await asyncio.sleep(0)
    await cancel([task])
    assert task.cancelled()
    assert missed == 3


async def test_however_they_end_nothing_is_raised():
    async def fail():
        raise LookupError

    failed = asyncio.create_task(fail())
    await asyncio.sleep(0)
    await cancel([failed, asyncio.create_task(asyncio.sleep(60))])
    assert isinstance(failed.exception(), LookupError)


async def test_nothing_to_end():
    await cancel([])
