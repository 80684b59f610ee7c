"""One suite for each port, over the form in memory and the real one."""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest


def pytest_configure(config):
    """Take the servers of ``tests/servers.py``; a worker that runs several folders has one of each."""
    if not config.pluginmanager.has_plugin("servers"):
        spec = spec_from_file_location("servers", Path(__file__).parents[1] / "servers.py")
        servers = module_from_spec(spec)
        spec.loader.exec_module(servers)
        config.pluginmanager.register(servers, "servers")


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents and _has_server(item):
            item.add_marker(pytest.mark.service)


def _has_server(item):
    chosen = getattr(item, "callspec", None)  # tests of the websocket layers choose no server
    return chosen is not None and chosen.params.get("server_url", "memory") != "memory"
