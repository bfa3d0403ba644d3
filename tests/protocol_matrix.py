"""The matrix of docs/protocols.md: its rows, the tests that prove each, and how these ended in this run."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

TESTS = Path(__file__).parent
ROW = re.compile(r"^\| (\d+) \| (.+?) \| (\w+) \| (.*?) ?\|$", re.MULTILINE)
NAMED = re.compile(r"`([\w/]+\.py)::(\w+)`")


class Row(NamedTuple):
    """A row of docs/protocols.md, "Matrix"."""

    number: int
    behaviour: str
    verdict: str
    proofs: list[tuple[str, str]]
    """File under tests/, and function."""


def rows() -> list[Row]:
    """As they stand in the document."""
    text = (TESTS.parent / "docs" / "protocols.md").read_text("utf-8")
    return [
        Row(int(number), behaviour, verdict, NAMED.findall(proof))
        for number, behaviour, verdict, proof in ROW.findall(text)
    ]


def listed(matrix: Iterable[Row], passed: Iterable[str], failed: Iterable[str]) -> list[str]:
    """A line for each row, by the node ids that passed and failed; empty when the run had little of it."""
    did_pass, did_fail = set(map(_function, passed)), set(map(_function, failed))
    lines: list[str] = []
    ran = 0
    for row in matrix:
        # Whole stacks have a run of their own.
        proofs = [f"tests/{file}::{function}" for file, function in row.proofs if not file.startswith("system/")]
        if any(proof in did_fail for proof in proofs):
            state = "FAILED"
        elif all(proof in did_pass for proof in proofs):
            state = "passed"
        else:
            state = "partly" if any(proof in did_pass for proof in proofs) else "not run"
        ran += state != "not run"
        lines.append(f"row {row.number:>2}  {state:<7}  {row.behaviour}  ({len(proofs)} tests)")
    return lines if 2 * ran >= len(lines) else []


def _function(node_id: str) -> str:
    return node_id.partition("[")[0]
