"""Ports: blocks that no two instances share, and sentences about those that cannot be had."""

import os
import signal
import socket
import subprocess
import sys

import pytest

from serve_app.embedded import ports
from serve_app.embedded.errors import StartError
from serve_app.embedded.ports import EVERY_INTERFACE, LOOPBACK, PortBlock, lan_address, require_free

CLAIM_AND_HOLD = """
import sys
from serve_app.embedded import ports
ports._FIRST, ports._LAST = int(sys.argv[1]), int(sys.argv[2])
block = ports.PortBlock.claim()
print(block.take(), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def claim_elsewhere():
    """A factory of other processes that claim a block in a range and hold it."""
    processes = []

    def claim(first, last):
        process = subprocess.Popen(
            [sys.executable, "-c", CLAIM_AND_HOLD, str(first), str(last)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        return process, int(process.stdout.readline())

    yield claim
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture
def one_block(monkeypatch):
    """All the range there is: one block that is free."""
    block = PortBlock.claim()
    start = block.take() - 1
    block.release()
    monkeypatch.setattr(ports, "_FIRST", start)
    monkeypatch.setattr(ports, "_LAST", start + ports._SIZE)
    return start


@pytest.fixture
def taken():
    """A port of loopback on which somebody listens."""
    with socket.create_server((LOOPBACK, 0)) as server:
        yield server.getsockname()[1]


def test_ports_of_a_block_are_neighbours_and_free():
    block = PortBlock.claim()
    first = block.take(40)
    second = block.take()
    assert second == first + 40
    for port in (first, second):
        require_free(EVERY_INTERFACE, port)
    block.release()


def test_more_than_a_block_has_is_our_own_mistake():
    block = PortBlock.claim()
    block.take(ports._SIZE - 1)
    with pytest.raises(AssertionError):
        block.take()
    block.release()


def test_two_processes_never_claim_the_same_block(claim_elsewhere, one_block):
    _, theirs = claim_elsewhere(one_block, one_block + ports._SIZE)
    assert theirs == one_block + 1
    with pytest.raises(StartError, match="no 100 neighbouring ports are free"):
        PortBlock.claim()


def test_a_block_is_free_again_when_its_process_was_killed(claim_elsewhere, one_block):
    process, _ = claim_elsewhere(one_block, one_block + ports._SIZE)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    block = PortBlock.claim()
    assert block.take() == one_block + 1
    block.release()


def test_a_block_with_a_stranger_in_it_is_left_alone(one_block):
    with (
        socket.create_server((EVERY_INTERFACE, one_block + 50)),
        pytest.raises(StartError, match="stop some of the servers"),
    ):
        PortBlock.claim()
    # Nothing of the attempt stays: the guard is free again.
    PortBlock.claim().release()


@pytest.mark.parametrize("host", [LOOPBACK, EVERY_INTERFACE])
def test_a_taken_port_gets_a_sentence_that_says_what_to_do(taken, host):
    with pytest.raises(StartError) as caught:
        require_free(host, taken)
    said = str(caught.value)
    assert f"port {taken} cannot be used (Address already in use)" in said
    assert f"--port {taken + 1}" in said


def test_connections_that_linger_after_a_former_run_do_not_count():
    with socket.create_server((LOOPBACK, 0)) as server:
        port = server.getsockname()[1]
        client = socket.create_connection((LOOPBACK, port))
        accepted, _ = server.accept()
        accepted.close()  # the side that closes first lingers
        client.close()
    require_free(LOOPBACK, port)


def test_a_machine_in_no_network_is_told_so(monkeypatch):
    class Unreachable(socket.socket):
        def connect(self, _address):
            raise OSError(101, "Network is unreachable")

    monkeypatch.setattr(ports.socket, "socket", Unreachable)
    with pytest.raises(StartError, match="start without LAN"):
        lan_address()


def test_the_address_in_the_network_is_the_one_that_the_kernel_would_use(monkeypatch):
    class Routed(socket.socket):
        def connect(self, _address):
            super().connect((LOOPBACK, 9))

    monkeypatch.setattr(ports.socket, "socket", Routed)
    assert lan_address() == LOOPBACK
