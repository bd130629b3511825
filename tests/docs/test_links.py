"""Links and names in the documentation lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.helpers.documentation import CARDS, DOCS, PAGES, anchors, code_spans, links
from tests.helpers.paths import ROOT

FOLDERS = ("benchmarks", "docs", "lipsync_cli", "models", "presets", "samples", "tests")
MOST_BYTES = 300_000
TEXTS = [*PAGES, *CARDS, ROOT / "samples" / "README.md", ROOT / "CHANGELOG.md"]
SOURCES = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "lipsync_cli").rglob("*.py"))


@pytest.mark.parametrize("page", TEXTS, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_to_files_and_headings(page: Path):
    broken = []
    for target in links(page):
        path, _, heading = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (heading and heading not in anchors(file)):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("page", TEXTS, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_paths_in_the_text_exist(page: Path):
    paths = [span for span in code_spans(page) if re.fullmatch(rf"(?:{'|'.join(FOLDERS)})/[\w./-]*", span)]
    assert [path for path in paths if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page", TEXTS, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_classes_in_the_text_exist(page: Path):
    names = {span for span in code_spans(page) if re.fullmatch(r"(?:[A-Z][a-z0-9]+){2,}", span)}
    missing = {name for name in names if not re.search(rf"\b{name}\b", SOURCES)}
    assert missing - {"KeyboardInterrupt"} == set()


def test_index_leads_to_every_page():
    index = {target.partition("#")[0] for target in links(DOCS / "index.md")}
    assert {page.name for page in DOCS.glob("*.md")} - {"index.md"} <= index


def test_pictures_are_small():
    sizes = {path.name: path.stat().st_size for path in (DOCS / "images").iterdir()}
    assert sizes and max(sizes.values()) <= MOST_BYTES


def test_words_of_the_glossary_are_used():
    text = (DOCS / "glossary.md").read_text(encoding="utf-8")
    rows = [row for row in re.findall(r"^\| ([^|]+) \| [^|]+ \|$", text, re.M) if row not in ("word", "---")]
    spoken = re.sub(r"[\s_\-]+", " ", SOURCES.lower())
    unused = [word for row in rows for word in row.split(", ") if word.lower().replace("-", " ") not in spoken]
    assert len(rows) > 50 and unused == []
