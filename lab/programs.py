"""Programs of other commits, installed as an operator would: by their own command, with their own lock."""

import asyncio
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from services.supervisor.stack import checkout

# The Python that this environment was made of: the other one is made of it, too.
BASE_PYTHON = Path(sys.base_prefix, "bin", f"python3.{sys.version_info[1]}")
# Its help needs the libraries, and no server.
INSTALL = ("status", "--help")
UV = "uv*"


class NotInstalled(Exception):
    """The program of a commit could not be installed. The message says in French why."""


@dataclass(frozen=True, slots=True)
class Program:
    """An interpreter, and the tree that it imports from."""

    python: str
    tree: Path

    @classmethod
    def this(cls) -> "Program":
        """What is checked out."""
        return cls(sys.executable, checkout())

    @property
    def environment(self) -> dict[str, str]:
        """What its processes need besides their settings."""
        return {"PYTHONPATH": str(self.tree)}

    @property
    def migrations(self) -> int:
        """How many it knows."""
        return len(list((self.tree / "registry" / "migrations").glob("[0-9]*.sql")))

    def has_service(self, name: str) -> bool:
        """Whether it has a service of this name."""
        return (self.tree / "services" / name).is_dir()


async def install_commit(commit: str, folder: Path) -> Program:
    """The program of a commit of this checkout, in a folder of its own.

    Raises:
        NotInstalled: there is no such commit, or its libraries cannot be had.
    """
    return await asyncio.to_thread(_install, commit, folder)


def unpack_commit(commit: str, folder: Path) -> None:
    """The files of a commit of this checkout, in a folder of its own; no libraries.

    Raises:
        NotInstalled: there is no such commit.
    """
    folder.mkdir()
    archive = subprocess.run(["git", "-C", str(checkout()), "archive", commit], capture_output=True, check=False)
    if archive.returncode != 0:
        raise NotInstalled(f"git archive {commit} : {archive.stderr.decode('utf-8', 'replace').strip()}")
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive.stdout, check=True)


def _install(commit: str, folder: Path) -> Program:
    unpack_commit(commit, folder)
    for found in (*(checkout() / ".tools").glob(UV), *(checkout() / ".tools" / "bin").glob(UV)):
        target = folder / found.relative_to(checkout())  # The same uv: nothing to download where it will do.
        target.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if found.is_dir() else shutil.copy)(found, target)
    environment = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    done = subprocess.run(
        [str(BASE_PYTHON), "territoire", *INSTALL],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    python = folder / ".venv" / "bin" / "python"
    if done.returncode != 0 or not python.exists():
        raise NotInstalled(f"les bibliothèques de {commit} ne s'installent pas : {done.stderr.strip()[-500:]}")
    return Program(str(python), folder)
