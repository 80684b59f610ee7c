"""Tests against the real services of the embedded profile."""

import os
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

from actors import cache
from engine import limits


def pytest_configure(config):
    """Take the servers of ``tests/servers.py``; a worker that runs several folders has one of each."""
    if not config.pluginmanager.has_plugin("servers"):
        spec = spec_from_file_location("servers", Path(__file__).parents[1] / "servers.py")
        servers = module_from_spec(spec)
        spec.loader.exec_module(servers)
        config.pluginmanager.register(servers, "servers")


@pytest.fixture(autouse=True)
def own_settings(monkeypatch):
    """The settings of a site that runs in this process are none of these tests'."""
    for name in [name for name in os.environ if name.startswith("RAYQUIZ_")]:
        monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    """Redis on a machine that is busy with other tests is not away."""
    monkeypatch.setattr(cache, "_ANSWER_S_MAX", 1.0)
    monkeypatch.setattr(limits, "CACHE_FILL_MS", 1_500)


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.service)
