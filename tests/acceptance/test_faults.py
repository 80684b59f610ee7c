"""Nothing acknowledged is lost and nothing counts twice, whatever is killed in the middle."""

import signal
import time
from contextlib import contextmanager, suppress

import httpx
import msgspec
import psutil
from websockets.sync.client import connect

from engine.model import Mode
from engine.testing.factories import make_question, make_quiz
from engine.wire import Answer, Hello, Receipt, Welcome, decode_server_message, encode_json
from tests.acceptance.rounds import kill, replica_pids

_PARTICIPANTS = 120
_WAIT_S_MAX = 30


def test_session_actor_killed_in_every_question(played):
    played.begin(_PARTICIPANTS)
    for opening in (1, 2, 3, 4):
        played.wait_for_burst(opening)
        before = played.session_row()["epoch"]
        kill(played.session_actor_pid())
        played.wait_for_epoch(before + 1)
    played.finish()


def test_notificator_killed_in_a_burst(played):
    played.begin(_PARTICIPANTS)
    played.wait_for_burst(opening=2)
    (pid,) = replica_pids("notificator")
    kill(pid)
    assert played.finish().reconnects > 0


def test_actor_and_notificator_killed_together(played):
    played.begin(_PARTICIPANTS)
    played.wait_for_burst(opening=3)
    actor, (replica,) = played.session_actor_pid(), replica_pids("notificator")
    kill(actor)
    kill(replica)
    played.finish()


def test_database_killed_in_a_burst(played):
    played.begin(_PARTICIPANTS)
    played.wait_for_burst(opening=2)
    postgres = played.site.stack.postgres
    kill(postgres.pid)
    postgres.start()
    played.finish()


def test_valkey_killed_costs_freshness_only(played):
    played.begin(_PARTICIPANTS)
    played.wait_for_burst(opening=2)
    valkey = played.site.stack.valkey
    kill(valkey.pid)
    played.wait_for("the next question without Valkey", lambda: _opening(played) >= 3)
    valkey.start()
    played.finish()


def test_the_receipt_of_a_stored_answer_needs_no_database(live_site, open_session):
    """The first answer over HTTP that a replica sees of a session, with the database away."""
    stored = {mode: _stored_answer(live_site, open_session, mode) for mode in Mode}
    postgres = live_site.stack.postgres
    kill(postgres.pid)
    try:
        answered = {
            mode: httpx.post(
                f"{path}/answers",
                json={"opening": 1, "choices": [1]},
                headers={"authorization": f"Bearer {token}"},
                timeout=_WAIT_S_MAX,
            )
            for mode, (path, token, _) in stored.items()
        }
    finally:
        postgres.start()
    for mode, (_, _, receipt) in stored.items():
        assert answered[mode].status_code == 200, answered[mode].text
        # What was right is told on a websocket only.
        bare = msgspec.structs.replace(receipt, reveal=None)
        assert answered[mode].content == encode_json(bare)
        assert ("points" in answered[mode].json()) == (mode is Mode.SELF_PACED)


def test_a_silent_valkey_holds_up_neither_calls_nor_hellos(live_site, open_session):
    """Opening, joining by PIN, moving, a hello, an answer, and the checks of health."""
    with _paused(live_site.stack.valkey.pid):
        _stored_answer(live_site, open_session, Mode.SELF_PACED)
        for check in ("health", "ready"):
            assert _get(live_site, check).status_code == 200


def test_a_silent_database_is_told_to_all_and_holds_up_nobody(live_site, open_session):
    _, token, _ = _stored_answer(live_site, open_session, Mode.SELF_PACED)
    with _paused(live_site.stack.postgres.pid):
        assert _get(live_site, "health").status_code == 200
        for path in ("ready", "quizzes"):
            refused = _get(live_site, path)
            assert (refused.status_code, refused.json()["code"]) == (503, "retry")
        with connect(live_site.ws_url) as socket:
            socket.send(encode_json(Hello(token)).decode())
            assert isinstance(decode_server_message(socket.recv(_WAIT_S_MAX).encode()), Welcome)
    deadline = time.monotonic() + _WAIT_S_MAX
    while _get(live_site, "ready").status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    _stored_answer(live_site, open_session, Mode.SELF_PACED)


@contextmanager
def _paused(pid):
    main = psutil.Process(pid)
    processes = [main, *main.children(recursive=True)]
    for process in processes:
        with suppress(psutil.NoSuchProcess):  # a backend whose client has left meanwhile
            process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGCONT)


def _get(live_site, path):
    headers = {"authorization": f"Bearer {live_site.operator_token}"}
    return httpx.get(f"{live_site.base_url}/api/{path}", headers=headers, timeout=_WAIT_S_MAX)


def _stored_answer(live_site, open_session, mode):
    """The path of a session, the token of somebody who has answered on a socket, and the receipt."""
    quiz = msgspec.to_builtins(make_quiz(make_question(time_limit_ms=600_000)))
    scoring = "accuracy.v1"  # which both allow
    opened = open_session(quiz, {"mode": mode.value, "scoring": scoring, "preview_ms": 0})
    path = f"{live_site.base_url}/api/sessions/{opened['session_id']}"
    joins = f"{live_site.base_url}/api/pins/{opened['pin']}/participants"
    # Two, because a question that all have answered closes at once, and then refuses.
    for name in ("Ben", "Mia"):
        body = {"nickname": name, "join_key": f"key-of-{name}"}
        token = httpx.post(joins, json=body, timeout=_WAIT_S_MAX).json()["token"]
    start = {"command_id": "command-1", "step": "start", "phase": "lobby", "opening": 0}
    headers = {"authorization": f"Bearer {opened['host_token']}"}
    httpx.post(f"{path}/moves", json=start, headers=headers, timeout=_WAIT_S_MAX).raise_for_status()
    return path, token, _answer_on_a_socket(live_site.ws_url, token)


def _answer_on_a_socket(url, token):
    with connect(url) as socket:
        socket.send(encode_json(Hello(token)).decode())
        assert isinstance(decode_server_message(socket.recv(_WAIT_S_MAX).encode()), Welcome)
        socket.send(encode_json(Answer(1, (1,))).decode())
        while True:
            message = decode_server_message(socket.recv(_WAIT_S_MAX).encode())
            if isinstance(message, Receipt):
                return message


def _opening(played):
    view = played.demo.view
    return view.opening_no if view is not None else 0
