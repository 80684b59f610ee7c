"""The whole system, started once for all tests that need it, on ports and folders of its own."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from serve_app.embedded.ray_environment import FIXED
from serve_app.embedded.stack import EmbeddedStack
from tests.site import LiveSite

# Modules that import ray are collected before the site starts, and ray reads these at import. They
# also make a test fail itself that calls Ray without a site, instead of starting one in its way.
os.environ |= FIXED

# No deadline: two test processes share two cores, and a slow example is no fault of the code.
settings.register_profile(
    "rayquiz", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.register_profile("long", settings.get_profile("rayquiz"), max_examples=5_000)
settings.load_profile("rayquiz")  # `--hypothesis-profile` is looked at afterwards

#: Long enough to look at a podium, and short enough that a hundred played quizzes do not pile up.
_LINGER_MS = 20_000
#: Values of tests that are longer than the first are named by their beginning, and their length.
_ID_CHARS_MAX, _ID_CHARS = 80, 20
#: The tests that go to one worker.
_GROUP = "live_site"


@pytest.fixture(scope="session")
def live_site(request: pytest.FixtureRequest) -> Iterator[LiveSite]:
    """The embedded profile with its applications, for as long as the tests run."""
    if hasattr(request.config, "workerinput"):
        alone = [item.nodeid for item in request.session.items if _wants_site(item)]
        assert all(name.endswith(f"@{_GROUP}") for name in alone), "another worker starts Ray, too"
    folder = Path(tempfile.mkdtemp(prefix="rq-site-"))
    try:
        with EmbeddedStack(folder, 0, settings={"linger_ms": _LINGER_MS}) as stack:
            from serve_app.deploy import deploy  # noqa: PLC0415 - imports ray, after its environment

            deploy(stack.settings, stack.local_url)
            yield LiveSite(stack, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def open_session(live_site: LiveSite) -> Iterator[Callable[..., dict[str, str]]]:
    """:meth:`LiveSite.open_session`, for sessions that end with the test."""
    opened: list[dict[str, str]] = []

    def open_one(quiz: dict[str, Any], settings: dict[str, Any]) -> dict[str, str]:
        opened.append(live_site.open_session(quiz, settings))
        return opened[-1]

    yield open_one
    for session in opened:
        live_site.cancel(session)


def pytest_make_parametrize_id(val: object) -> str | None:
    """Short names for values of any length, which are the same on every worker.

    Tokens are named alike: they carry the time, and workers may collect a second apart.
    """
    if not isinstance(val, (str, bytes)):
        return None
    if isinstance(val, str) and val.startswith("eyJ"):
        return "token"
    return f"{val[:_ID_CHARS]!a}..{len(val)}" if len(val) > _ID_CHARS_MAX else None


@pytest.hookimpl(tryfirst=True)  # xdist's own reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep all tests of the whole system on one worker: Ray starts once."""
    for item in items:
        if _wants_site(item):
            item.add_marker(pytest.mark.xdist_group(_GROUP))
            item.add_marker(pytest.mark.service)


def _wants_site(item: pytest.Item) -> bool:
    return "live_site" in getattr(item, "fixturenames", ())
