"""Parts of the documentation that repeat what the program says."""

from __future__ import annotations

from pathlib import Path

import pytest

from lipsync_cli.cli.app import COMMANDS
from tests.helpers.documentation import DOCS, PAGES, anchors, generator


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_page_says_what_the_program_says(page: Path):
    text = page.read_text(encoding="utf-8")
    assert generator().refreshed(text) == text, "run python docs/generate.py and commit what it changes"


def test_reference_has_a_section_for_every_command():
    sections = anchors(DOCS / "cli.md")
    paths = [context.command_path for _, context in generator().commands()]
    assert {f"lipsync-{name}" for name in COMMANDS} <= sections
    assert [path for path in paths if path.replace(" ", "-") not in sections] == []
    assert "lipsync models pull" in paths and "lipsync train prepare" in paths


def test_reference_says_something_of_every_parameter():
    for command, context in generator().commands():
        assert command.help, context.command_path
        silent = [param.name for param in command.get_params(context) if not param.hidden and not param.help]
        assert silent == [], context.command_path


def test_reference_does_not_depend_on_the_terminal(monkeypatch: pytest.MonkeyPatch):
    before = generator().cli_reference()
    for name, value in {"COLUMNS": "40", "TERMINAL_WIDTH": "40", "FORCE_COLOR": "1"}.items():
        monkeypatch.setenv(name, value)
    assert generator().cli_reference() == before


def test_part_is_made_anew_between_its_marks():
    page = "Before.\n\n<!-- generated: exit-codes -->\nold\n<!-- end -->\n\nAfter.\n"
    made = generator().refreshed(page)
    assert made.startswith("Before.\n\n<!-- generated: exit-codes -->\n\n| exit |")
    assert made.endswith("|\n\n<!-- end -->\n\nAfter.\n") and "old" not in made
    assert generator().refreshed(made) == made


def test_table_keeps_pipes_in_their_cells():
    assert generator().table(("a", "b"), [("x|y", "z")]).splitlines()[-1] == r"| x\|y | z |"
