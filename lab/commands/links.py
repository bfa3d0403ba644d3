"""Links between our own documents: where a relative link or a citation in code leads nowhere."""

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import chain, pairwise
from pathlib import Path
from urllib.parse import unquote

from markdown_it import MarkdownIt
from markdown_it.token import Token

CITATION = re.compile(r"\bdocs/[\w./-]+?\.md(?:#[\w-]+)?")
DECISION = re.compile(r"\bdecisions? (\d{4})\b")
ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:|//", re.IGNORECASE)
# What GitHub and its likes leave out of a heading's anchor.
NOT_IN_ANCHOR = re.compile(r"[^\w\- ]")
VENDORS = "tests/vectors/"


@dataclass(frozen=True, slots=True)
class Broken:
    """One link, where it stands and why it leads nowhere, in French."""

    file: str
    line: int
    target: str
    reason: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.target} : {self.reason}"


def broken_links(checkout: Path) -> list[Broken]:
    """Relative links of the tracked Markdown, citations of `docs/` and of decisions in every tracked text."""
    broken: list[Broken] = []
    for name in _tracked(checkout):
        try:
            text = (checkout / name).read_text("utf-8")
        except UnicodeDecodeError:
            continue
        targets = chain(_links(text) if name.endswith(".md") else (), _citations(text))
        for line, base, target in targets:
            reason = _reason(checkout, (checkout / name).parent if base is None else checkout / base, name, target)
            if reason:
                broken.append(Broken(name, line, target, reason))
    return broken


def _tracked(checkout: Path) -> list[str]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=checkout, capture_output=True, text=True, check=True)
    names = (name for name in listed.stdout.split("\0") if name and not name.startswith(VENDORS))
    return [name for name in names if (checkout / name).is_file() and not (checkout / name).is_symlink()]


def _links(text: str) -> Iterator[tuple[int, str | None, str]]:
    """Line, folder that it is relative to (None: the file's own), target."""
    for block in MarkdownIt().enable("table").parse(text):
        line = block.map[0] + 1 if block.map else 0
        for token in block.children or ():
            target = str(token.attrGet("href") or token.attrGet("src") or "")
            if target and not ELSEWHERE.match(target):
                yield line, None, target


def _citations(text: str) -> Iterator[tuple[int, str | None, str]]:
    for number, line in enumerate(text.splitlines(), 1):
        yield from ((number, ".", found) for found in CITATION.findall(line))
        yield from ((number, "docs/decisions", found) for found in DECISION.findall(line))


def _reason(checkout: Path, folder: Path, name: str, target: str) -> str:
    """Why the target is not there; empty when it is."""
    place, _, anchor = unquote(target).partition("#")
    if place.isdecimal():
        return "" if any(folder.glob(f"{place}-*.md")) else "aucune décision de ce numéro"
    path = folder / place if place else checkout / name
    if not path.exists():
        return "fichier introuvable"
    if anchor and path.suffix == ".md" and anchor not in _anchors(path):
        return "titre introuvable"
    return ""


@cache
def _anchors(path: Path) -> frozenset[str]:
    """The anchors that a forge gives the headings of a document."""
    tokens, anchors = MarkdownIt().parse(path.read_text("utf-8")), set[str]()
    for opening, inline in pairwise(tokens):
        if opening.type == "heading_open":
            text = "".join(_text(token) for token in inline.children or ())
            anchor = NOT_IN_ANCHOR.sub("", text.lower()).replace(" ", "-")
            repeated = (f"{anchor}-{count}" for count in range(1, len(anchors) + 1))
            anchors.add(next(one for one in chain((anchor,), repeated) if one not in anchors))
    return frozenset(anchors)


def _text(token: Token) -> str:
    return token.content if token.type in {"text", "code_inline"} else ""


def main() -> int:
    """Print what leads nowhere, for the hook before a commit; 0 when there is nothing."""
    broken = broken_links(Path.cwd())
    for link in broken:
        print(link)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
