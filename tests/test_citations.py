"""What code and docs cite is in this repository: pages under docs/, their headings, and the rows of the matrix."""

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]
APPLIED = "registry/migrations/"  # Their checksums are stored in databases: they stay as they are.
PAGES_ELSEWHERE = re.compile(
    r"\bDESIGN\b|(?<![/.])\.\./shared\b|\bSTYLE\.md|\breference/[\w-]+\.(?:md|toml)"
    r"|(?<![\w/-])(?:codecs|domain|operations|lorawan)\.md|\btest matrix\b"
)
# A page, then where given a quoted heading, then where given rows of its table.
CITATION = re.compile(r'(docs/[\w/-]+\.md)(?:, "([^"]+)")?(?:, rows? (\d+)(?:(?: to|,| and) (\d+))*)?')
CONTINUED = re.compile(r"\s*\n\s*(?:#\s*)?")


def _tracked_text(suffixes: tuple[str, ...] = ()) -> dict[str, str]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    text: dict[str, str] = {}
    for name in filter(None, listed.split("\0")):
        path = ROOT / name
        if name.startswith(APPLIED) and name.endswith(".sql"):
            continue
        if path.is_symlink() or not path.is_file() or (suffixes and path.suffix not in suffixes):
            continue
        octets = path.read_bytes()
        if b"\0" not in octets[:1024]:
            text[name] = octets.decode(errors="replace")
    return text


def _cited(source: str) -> list[tuple[str, str | None, str | None]]:
    return [(match[1], match[2], match[3]) for match in CITATION.finditer(CONTINUED.sub(" ", source))]


def _headings(page: str) -> set[str]:
    return {line.lstrip("#").strip() for line in page.splitlines() if line.startswith("#")}


def test_a_citation_over_two_lines_of_a_comment_is_read_as_one() -> None:
    source = '# Taken in order (docs/architecture.md,\n    # "Poison"), see docs/protocols.md, rows 22 and 25.'

    assert _cited(source) == [("docs/architecture.md", "Poison", None), ("docs/protocols.md", None, "22")]


def test_tracked_text_cites_no_page_that_is_outside_the_repository() -> None:
    cited = [
        f"{name}:{number}: {line.strip()}"
        for name, text in _tracked_text().items()
        if name != "tests/test_citations.py"
        for number, line in enumerate(text.splitlines(), 1)
        if PAGES_ELSEWHERE.search(line)
    ]

    assert cited == []


def test_pages_and_headings_that_code_cites_exist() -> None:
    missing: list[str] = []
    pages: dict[str, set[str]] = {}
    for name, text in _tracked_text((".py", ".sql", ".toml", ".yaml", ".yml", ".js", ".sh", "")).items():
        if name == "tests/test_citations.py":
            continue
        for page, heading, _ in _cited(text):
            if page not in pages:
                path = ROOT / page
                pages[page] = _headings(path.read_text()) if path.is_file() else set()
            if not pages[page] or (heading is not None and heading not in pages[page]):
                missing.append(f"{name}: {page}" + (f', "{heading}"' if heading else ""))

    assert missing == []


def test_rows_of_the_matrix_that_code_cites_exist() -> None:
    matrix = set(re.findall(r"^\| (\d+) \|", (ROOT / "docs/protocols.md").read_text(), re.MULTILINE))

    cited = [
        (name, row)
        for name, text in _tracked_text((".py",)).items()
        if name != "tests/test_citations.py"
        for page, _, row in _cited(text)
        if page == "docs/protocols.md" and row is not None
    ]

    assert cited
    assert [(name, row) for name, row in cited if row not in matrix] == []


def test_files_that_the_pages_name_exist() -> None:
    """Not those of docs/decisions: a decision says what was so when it was made."""
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]

    gone = [
        f"{page.name}: {name}"
        for page in pages
        for name in re.findall(r"`((?:\w+/)+\w+\.(?:py|sql|toml|yaml))`", page.read_text())
        if not (ROOT / name).exists() and not (ROOT / "tests" / name).exists()
    ]

    assert gone == []
