"""Nothing acknowledged is lost and nothing counts twice, whatever is killed in the middle."""

from tests.acceptance.rounds import kill, replica_pids

_PARTICIPANTS = 120


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


def _opening(played):
    view = played.demo.view
    return view.opening_no if view is not None else 0
