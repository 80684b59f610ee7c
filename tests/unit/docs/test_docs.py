"""What the documents name exists: links, files, commands, functions; their examples work."""

import re
from pathlib import Path

import pytest
import typer.main

from engine import limits
from engine.importers import import_quiz
from serve_app.cli import app

ROOT = Path(__file__).parents[3]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
ADRS = sorted((ROOT / "docs/adr").glob("*.md"))
#: Written by hand: what they say of the code is checked word by word.
ABOUT_CODE = [ROOT / "docs/ARCHITECTURE.md", ROOT / "docs/GLOSSARY.md", *ADRS]
SOURCES = [
    path
    for folder in ("engine", "actors", "serve_app", "migrations", "simulation", "tests")
    for path in (ROOT / folder).rglob("*")
    if path.suffix in (".py", ".sql", ".js") and path != Path(__file__)
]
WORDS = {
    word for path in SOURCES for word in re.findall(r"[A-Za-z_]\w*", path.read_text("utf-8"))
} | set(re.findall(r"\w+", (ROOT / "pyproject.toml").read_text("utf-8")))

_CODE_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_INLINE = re.compile(r"`([^`\n]+)`")


def named(path):
    return str(path.relative_to(ROOT))


def text_of(path):
    return path.read_text("utf-8")


def inline_code(path):
    """What stands between single backticks, outside of blocks."""
    return _INLINE.findall(_CODE_BLOCK.sub("", text_of(path)))


def blocks(path, language):
    return [body for found, body in _CODE_BLOCK.findall(text_of(path)) if found == language]


def anchors(path):
    """The fragments that a document's headings make, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", _CODE_BLOCK.sub("", text_of(path)), re.MULTILINE)
    return {
        re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings
    }


# --- links and names --------------------------------------------------------------------------------


@pytest.mark.parametrize("path", DOCUMENTS, ids=named)
def test_links_lead_somewhere(path):
    for link in _LINK.findall(_CODE_BLOCK.sub("", text_of(path))):
        if link.startswith(("https://", "mailto:")):
            continue
        target, _, fragment = link.partition("#")
        file = path.parent / target if target else path
        assert file.exists(), f"{link} leads nowhere"
        if fragment:
            assert fragment in anchors(file), f"{link} names no heading"


@pytest.mark.parametrize("path", DOCUMENTS, ids=named)
def test_files_that_are_named_exist(path):
    for name in inline_code(path):
        if re.fullmatch(r"[\w./-]+/[\w.-]+\.(py|sql|md|js|txt|toml)", name) and "NNNN" not in name:
            assert (ROOT / name).exists(), f"`{name}` does not exist"


@pytest.mark.parametrize("path", DOCUMENTS, ids=named)
def test_folders_that_are_named_exist(path):
    for name in inline_code(path):
        if re.fullmatch(r"(?:\w+/)+", name):
            assert (ROOT / name).is_dir(), f"`{name}` does not exist"


@pytest.mark.parametrize("path", ABOUT_CODE, ids=named)
def test_names_of_the_code_are_in_the_code(path):
    """Names with an underscore, a dot or capitals within: functions, methods, classes, limits."""
    for name in inline_code(path):
        if not re.fullmatch(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*", name):
            continue
        if (ROOT / name).exists():
            continue
        unknown = set(name.split(".")) - WORDS
        assert not unknown, f"`{name}`: the code has no {', '.join(unknown)}"


# --- commands ---------------------------------------------------------------------------------------


def make_targets():
    makefile = (ROOT / "Makefile").read_text("utf-8")
    return set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))


def shell_lines(path):
    """What a reader may type: inline code, and blocks without a language."""
    return [*inline_code(path), *(line for body in blocks(path, "") for line in body.splitlines())]


@pytest.mark.parametrize("path", DOCUMENTS, ids=named)
def test_make_targets_exist(path):
    for line in shell_lines(path):
        if match := re.match(r"make ([a-z]+)\b", line):
            assert match[1] in make_targets(), f"`{line}`: there is no such target"


@pytest.mark.parametrize("path", DOCUMENTS, ids=named)
def test_commands_and_their_options_exist(path):
    for line in shell_lines(path):
        match = re.match(r"(?:\.venv/bin/)?rayquiz ([a-z-]+)(?: (up|down|status)\b)?(.*)", line)
        if match is None:
            continue
        name, second, rest = match.groups()
        command = typer.main.get_command(app).commands.get(name)
        assert command is not None, f"`{line}`: there is no such command"
        if second:
            command = command.commands[second]
        known = {option for parameter in command.params for option in parameter.opts}
        given = set(re.findall(r"--[a-z-]+", rest))
        assert given <= known, f"`{line}`: there is no {', '.join(given - known)}"


def test_the_readme_names_every_command_and_variable():
    readme = text_of(ROOT / "README.md")
    for name in typer.main.get_command(app).commands:
        assert f"`rayquiz {name}" in readme
    for variable in ("LAN=1", "PORT=", "DATA="):
        assert f"make run {variable}" in readme


def test_the_readme_has_a_place_for_figures():
    readme = text_of(ROOT / "README.md")
    assert readme.index("<!-- bench: begin -->") < readme.index("<!-- bench: end -->")


# --- decisions --------------------------------------------------------------------------------------


def test_decisions_are_numbered_without_gaps():
    assert [path.name[:5] for path in ADRS] == [f"{n:04}-" for n in range(1, len(ADRS) + 1)]


@pytest.mark.parametrize("path", ADRS, ids=named)
def test_a_decision_has_its_four_parts(path):
    text = text_of(path)
    assert text.startswith(f"# {path.name[:4]}: ")
    headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert headings == ["Status", "Context", "Decision", "Consequences"]
    assert "Set aside" in text


def test_documents_that_the_code_names_exist():
    for path in SOURCES:
        for name in re.findall(r"\bdocs/[\w/-]+\.md\b", text_of(path)):
            assert (ROOT / name).exists(), f"{named(path)} names {name}"


# --- the format of quizzes --------------------------------------------------------------------------

FORMAT = ROOT / "docs/quiz-format.md"


@pytest.mark.parametrize("example", blocks(FORMAT, "json"))
def test_an_example_in_json_is_a_quiz(example):
    report = import_quiz(example.encode(), "rayquiz", "")
    assert (report.skipped, report.warnings) == ([], [])


@pytest.mark.parametrize("example", blocks(FORMAT, "text"))
def test_an_example_of_opentriviaqa_is_a_quiz(example):
    report = import_quiz(example.encode(), "opentriviaqa", "Example")
    assert (len(report.quiz.questions), report.skipped, report.warnings) == (2, [], [])


def test_the_format_has_examples_of_both():
    assert len(blocks(FORMAT, "json")) == 2
    assert len(blocks(FORMAT, "text")) == 1


@pytest.mark.parametrize(
    "bound",
    [
        limits.TITLE_CHARS_MAX,
        limits.DESCRIPTION_CHARS_MAX,
        limits.QUIZ_QUESTIONS_MAX,
        limits.QUESTION_CHARS_MAX,
        limits.CHOICES_MAX,
        limits.CHOICE_CHARS_MAX,
        limits.ACCEPTED_MAX,
        limits.TYPED_CHARS_MAX,
        limits.EXPLANATION_CHARS_MAX,
        limits.TIME_LIMIT_MS_MIN,
        limits.TIME_LIMIT_MS_MAX,
    ],
)
def test_the_format_states_the_bounds(bound):
    assert re.search(rf"\b{bound:,}\b", text_of(FORMAT))
