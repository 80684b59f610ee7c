"""What tests of the shell share."""

import asyncio

import pytest

from actors import outbox


@pytest.fixture
def until():
    """Wait for a condition that other tasks of the loop bring about."""

    async def wait(condition):
        async with asyncio.timeout(10):
            while not condition():  # noqa: ASYNC110 - the code under test has no event for it
                await asyncio.sleep(0)

    return wait


@pytest.fixture
def no_backoff(monkeypatch):
    """Tries of an append follow each other at once."""
    monkeypatch.setattr(outbox, "_BACKOFF_S_MIN", 0)
    monkeypatch.setattr(outbox, "_BACKOFF_S_MAX", 0)
