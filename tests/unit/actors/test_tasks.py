"""Work is done once for all who want it; a task that misses a cancellation is told again."""

import asyncio

import pytest

from actors import tasks as module
from actors.tasks import PacedWork, SharedWork, cancel


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


# --- paced work -------------------------------------------------------------------------------------


class Clock:
    """What is read: the number of the read, so that a test sees which one began after it had asked."""

    def __init__(self):
        self.begun, self.gate = [], asyncio.Event()

    async def __call__(self):
        self.begun.append(asyncio.get_running_loop().time())
        number = len(self.begun)
        await self.gate.wait()
        return number


async def test_who_asks_gets_what_was_read_after_asking_however_many_ask():
    paced, read = PacedWork(interval_ms=20), Clock()
    first = asyncio.ensure_future(paced.do("a", read))
    await asyncio.sleep(0.001)
    assert len(read.begun) == 1, "a lone one begins at once"
    others = [asyncio.ensure_future(paced.do("a", read)) for _ in range(100)]
    elsewhere = Clock()
    elsewhere.gate.set()
    assert await paced.do("b", elsewhere) == 1, "another key waits for nobody"
    read.gate.set()
    assert await first == 1
    assert await asyncio.gather(*others) == [2] * 100
    assert read.begun[1] - read.begun[0] >= 0.02
    for _ in range(3):
        await asyncio.gather(*(paced.do("a", read) for _ in range(10)))
    assert len(read.begun) == 5
    assert read.begun[4] - read.begun[0] >= 4 * 0.02


async def test_a_read_that_fails_is_told_to_those_who_shared_it_and_to_no_other():
    paced = PacedWork(interval_ms=1)
    with pytest.raises(ValueError, match="no"):
        await paced.do("a", _fail)
    begins = Clock()
    begins.gate.set()
    leaves = asyncio.ensure_future(paced.do("a", begins))
    await asyncio.sleep(0)
    leaves.cancel()
    assert await paced.do("a", begins) in (1, 2)
    await asyncio.sleep(0.01)
    assert paced._turns == {}, "what nobody asks for is forgotten"


async def _fail():
    raise ValueError("no")
