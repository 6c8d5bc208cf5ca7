"""docs/promises.md and the tests name the same rows."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LISTED = re.compile(r"^\| ([A-Z]\d+) \| [^|]+ \| ([^|]+) \|", re.MULTILINE)
MARKED = re.compile(r"@pytest\.mark\.promise\(([^)]*)\)|pytest\.mark\.promise\(([^)]*)\)")


def listed() -> dict[str, list[str]]:
    """The rows of the document, with the places that prove them."""
    text = (ROOT / "docs" / "promises.md").read_text()
    return {row: re.findall(r"`([^`]+)`", places) for row, places in LISTED.findall(text)}


def rows_marked_in(place: str) -> set[str]:
    """The rows that the tests of a file or folder carry."""
    path = ROOT / place
    files = [path] if path.is_file() else sorted(path.rglob("*.py"))
    assert files, f"{place} has no tests"
    marks = [found for file in files for groups in MARKED.findall(file.read_text()) for found in groups]
    return {row for mark in marks for row in re.findall(r'"([A-Z]\d+)"', mark)}


def test_every_listed_row_is_proved_where_the_document_says() -> None:
    assert {
        (row, place) for row, places in listed().items() for place in places if row not in rows_marked_in(place)
    } == set()


def test_every_row_that_a_test_names_is_listed() -> None:
    own = {"test_promises.py", "test_results.py"}
    files = [path for path in (ROOT / "tests").rglob("test_*.py") if path.name not in own]
    marked = {row for file in files for row in rows_marked_in(str(file.relative_to(ROOT)))}
    assert marked - set(listed()) == set()
