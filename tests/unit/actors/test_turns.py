"""Long work gives the loop back."""

import asyncio

import pytest

from actors import turns
from actors.turns import in_turns


class Clock:
    """A loop's clock that the work alone moves."""

    def __init__(self):
        self.now_s = 0.0

    def __call__(self):
        return self.now_s

    def work(self, steps, step_s):
        for _ in range(steps):
            self.now_s += step_s
            yield
        return "done"


@pytest.mark.parametrize(("step_s", "given_back"), [(1.0, 20), (0.25, 5), (0.0, 0)])
async def test_so_often_is_the_loop_given_back(monkeypatch, step_s, given_back):
    monkeypatch.setattr(turns, "TURN_S", 1.0)
    loop = asyncio.get_running_loop()
    loop.time = clock = Clock()
    seen = []

    def look():
        seen.append(None)
        loop.call_soon(look)

    loop.call_soon(look)
    await asyncio.sleep(0)
    before = len(seen)
    assert await in_turns(clock.work(20, step_s)) == "done"
    assert len(seen) - before == given_back
    del loop.time


async def test_others_run_meanwhile(monkeypatch):
    monkeypatch.setattr(turns, "TURN_S", 0.0)
    ran = []

    async def other():
        while True:
            ran.append(len(ran))
            await asyncio.sleep(0)

    def steps():
        for _ in range(5):
            yield

    task = asyncio.create_task(other())
    await in_turns(steps())
    assert len(ran) >= 5
    task.cancel()


async def test_an_error_of_the_work_is_the_callers():
    def fails():
        yield
        raise LookupError

    with pytest.raises(LookupError):
        await in_turns(fails())
