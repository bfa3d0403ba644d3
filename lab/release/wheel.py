"""The wheel of a commit, built twice: two builds of one commit are the same octets, or none is released."""

import os
import shutil
import subprocess
import sys
import tempfile
from hashlib import sha256
from pathlib import Path

BUILD = "import sys; from hatchling.build import build_wheel; print(build_wheel(sys.argv[1]))"
# What npm brought to the console is in the wheel, and in no commit.
BROUGHT = Path("api/console/libraries")


class BuildsDiffer(Exception):
    """The second build of the same commit has other octets than the first."""


def build_wheel_twice(checkout: Path, commit: str, target: Path) -> Path:
    """Build the wheel of `commit` from two clean folders; returns the one in `target`.

    Raises:
        BuildsDiffer: something of the machine, or of the hour, got into it.
    """
    (name, octets), (_, again) = (_build(checkout, commit) for _ in range(2))
    if again != octets:
        raise BuildsDiffer(f"{sha256(octets).hexdigest()}, then {sha256(again).hexdigest()}")
    built = target / name
    built.write_bytes(octets)
    return built


def write_source(checkout: Path, commit: str, folder: Path) -> None:
    """What was committed, and what npm brought to the console: what a release is made of."""
    folder.mkdir()
    subprocess.run(
        ["tar", "-x", "-C", folder], input=_git(checkout, "archive", "--format=tar", commit), check=True
    )
    shutil.copytree(checkout / BROUGHT, folder / BROUGHT)


def time_of(checkout: Path, commit: str) -> str:
    """When it was committed, in seconds since 1970."""
    return _git(checkout, "show", "-s", "--format=%ct", commit).decode().strip()


def _build(checkout: Path, commit: str) -> tuple[str, bytes]:
    """Returns the wheel's name and octets."""
    with tempfile.TemporaryDirectory(prefix="territoire-wheel-") as folder:
        source, built = Path(folder, "source"), Path(folder, "built")
        write_source(checkout, commit, source)
        built.mkdir()
        environment = {**os.environ, "SOURCE_DATE_EPOCH": time_of(checkout, commit)}
        done = subprocess.run(
            [sys.executable, "-P", "-c", BUILD, built],
            cwd=source,
            env=environment,
            capture_output=True,
            check=True,
        )
        name = done.stdout.decode().split()[-1]
        return name, (built / name).read_bytes()


def _git(checkout: Path, *arguments: str) -> bytes:
    return subprocess.run(["git", *arguments], cwd=checkout, capture_output=True, check=True).stdout
