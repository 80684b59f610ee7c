"""The generated documents are what they would be if they were made now."""

from typing import get_args

import pytest

from engine import wire
from engine.errors import CODES
from engine.phases import phase_diagram
from serve_app import protocol_doc
from serve_app.errors import CLOSE_CODES
from serve_app.protocol_doc import expected_files, protocol_markdown, with_diagram


@pytest.mark.parametrize("name", ["PROTOCOL.md", "ARCHITECTURE.md"])
def test_the_document_is_up_to_date(name):
    path = protocol_doc.DOCS / name
    assert path.read_text("utf-8") == expected_files()[path], (
        "run: python -m serve_app.protocol_doc --write"
    )


def test_every_message_code_and_close_code_is_in_it():
    text = protocol_markdown()
    for kind in (*get_args(wire.ClientMessage), *get_args(wire.ServerMessage)):
        assert f"### `{kind.__struct_config__.tag}`\n" in text
        for field in kind.__struct_fields__:
            assert f"| `{field}` |" in text
    for code in CODES:
        assert f"| `{code}` |" in text
    for close in CLOSE_CODES.values():
        assert f"| {close.code} |" in text
    assert phase_diagram() in text


def test_every_link_leads_somewhere():
    text = protocol_markdown()
    for part in ("View", "RosterRow", "PublicQuestion", "Reveal", "ScoreRow", "You", "Result"):
        assert f"(#{part.lower()})" in text
        assert f"### {part}\n" in text


def test_a_document_without_markers_is_refused():
    with pytest.raises(ValueError, match="substring"):
        with_diagram("# Architecture\n")
