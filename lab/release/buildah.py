"""An image of deploy/Containerfile by buildah, which needs no engine; and whether what is in it starts."""

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import typer

from services.supervisor.stack_options import SERVICES

BASE = "localhost/territoire-base"
SUITE = "trixie"
AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")
INTERPRETER = "/opt/territoire/bin/python"
WRONG_SETTING = 2
# Of which numpy with its linear algebra, for planned rounds, is 75; measured: 263.
LARGEST_MB = 280


class NotBuilt(Exception):
    """There is no image; the message says in French why."""


@dataclass(frozen=True)
class Buildah:
    """buildah without an engine and without rights beyond root's, all it keeps in one folder."""

    folder: Path
    container: list[str] = field(default_factory=list[str])

    @property
    def _command(self) -> list["str | Path"]:
        return [
            *("buildah", "--root", self.folder / "root", "--runroot", self.folder / "run"),
            *("--storage-driver", "vfs"),
        ]

    def __call__(self, verb: str, *arguments: "str | Path", quiet: bool = False) -> str:
        """Standard output; raises NotBuilt with what it said on a failure."""
        done = subprocess.run(
            [*self._command, verb, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if quiet else None,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise NotBuilt(f"buildah {verb} a échoué :\n{done.stdout[-3000:]}")
        return done.stdout.strip()

    def inside(self, *argv: str) -> subprocess.CompletedProcess[str]:
        """Run this in the container, as its own user."""
        return subprocess.run(
            [*self._command, "run", "--isolation", "chroot", self.container[0], "--", *argv],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )


def limits() -> list[str]:
    """Without these two buildah asks for limits that a container does not give it."""
    found: list[str] = []
    for name, which in (("nofile", resource.RLIMIT_NOFILE), ("nproc", resource.RLIMIT_NPROC)):
        hard = resource.getrlimit(which)[1]
        found += ["--ulimit", f"{name}={hard}:{hard}"]
    return found


def missing(*tools: str) -> str | None:
    """In French, what this machine lacks to build an image; None: nothing."""
    absent = [name for name in tools if shutil.which(name) is None]
    if absent:
        return f"{' et '.join(absent)} manque (apt-get install {' '.join(absent)})"
    return None if os.geteuid() == 0 else "il faut être root pour construire sans moteur de conteneurs"


def debootstrap(buildah: Buildah) -> str:
    """A Debian of our own to begin with; returns its name. Raises NotBuilt."""
    typer.echo(f"Base : Debian {SUITE} par debootstrap")
    root = buildah.folder / "rootfs"
    command = [
        "debootstrap",
        "--variant=minbase",
        "--include=python3,python3-venv,ca-certificates,binutils",
        SUITE,
        str(root),
    ]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        raise NotBuilt(f"debootstrap a échoué :\n{done.stdout[-2000:]}")
    container = buildah("from", "scratch")
    buildah("add", "--quiet", container, root, "/")
    buildah("commit", "--quiet", container, BASE)
    return BASE


def build(buildah: Buildah, source: Path, name: str, arguments: Sequence[str]) -> None:
    """Build `name` from what lies in `source`; what is run `inside` runs in it then. Raises NotBuilt."""
    typer.echo("Construction")
    # pip inside finds the packages as it does here.
    configured = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    ).stdout
    options = [
        line.partition(".")[2].replace("'", "").replace("=", " = ", 1)
        for line in configured.splitlines()
        if ".index-url=" in line or ".extra-index-url=" in line
    ]
    pip = buildah.folder / "pip.conf"
    pip.write_text("\n".join(["[global]", f"cert = {AUTHORITIES}", *options, ""]), "utf-8")
    secrets = ["--secret", f"id=pip.conf,src={pip}"]
    if AUTHORITIES.exists():
        secrets += ["--secret", f"id=authorities,src={AUTHORITIES}"]
    buildah(
        "bud", "--isolation", "chroot", *limits(), *secrets, *arguments, "-f", source / "deploy" / "Containerfile",
        "--ignorefile", source / ".containerignore", "-t", name, source, quiet=True,
    )  # fmt: skip
    buildah.container.append(buildah("from", *limits(), name))


def problems(buildah: Buildah, largest_mb: int) -> list[str]:
    """Start what is in it; returns in French what is not as it should be."""
    found: list[str] = []
    if buildah.inside("id", "-u").stdout.strip() != "10001":
        found.append("l'utilisateur n'est pas 10001")
    if buildah.inside("touch", "/opt/territoire/x").returncode == 0:
        found.append("le programme peut être modifié par lui-même")
    size = int(buildah.inside("du", "-sm", "/opt/territoire").stdout.split()[0])
    typer.echo(f"Le programme et ses bibliothèques : {size} Mo")
    if size > largest_mb:
        found.append(f"{size} Mo : plus de {largest_mb}")
    for service in (*SERVICES, "migrate"):
        done = buildah.inside(INTERPRETER, "-P", "-m", f"services.{service}")
        if "TERRITOIRE_DATABASE_URL" not in done.stdout or done.returncode != WRONG_SETTING:
            found.append(f"{service} ne démarre pas : {done.stdout.strip()[-300:]}")
    return found
