"""Child processes end with their parents, and say why they ended before."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from serve_app.embedded.errors import StartError
from serve_app.embedded.process import ChildProcess, end_all, families, running_in

HOLD_A_CHILD = """
import signal, sys, time
from pathlib import Path
from serve_app.embedded.process import ChildProcess
child = ChildProcess(
    "Sleeper", ["sleep", "3600"], Path(sys.argv[1]), end_signal=signal.SIGTERM
)
print(child.pid, flush=True)
time.sleep(3600)
"""


@pytest.fixture
def start(tmp_path):
    """A factory of children that run a line of shell."""
    children = []

    def start(line, end_signal=signal.SIGTERM):
        command = ["sh", "-c", line]
        children.append(ChildProcess("Helper", command, tmp_path / "log", end_signal=end_signal))
        return children[-1]

    yield start
    for child in children:
        child.stop(0)


def has_ended(pid):
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def wait_until(condition):
    """Spin: whatever is waited for comes from another process, and soon."""
    while not condition():
        os.sched_yield()


def test_a_child_ends_when_its_parent_is_killed(tmp_path):
    parent = subprocess.Popen(
        [sys.executable, "-c", HOLD_A_CHILD, str(tmp_path / "log")],
        stdout=subprocess.PIPE,
        text=True,
    )
    with parent:
        child = int(parent.stdout.readline())
        assert not has_ended(child)
        os.kill(parent.pid, signal.SIGKILL)
    wait_until(lambda: has_ended(child))


def test_a_child_ends_with_the_thread_that_made_it(start):
    made, leave = threading.Event(), threading.Event()
    children = []

    def make():
        children.append(start("exec sleep 3600"))
        made.set()
        leave.wait()

    thread = threading.Thread(target=make)
    thread.start()
    made.wait()
    children[0].require_alive()
    leave.set()
    thread.join()
    wait_until(lambda: has_ended(children[0].pid))


def test_a_child_has_a_process_group_of_its_own(start):
    child = start("exec sleep 3600")
    assert os.getpgid(child.pid) == child.pid != os.getpgid(0)


def test_a_child_that_ended_is_reported_with_the_last_lines_of_this_start(start, tmp_path):
    (tmp_path / "log").write_text("of an earlier start\n")
    child = start("for n in 1 2 3 4 5 6 7; do echo line $n; done; exit 1")
    wait_until(lambda: child._process.poll() is not None)
    with pytest.raises(StartError) as caught:
        child.require_alive()
    said = str(caught.value)
    assert said.startswith("Helper ended while starting. It said: line 3 | line 4")
    assert said.endswith(f"line 7 ({tmp_path / 'log'})")
    assert "line 2" not in said
    assert "earlier" not in said


def test_a_full_disk_is_named(start):
    child = start("echo 'could not write: No space left on device' >&2; exit 1")
    wait_until(lambda: child._process.poll() is not None)
    with pytest.raises(StartError, match="the disk is full, make room"):
        child.require_alive()


def test_a_stop_asks_first_and_kills_then(start):
    polite = start("trap 'exit 0' TERM; echo ready; while :; do sleep 0.01; done")
    wait_until(lambda: "ready" in polite._log.read_text())
    polite.stop(patience_s=60)
    assert polite._process.returncode == 0
    polite.stop(patience_s=60)

    stubborn = start("trap '' TERM; echo stubborn; while :; do sleep 0.01; done")
    wait_until(lambda: "stubborn" in stubborn._log.read_text())
    stubborn.stop(patience_s=0.05)
    assert stubborn._process.returncode == -signal.SIGKILL


def test_a_program_that_is_not_there_leaves_nothing_behind(tmp_path):
    with pytest.raises(FileNotFoundError):
        ChildProcess("Nobody", ["/nowhere"], tmp_path / "log", end_signal=signal.SIGTERM)


def test_families_are_our_children_with_the_mark_and_their_descendants(start):
    child = start("sleep 3601 & sleep 3602; : the-mark")
    other = start("exec sleep 3603")
    wait_until(
        lambda: [c.name() for c in psutil.Process(child.pid).children()] == ["sleep", "sleep"]
    )
    found = families("the-mark")
    assert found[0].pid == child.pid
    assert {process.cmdline()[-1] for process in found[1:]} == {"3601", "3602"}
    end_all(found, patience_s=0.05)
    wait_until(lambda: all(has_ended(process.pid) for process in found))
    other.require_alive()


def test_processes_are_found_by_their_folder_also_behind_a_link(tmp_path):
    folder, link = tmp_path / "folder", tmp_path / "link"
    folder.mkdir()
    link.symlink_to(folder)
    process = subprocess.Popen(["sleep", "3600"], cwd=folder)
    try:
        for path in (folder, link):
            assert [found.pid for found in running_in(path, "sleep")] == [process.pid]
        assert running_in(Path("/nowhere"), "sleep") == []
        assert running_in(folder, "another") == []
        end_all(running_in(link, "sleep"), patience_s=0.05)
        wait_until(lambda: has_ended(process.pid))
    finally:
        process.kill()
        process.wait()


def test_one_that_has_ended_and_is_collected_by_nobody_is_not_waited_for():
    parent = subprocess.Popen(
        ["sh", "-c", "sleep 3600 & echo $!; exec sleep 3600"], stdout=subprocess.PIPE, text=True
    )
    with parent:
        orphan = psutil.Process(int(parent.stdout.readline()))
        orphan.kill()  # its parent never asks for it: it stays in the table
        wait_until(lambda: has_ended(orphan.pid))
        end_all([orphan], patience_s=3_600)
        parent.kill()
