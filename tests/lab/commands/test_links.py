import subprocess
from pathlib import Path

import pytest

from lab.commands.links import broken_links

CHECKOUT = Path(__file__).resolve().parents[3]
# In two pieces: this file, too, is looked through for citations.
DOCS = "docs"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository with one document, to which a test adds its own files."""
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    (tmp_path / DOCS / "decisions").mkdir(parents=True)
    (tmp_path / DOCS / "decisions" / "0007-no-rx2.md").write_text("# 7. No RX2\n")
    (tmp_path / DOCS / "guide.md").write_text(
        "# Le guide\n\n## L'heure, `run.json` et la suite\n\n## Fin\n\n## Fin\n"
    )
    return tmp_path


def found(checkout: Path, name: str, text: str) -> list[str]:
    (checkout / name).write_text(text)
    subprocess.run(["git", "add", "."], cwd=checkout, check=True)
    return [f"{link.file}:{link.line} {link.target}" for link in broken_links(checkout)]


@pytest.mark.parametrize(
    "target",
    [
        f"{DOCS}/guide.md",
        f"{DOCS}/guide.md#le-guide",
        f"{DOCS}/guide.md#lheure-runjson-et-la-suite",
        f"{DOCS}/guide.md#fin-1",
        f"{DOCS}/decisions/",
        "#ici",
        "https://nowhere.example/x.md",
    ],
)
def test_a_link_that_leads_somewhere_is_no_finding(checkout: Path, target: str) -> None:
    assert found(checkout, "README.md", f"# Ici\n\nVoir [là]({target}).\n") == []


@pytest.mark.parametrize(
    "target", [f"{DOCS}/gone.md", f"{DOCS}/guide.md#gone", f"{DOCS}/guide.md#fin-2", "#la", "guide.md"]
)
def test_a_link_that_leads_nowhere_is_named_with_its_place(checkout: Path, target: str) -> None:
    assert f"README.md:3 {target}" in found(checkout, "README.md", f"# Ici\n\nVoir [là]({target}).\n")


def test_what_stands_in_a_block_of_code_is_no_link(checkout: Path) -> None:
    assert found(checkout, "README.md", "```\n[x](gone.md)\n```\nand `[y](gone.md)`\n") == []


def test_a_document_that_code_cites_must_be_there(checkout: Path) -> None:
    number = "0099"
    cited = (
        f'"""See {DOCS}/guide.md, {DOCS}/gone.md, decision 0007."""\n# {DOCS}/guide.md#gone, decision {number}\n'
    )

    assert found(checkout, "code.py", cited) == [
        f"code.py:1 {DOCS}/gone.md",
        f"code.py:2 {DOCS}/guide.md#gone",
        "code.py:2 0099",
    ]


def test_the_project_s_own_links_lead_somewhere() -> None:
    assert [str(link) for link in broken_links(CHECKOUT)] == []
