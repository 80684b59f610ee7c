"""The command line: what it says, and with which exit status."""

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from serve_app.cli import app, main
from serve_app.cli.import_quiz import read_quiz
from serve_app.embedded.errors import StartError
from serve_app.samples import welcome_quiz

_ITEM = "#Q Which is the red planet?\n^ Mars\nA Mars\nB Venus\n"


@pytest.fixture
def run():
    runner = CliRunner()
    return lambda *arguments: runner.invoke(app, [str(argument) for argument in arguments])


@pytest.mark.parametrize(
    "command", ["up", "demo", "import", "results", "doctor", "migrate up", "migrate down"]
)
def test_every_command_explains_itself(run, command):
    done = run(*command.split(), "--help")
    assert done.exit_code == 0
    assert "--data" in done.output


def test_the_command_line_does_not_import_ray():
    code = "import sys, serve_app.cli; sys.exit('ray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_format_follows_the_ending_and_the_title_the_name(tmp_path):
    file = tmp_path / "planets_and-moons.txt"
    file.write_text(_ITEM)
    report = read_quiz(file)
    assert report.quiz.title == "Planets and moons"
    assert len(report.quiz.questions) == 1
    assert read_quiz(file, "Other").quiz.title == "Other"


def test_an_unknown_ending_asks_for_the_format(run, tmp_path):
    file = tmp_path / "planets.dat"
    file.write_text(_ITEM)
    done = run("import", file)
    assert done.exit_code == 1
    assert "give --format, one of rayquiz, opentriviaqa" in done.output
    assert len(read_quiz(file, format_name="opentriviaqa").quiz.questions) == 1


def test_a_file_without_a_usable_question_is_refused(run, tmp_path):
    file = tmp_path / "broken.txt"
    file.write_text("#Q Broken\n^ Nowhere\nA Here\n")
    done = run("import", file)
    assert done.exit_code == 1
    assert "no question that can be used" in done.output


def test_a_demo_of_more_questions_than_there_are_is_refused(run):
    count = len(welcome_quiz().questions)
    done = run("demo", "--questions", count + 1)
    assert isinstance(done.exception, StartError)
    assert f"the quiz has {count} questions" in str(done.exception)


def test_what_the_operator_can_mend_is_one_sentence(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["rayquiz", "demo", "--questions", "999"])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 1
    assert capsys.readouterr().err.startswith("rayquiz: the quiz has")
