"""Work is done once for all who want it; a task that misses a cancellation is told again."""

import asyncio

import pytest

from actors import tasks as module
from actors.tasks import SharedWork, cancel


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


class Work:
    """Ends when it is let; tells how often it was begun."""

    def __init__(self, end="done"):
        self.begun, self.end, self.gate = 0, end, asyncio.Event()

    async def __call__(self):
        self.begun += 1
        await self.gate.wait()
        if isinstance(self.end, Exception):
            raise self.end
        return self.end


async def test_all_who_want_it_meanwhile_get_what_one_piece_of_work_comes_to():
    shared, work, other = SharedWork(), Work(), Work("else")
    wanted = [asyncio.ensure_future(shared.do("a", work)) for _ in range(5)]
    wanted.append(asyncio.ensure_future(shared.do("b", other)))
    await asyncio.sleep(0)
    work.gate.set()
    other.gate.set()
    assert await asyncio.gather(*wanted) == ["done"] * 5 + ["else"]
    assert await shared.do("a", work) == "done"
    assert (work.begun, other.begun) == (2, 1)


async def test_all_are_told_of_its_failure_and_whoever_leaves_holds_nothing_up():
    shared, work = SharedWork(), Work(ValueError("no"))
    leaves, stays = (asyncio.ensure_future(shared.do("a", work)) for _ in range(2))
    await asyncio.sleep(0)
    leaves.cancel()
    work.gate.set()
    with pytest.raises(ValueError, match="no"):
        await stays
    assert leaves.cancelled()
    assert work.begun == 1


async def test_what_has_ended_is_not_given_to_those_who_come_before_anybody_is_told():
    shared, ends = SharedWork(), asyncio.Event()

    async def work():
        ends.set()  # wakes whoever comes, ahead of all that is called when this task has ended
        return "first"

    async def other():
        return "second"

    async def come():
        await ends.wait()
        return await shared.do("a", other)

    comes = asyncio.ensure_future(come())
    await asyncio.sleep(0)
    assert await shared.do("a", work) == "first"
    assert await comes == "second"
