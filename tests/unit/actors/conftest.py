"""What tests of the shell share: virtual time, in which hours pass at once and nothing is raced."""

import asyncio
import selectors

import pytest


class _JumpingSelector(selectors.DefaultSelector):
    """Does not wait for the next timer, but says that its time has come."""

    now_s = 0.0

    def select(self, timeout=None):
        assert timeout is not None, "every task waits for something that cannot come"
        self.now_s += timeout
        return super().select(0)


class _VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Time stands still while there is work, and jumps to the next timer when there is none."""

    def __init__(self):
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self):
        return self._jumping.now_s


def pytest_asyncio_loop_factories(config, item):
    """Let every test of this folder run in virtual time."""
    return {"virtual": _VirtualTimeLoop}


@pytest.fixture
def until():
    """Wait for a condition that other tasks of the loop bring about."""

    async def wait(condition):
        async with asyncio.timeout(3_600):
            while not condition():  # noqa: ASYNC110 - the code under test has no event for it
                await asyncio.sleep(0.001)

    return wait
