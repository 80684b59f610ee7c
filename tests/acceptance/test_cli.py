"""The commands of a researcher and an operator, against the running site."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

_RAYQUIZ = str(Path(sys.executable).with_name("rayquiz"))
_UNTIDY = Path(__file__).parents[1] / "data" / "opentriviaqa" / "untidy.txt"


@pytest.fixture
def rayquiz(live_site):
    def run(*arguments, status=0):
        done = subprocess.run(
            [_RAYQUIZ, *arguments, "--data", str(live_site.folder)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == status, done.stderr
        return done.stdout

    return run


def test_demo_reports_and_results_tell_the_same(rayquiz):
    report = json.loads(rayquiz("demo", "--participants", "20", "--questions", "2", "--json"))
    assert (
        report["answers_sent"] == report["answers_acknowledged"] == report["answers_stored"] == 40
    )
    assert report["scoreboards_agree"] is True
    assert report["problems"] == []
    assert 0 < report["ack_latency_ms_p50"] <= report["ack_latency_ms_p99"]

    session_id = report["session_id"]
    assert session_id in rayquiz("results")
    assert json.loads(rayquiz("results", "--json"))[0]["session_id"] == session_id
    found = json.loads(rayquiz("results", session_id, "--json"))
    assert len(found["answers"]) == 40
    lines = rayquiz("results", session_id, "--csv").splitlines()
    assert lines[0].startswith("opening,question,participant_id,nickname")
    assert len(lines) == 41
    assert found["scoreboard"][0]["nickname"] in rayquiz("results", session_id)


def test_import_lists_what_it_left_out(rayquiz, live_site):
    said = rayquiz("import", str(_UNTIDY), "--title", "Untidy")
    quiz_id = said.split()[0]
    with live_site.api() as api:
        stored = api.get(f"/quizzes/{quiz_id}").json()
    assert stored["title"] == "Untidy"
    assert f"{stored['question_count']} questions" in said


def test_a_session_that_does_not_exist(rayquiz):
    rayquiz("results", "00000000-0000-4000-8000-000000000000", status=1)


def test_the_doctor_finds_the_running_site(rayquiz):
    assert "Rayquiz is running" in rayquiz("doctor")


def test_the_schema_is_complete(rayquiz):
    assert "missing" not in rayquiz("migrate", "status")
