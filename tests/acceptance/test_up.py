"""``rayquiz up`` as a person uses it: a terminal, addresses, Ctrl-C, and again."""

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
import psutil
import pytest

from serve_app.embedded.ports import lan_address
from serve_app.embedded.postgres import Postgres
from serve_app.embedded.valkey import Valkey
from tests.acceptance.rounds import worker_pids

pytestmark = [pytest.mark.service, pytest.mark.xdist_group("up")]

_RAYQUIZ = str(Path(sys.executable).with_name("rayquiz"))
_START_S_MAX = 120.0
_STOP_S_MAX = 60.0
_ANSWER_S_MAX = 30.0
_SESSIONS = 9
#: What the front says to those who have no token, by method and path. Nothing of it names a server.
_AT_THE_FRONT = {
    "GET /": 200,
    "GET /play": 200,
    "GET /host": 200,
    "GET /board": 200,
    "GET /library": 200,
    "GET /nothing": 404,
    "GET /qr/000000.svg": 200,
    "GET /-/healthz": 200,
    "GET /-/routes": 404,
    "GET /-/Routes/": 404,
    "GET /api/health": 200,
    "GET /api/ready": 200,
    "GET /api/openapi.json": 200,
    "GET /api/metrics": 404,
    "GET /api/%6detrics": 404,
    "GET /api//metrics": 404,
    "GET /api/docs": 404,
    "GET /api/quizzes": 401,
    "POST /api/quizzes": 401,
    "POST /api/quizzes/import": 401,
    "GET /api/sessions": 401,
    "POST /api/sessions": 401,
    "GET /api/pins/000000": 404,
    "GET /ws/health": 200,
    "GET /metrics": 404,
    "GET /stats": 404,
    "GET /dashboard": 404,
}


class Terminal:
    """One ``rayquiz up``; what it says is kept in a file."""

    def __init__(self, folder: Path, *arguments: str, **variables: str) -> None:
        self.said_to = folder / "terminal.txt"
        with self.said_to.open("w") as out:
            self.process = subprocess.Popen(
                [_RAYQUIZ, "up", *arguments],
                stdout=out,
                stderr=out,
                start_new_session=True,
                env={**os.environ, **variables},
            )

    @property
    def said(self) -> str:
        return self.said_to.read_text()

    def wait_ready(self) -> dict[str, str]:
        """The addresses that it prints, by name."""
        deadline = time.monotonic() + _START_S_MAX
        while "Operator token" not in self.said:
            assert self.process.poll() is None, self.said
            assert time.monotonic() < deadline, self.said
            time.sleep(0.1)
        return dict(re.findall(r"^(\w[\w ]*?) {2,}(\S+)", self.said, re.MULTILINE))

    def family(self) -> list[psutil.Process]:
        """It and all that it has started."""
        me = psutil.Process(self.process.pid)
        return [me, *me.children(recursive=True)]

    def listening_with(self, address: str, port: int) -> set[tuple[str, int]]:
        """(address, port) of every listening socket, once that one is there.

        HAProxy starts anew whenever replicas come, and is nowhere for a moment.
        """
        deadline = time.monotonic() + _START_S_MAX
        while (address, port) not in (found := _listening(self.family())):
            assert time.monotonic() < deadline, found
            time.sleep(0.1)
        return found

    def interrupt(self) -> int:
        """Ctrl-C; return the exit status."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(_STOP_S_MAX)


def _listening(family):
    """(address, port) of every listening TCP socket of these processes."""
    found: set[tuple[str, int]] = set()
    for process in family:
        try:
            connections = process.net_connections(kind="tcp")
        except psutil.NoSuchProcess:
            continue
        found |= {
            (c.laddr.ip.removeprefix("::ffff:"), c.laddr.port)
            for c in connections
            if c.status == psutil.CONN_LISTEN
        }
    return found


def _answers_at(front):
    """The status of every address of :data:`_AT_THE_FRONT`, whatever headers a stranger sends."""
    found = {}
    headers = {"x-rayquiz-door": "metrics", "x-forwarded-for": "127.0.0.1"}
    with httpx.Client(base_url=front, headers=headers, timeout=_ANSWER_S_MAX) as client:
        for one in _AT_THE_FRONT:
            method, path = one.split(" ")
            # As it stands: httpx would tidy the path up.
            response = client.request(method, httpx.URL(front).copy_with(raw_path=path.encode()))
            found[one] = response.status_code
            assert "nosniff" in response.headers.get("x-content-type-options", "nosniff")
        for path in ("/api/health", "/api/ready", "/ws/health"):
            assert client.get(path).json() == {"status": "ok"}
    return found


def _free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def _left(family):
    return [p for p in family if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


#: Ray's own; without their parent they look for the control store for a minute before they go.
_AGENTS = ("ray::DashboardAgent", "ray::RuntimeEnvAgent")


def _fill_an_evening(terminal, api, token):
    """Open more sessions than two cores have; whoever looks at the terminal hears nothing of it."""
    said = terminal.said
    headers = {"authorization": f"Bearer {token}"}
    with httpx.Client(base_url=api, headers=headers, timeout=_ANSWER_S_MAX) as client:
        quiz_id = client.get("/quizzes").json()["items"][0]["quiz_id"]
        for _ in range(_SESSIONS):
            assert client.post("/sessions", json={"quiz_id": quiz_id}).status_code == 201
    deadline = time.monotonic() + _START_S_MAX
    # Two more: the session that it began with, and the actor for the next one.
    starter = psutil.Process(terminal.process.pid)
    while len(worker_pids("ray::SessionActor", starter)) < _SESSIONS + 2:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert terminal.said == said


def test_up_plays_is_killed_comes_back_with_its_data_and_stops(tmp_path):
    data, port = str(tmp_path / "data"), _free_port()
    first = Terminal(tmp_path, "--data", data, "--port", str(port))
    try:
        addresses = first.wait_ready()
        for name in ("Host", "Join", "Scoreboard", "Quizzes", "Ray dashboard"):
            page = addresses[name].partition("#")[0]
            assert httpx.get(page, timeout=_ANSWER_S_MAX).status_code == 200, name
        assert _answers_at(f"http://127.0.0.1:{port}") == _AT_THE_FRONT
        metrics = httpx.get(addresses["Metrics"], timeout=_ANSWER_S_MAX)
        assert "# HELP quiz_hub_connections " in metrics.text
        other = addresses["Metrics"].replace("/metrics", "/api/sessions")
        assert httpx.get(other, timeout=_ANSWER_S_MAX).status_code == 404
        listening = first.listening_with("127.0.0.1", port)
        assert {address for address, _ in listening} <= {"127.0.0.1", "::1"}
        family = [p for p in first.family() if not p.name().startswith(_AGENTS)]

        second = Terminal(tmp_path / "data", "--data", data, "--port", str(_free_port()))
        assert second.process.wait(_STOP_S_MAX) == 1
        assert "another Rayquiz is running on the data folder" in second.said
        elsewhere = Terminal(tmp_path / "data", "--data", f"{data}-2", "--port", str(port))
        assert elsewhere.process.wait(_STOP_S_MAX) == 1
        assert f"port {port} cannot be used" in elsewhere.said
    finally:
        first.process.kill()
        first.process.wait()
    psutil.wait_procs(family, timeout=_STOP_S_MAX)
    assert _left(family) == []

    again = Terminal(tmp_path, "--data", data, "--port", str(port), "--lan")
    try:
        found = again.wait_ready()
        # The lobby that the first start opened is still there, under its PIN.
        pin = re.search(r"pin=(\d{6})", addresses["Join"])[1]
        assert f"pin={pin}" in found["Join"]
        assert found["Join"].startswith(f"http://{lan_address()}:{port}/")
        listening = again.listening_with("0.0.0.0", port)
        assert {where for where in listening if where[0] not in ("127.0.0.1", "::1")} == {
            ("0.0.0.0", port)
        }
        assert _answers_at(f"http://{lan_address()}:{port}") == _AT_THE_FRONT
        assert httpx.get(found["Metrics"], timeout=_ANSWER_S_MAX).status_code == 200
        assert found["Metrics"].startswith("http://127.0.0.1:")
        assert found["Ray dashboard"].startswith("http://127.0.0.1:")
        _fill_an_evening(again, f"http://127.0.0.1:{port}/api", found["Operator token"])
        family = again.family()
    finally:
        status = again.interrupt()
    assert status == 0
    assert "the data is kept" in again.said
    assert _left(family) == []


@pytest.fixture
def servers(tmp_path):
    """A database without a schema and a Valkey that somebody else runs, by their variables."""
    with tempfile.TemporaryDirectory(prefix="rq-test-") as sockets:
        postgres, valkey = Postgres(tmp_path / "pg", Path(sockets)), Valkey(tmp_path, Path(sockets))
        try:
            postgres.start()
            valkey.start()
            yield {"RAYQUIZ_DATABASE_URL": postgres.url, "RAYQUIZ_REDIS_URL": valkey.url}
            assert all(map(psutil.pid_exists, (postgres.pid, valkey.pid)))
        finally:
            valkey.stop()
            postgres.stop()


def test_up_uses_servers_that_run_elsewhere_once_they_have_the_schema(tmp_path, servers):
    arguments = (
        "--profile",
        "external",
        "--port",
        str(_free_port()),
        "--data",
        str(tmp_path / "d"),
    )
    early = Terminal(tmp_path, *arguments, **servers)
    assert early.process.wait(_STOP_S_MAX) == 1
    assert "run `rayquiz migrate up` first" in early.said
    migrate = [_RAYQUIZ, "migrate", "up"]
    subprocess.run(migrate, env={**os.environ, **servers}, check=True, capture_output=True)
    site = Terminal(tmp_path, *arguments, **servers)
    try:
        join = site.wait_ready()["Join"]
        assert httpx.get(join, timeout=_ANSWER_S_MAX).status_code == 200
        family = site.family()
        assert not any(one.name().startswith(("postgres", "valkey")) for one in family)
    finally:
        status = site.interrupt()
    assert status == 0
    assert _left(family) == []
