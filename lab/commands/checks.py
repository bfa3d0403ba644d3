"""What holds of the source without running it: each check with its heading, and all of them to the end."""

import subprocess
import sys
import time
from pathlib import Path

from lab.commands.advisories import Unreachable, ask, locked
from lab.commands.links import broken_links


def commands() -> list[tuple[str, list[str]]]:
    """The tools, fastest first."""
    tool = Path(sys.executable).parent
    return [
        ("ruff check", [str(tool / "ruff"), "check", ".", "territoire"]),
        ("ruff format", [str(tool / "ruff"), "format", "--check", ".", "territoire"]),
        ("lint-imports", [str(tool / "lint-imports")]),
        ("pyright", [sys.executable, "-m", "pyright"]),
    ]


def run_checks(checkout: Path) -> int:
    """Run every check, also after one has failed; 0 when all hold."""
    failed: list[str] = []
    began = time.monotonic()
    print_heading("liens")
    broken = broken_links(checkout)
    for link in broken:
        print(link)
    if broken:
        failed.append("liens")
    remark = ""
    print_heading("avis de sécurité")
    libraries = locked(checkout)
    try:
        found = ask(libraries)
        print("\n".join(found) or f"aucun avis connu sur {len(libraries)} bibliothèques")
        if found:
            failed.append("avis de sécurité")
    except Unreachable as away:
        remark = "avis de sécurité non consultés"
        print(f"non consultés, OSV ne répond pas : {away}")
    for name, argv in commands():
        print_heading(name)
        if subprocess.run(argv, cwd=checkout, check=False).returncode != 0:
            failed.append(name)
    return conclude(failed, time.monotonic() - began, remark)


def print_heading(name: str) -> None:
    """What stands above the output of one check."""
    print(f"\n== {name} " + "=" * (70 - len(name)), flush=True)


def conclude(failed: list[str], took_s: float, remark: str = "") -> int:
    """The last line and the exit status."""
    took = f"({took_s:.0f} s{remark and ', '}{remark})"
    if failed:
        print(f"\nÉchec {took} : {', '.join(failed)}", flush=True)
        return 1
    print(f"\nTout est bon {took}", flush=True)
    return 0
