"""What the pages refer to exists: files, tests, sections, and texts of the log."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
# Lines of Fluent Bit itself, which the table quotes too.
FLUENT_BIT = {
    "error opening plugin ... cannot open shared object file",
    "unsupported plugin type",
    "error loading proxy plugin",
}
all_pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@all_pages
def test_paths_of_tests_exist(page: Path) -> None:
    named = set(re.findall(r"\btests/[\w/.-]*\w", page.read_text()))
    missing = {name for name in named if not (ROOT / name).exists()}
    assert missing == set()


@all_pages
def test_links_lead_somewhere(page: Path) -> None:
    wrong = set()
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        linked = page.parent / name if name else page
        if not linked.exists() or (anchor and anchor not in anchors(linked)):
            wrong.add(target)
    assert wrong == set()


def test_tests_that_are_named_are_tests() -> None:
    text = (ROOT / "docs" / "reliability.md").read_text()
    sources = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    named = re.findall(r"`(test_\w+)(?:\.\.\.)?`", text)
    assert len(named) >= 3
    assert [name for name in named if f"def {name}" not in sources] == []


def texts_of_the_source() -> str:
    """Return all string literals of the package and of the library for Fluent Bit."""
    texts = []
    for path in (ROOT / "kinesis_fast").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
    for path in (ROOT / "src_pyx" / "host").glob("*.c"):
        texts.append(re.sub(r'"\s*"', "", path.read_text()))
    return "\n".join(texts)


def test_log_lines_that_the_troubleshooting_quotes_are_in_the_source() -> None:
    page = (ROOT / "docs" / "fluent-bit.md").read_text().partition("## Troubleshooting")[2]
    rows = [row.split("|")[1] for row in page.splitlines() if row.startswith("| `")]
    quoted = {text for row in rows for text in re.findall(r"`([^`]+)`", row)} - FLUENT_BIT
    quoted -= {text for text in quoted if " " not in text}  # names of options
    source = texts_of_the_source()
    missing = {
        text
        for text in quoted
        for piece in text.split("...")
        if piece.strip(" :;'") and piece.strip(" ") not in source
    }
    assert len(quoted) >= 8
    assert missing == set()
