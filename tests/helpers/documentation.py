"""The documentation as data: its pages, the commands and code in them, their headings and links."""

from __future__ import annotations

import importlib.util
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import takewhile
from pathlib import Path
from types import ModuleType

from tests.helpers.paths import ROOT

DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.glob("*.md"))]
CARDS = [*sorted(ROOT.glob("models/*/CARD.md")), ROOT / "models" / "lip-forcing-mini" / "GALLERY.md"]
"""What models say of themselves to people."""
_FENCE = re.compile(r"^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.M | re.S)
_LINK = re.compile(r"(?<!`)!?\[[^\]]*\]\((?P<target>[^)\s]+)\)")
_HEADING = re.compile(r"^#+ (?P<title>.+)$", re.M)


@dataclass(frozen=True, slots=True)
class Block:
    """A block of code: the page, the line it begins at, and what is in it."""

    page: Path
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path, language: str) -> list[Block]:
    """The fenced blocks of a page that say they are ``language``."""
    text = page.read_text(encoding="utf-8")
    found = (match for match in _FENCE.finditer(text) if match["language"] == language)
    return [Block(page, text.count("\n", 0, match.start()) + 2, match["text"]) for match in found]


def shell_commands() -> Iterator[tuple[Block, list[str]]]:
    """The words of every command in a ``sh`` block, up to a pipe or a redirection."""
    for page in [*PAGES, *CARDS]:
        for block in blocks(page, "sh"):
            for number, line in _whole_lines(block.text):
                if words := shlex.split(line, comments=True):
                    own = list(takewhile(lambda word: word not in ("|", ">"), words))
                    yield Block(page, block.line + number, line), own


def _whole_lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines with those they go on in, and the number of the first."""
    number = 0
    for line in re.split(r"(?<!\\)\n", text):
        yield number, line.replace("\\\n", " ")
        number += line.count("\n") + 1


def without_code(page: Path) -> str:
    """A page's prose: fenced blocks left out."""
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)


def links(page: Path) -> list[str]:
    """Targets of links and pictures, those into the web left out."""
    targets = (match["target"] for match in _LINK.finditer(without_code(page)))
    return [target for target in targets if not re.match(r"[a-z]+:", target)]


def anchors(page: Path) -> set[str]:
    """What a link to a heading of the page may say behind ``#``, as code hosts make it of the heading."""
    titles = (match["title"] for match in _HEADING.finditer(without_code(page)))
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def code_spans(page: Path) -> set[str]:
    """What stands between single backticks in a page's prose."""
    return set(re.findall(r"(?<!`)`([^`\n]+)`(?!`)", without_code(page)))


@cache
def generator() -> ModuleType:
    """``docs/generate.py``, which is a script and no module of a package."""
    spec = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
