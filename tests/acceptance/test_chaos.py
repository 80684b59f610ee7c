"""The short form of ``make chaos``: the cluster profile loses nothing to the faults that matter most."""

import subprocess
import sys

import pytest

pytestmark = [pytest.mark.service, pytest.mark.xdist_group("up")]

_WAIT_S_MAX = 400


def test_nothing_is_lost_and_nothing_counts_twice():
    command = [sys.executable, "-m", "tests.chaos", "--short", "--participants", "100"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_WAIT_S_MAX)
    assert done.returncode == 0, done.stdout + done.stderr[-3_000:]
