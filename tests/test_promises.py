"""Every promise of the documents below names a test that exists, and every section of them has promises."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# With how many promises each has at least, so that a table that is no longer read is noticed.
DOCUMENTS = {"docs/alertes.md": 40, "docs/securite.md": 40}
# What docs/securite.md must have a line for: OWASP API Security Top 10 (2023), and the chapters of ASVS 5.0.
OWASP_API_2023 = [f"API{number}" for number in range(1, 11)]
ASVS_5 = [f"V{number}" for number in range(1, 18)]
# What is not there promises nothing.
LATER = "Ce qui n'est pas encore là"
HEADING = "## Ce qui est promis, et ce qui le prouve"
ROW = re.compile(r"^\| (?P<section>[^|]+) \| (?P<promise>[^|]+) \| (?P<tests>[^|]*) \|$")
NAMED = re.compile(r"`(?P<path>tests/[\w/]+\.py)::(?P<name>\w+)`")


def rows_of(text: str) -> list[tuple[str, str, str]]:
    """Section, promise and what is said to prove it."""
    table = text.partition(HEADING)[2]
    lines = [line for line in table.splitlines() if line.startswith("|")][2:]
    return [(row["section"].strip(), row["promise"].strip(), row["tests"]) for row in map(match_row, lines)]


def match_row(line: str) -> re.Match[str]:
    row = ROW.match(line)
    assert row is not None, f"a row is not section, promise, test: {line}"
    return row


@cache
def names_in(path: Path) -> frozenset[str]:
    """The names of the tests of a file; empty when there is no such file."""
    if not path.is_file():
        return frozenset()
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(
        node.name
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, functions) and node.name.startswith("test_")
    )


def unproven(text: str, root: Path = ROOT) -> list[str]:
    """Promises that name no test, or one that is not there; sections without a promise."""
    rows = rows_of(text)
    found: list[str] = []
    for section, promise, tests in rows:
        named = list(NAMED.finditer(tests))
        missing = [one[0] for one in named if one["name"] not in names_in(root / one["path"])]
        if not named or missing:
            found.append(f"{section} : {promise} : {', '.join(missing) or 'no test'}")
    headings = [line.lstrip("#").strip() for line in text.splitlines() if re.match(r"##+ ", line)]
    sections = {section for section, _, _ in rows}
    expected = [heading for heading in headings if heading not in (HEADING.lstrip("# "), LATER)]
    found += [f"{heading} : no promise" for heading in expected if heading not in sections]
    found += [f"{section} : no such section" for section in sorted(sections - set(expected))]
    return found


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_promise_of_a_document_names_an_existing_test(document: str) -> None:
    text = (ROOT / document).read_text("utf-8")

    assert len(rows_of(text)) > DOCUMENTS[document]
    assert unproven(text) == []


def test_every_risk_of_owasp_and_every_chapter_of_asvs_has_a_line() -> None:
    """A chapter that does not concern the product is named as such in the text; none is left out in silence."""
    text = (ROOT / "docs/securite.md").read_text("utf-8")
    named = {promise.partition(" ")[0] for _, promise, _ in rows_of(text)}
    text_alone = set(re.findall(r"^- \*\*(\w+)\*\*", text.partition(HEADING)[0], re.MULTILINE))

    assert [one for one in OWASP_API_2023 + ASVS_5 if one not in named | text_alone] == []


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("| A | On promet |  |", "A : On promet : no test"),
        ("| A | On promet | `tests/test_promises.py::test_gone` |", "tests/test_promises.py::test_gone"),
        ("| A | On promet | `tests/nowhere.py::test_x` |", "tests/nowhere.py::test_x"),
        ("| B | On promet | `tests/test_promises.py::test_this` |", "A : no promise"),
    ],
)
def test_promise_without_a_test_is_found(row: str, why: str) -> None:
    text = f"## A\n\nOn promet.\n\n{HEADING}\n\n| section | promesse | test |\n|---|---|---|\n{row}\n"

    assert any(why in one for one in unproven(text))
