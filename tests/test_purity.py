"""A module that calls itself pure is checked to be: no I/O by the import contract, no clock by the linter."""

import ast
import re
import subprocess
from typing import Any

from tests.rooms import CHECKOUT, LAB, PRODUCT, PROJECT

CONTRACTS: list[dict[str, Any]] = PROJECT["tool"]["importlinter"]["contracts"]
PURE: list[str] = next(
    contract["source_modules"] for contract in CONTRACTS if contract["name"] == "The functional core does no I/O"
)


def module_docstrings() -> dict[str, str]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", *(f"{package}/**.py" for package in (*PRODUCT, LAB))],
        cwd=CHECKOUT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    files = [CHECKOUT / name for name in listed.stdout.split("\0") if name and (CHECKOUT / name).exists()]
    return {
        ".".join(file.relative_to(CHECKOUT).with_suffix("").parts).removesuffix(".__init__"): ast.get_docstring(
            ast.parse(file.read_text("utf-8"))
        )
        or ""
        for file in files
    }


def is_checked(module: str) -> bool:
    return any(module == pure or module.startswith(f"{pure}.") for pure in PURE)


def test_every_module_whose_docstring_says_pure_is_in_the_contract() -> None:
    docstrings = module_docstrings()
    claims = {module for module, said in docstrings.items() if re.search(r"\bpure\b", said, re.IGNORECASE)}

    assert len(claims) > 20
    assert {module for module in claims if not is_checked(module)} == set()


def test_the_linter_bans_clocks_in_the_modules_of_the_contract() -> None:
    [exempt] = [
        pattern
        for pattern, rules in PROJECT["tool"]["ruff"]["lint"]["per-file-ignores"].items()
        if rules == ["TID251"]
    ]
    banned = exempt.removeprefix("!{").removesuffix("}").split(",")

    assert sorted(name.removesuffix("/**").removesuffix(".py").replace("/", ".") for name in banned) == sorted(
        PURE
    )
