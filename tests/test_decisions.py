"""The index of decisions names each of them, by its own title, and what superseded it exists and is newer."""

import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "decisions"
FILES = sorted(path.name for path in FOLDER.glob("[0-9]*.md"))
LINE = re.compile(r"^\| \[(\d{4})\]\(([^)]+)\) \| (.+?) \| (.*?) ?\|$", re.MULTILINE)
LINES = LINE.findall((FOLDER / "README.md").read_text("utf-8"))


def test_every_decision_has_one_line_in_order() -> None:
    assert [file for _, file, _, _ in LINES] == FILES


def test_no_two_decisions_have_one_number() -> None:
    assert len({file[:4] for file in FILES}) == len(FILES)


@pytest.mark.parametrize(("number", "file", "title", "superseded"), LINES)
def test_a_line_says_what_the_decision_says(number: str, file: str, title: str, superseded: str) -> None:
    first, text = (FOLDER / file).read_text("utf-8").split("\n", 1)

    assert file.startswith(f"{number}-")
    assert first == f"# {int(number)}. {title}"
    assert "**Decision: " in text
    for later, target in re.findall(r"\[(\d{4})\]\(([^)]+)\)", superseded):
        assert target in FILES
        assert target.startswith(later)
        assert later > number
