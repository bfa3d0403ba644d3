"""`territoire check-image`: build the image with buildah and start what is in it; optional, it takes minutes."""

import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from cli.running import fail
from services.supervisor.launch import system_path
from services.supervisor.stack import checkout
from services.supervisor.stack_options import SERVICES

IMAGE = "localhost/territoire:check"
BASE = "localhost/territoire-base"
SUITE = "trixie"
AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")
INTERPRETER = "/opt/territoire/bin/python"
WRONG_SETTING = 2
LARGEST_MB, PARQUET_MB = 150, 220
WRITES_PARQUET = """
import io, numpy, pyarrow, pyarrow.parquet
column = pyarrow.array(numpy.arange(3)).cast(pyarrow.timestamp("us", tz="UTC"))
pyarrow.parquet.write_table(pyarrow.table({"time": column}), io.BytesIO(), compression="zstd")
"""


@dataclass(frozen=True)
class Buildah:
    """buildah without an engine and without rights beyond root's, all it keeps in one folder."""

    folder: Path
    container: list[str] = field(default_factory=list[str])

    def __call__(self, verb: str, *arguments: "str | Path", quiet: bool = False) -> str:
        """Standard output; raises typer.Exit with what it said on a failure."""
        where = ("--root", self.folder / "root", "--runroot", self.folder / "run", "--storage-driver", "vfs")
        done = subprocess.run(
            ["buildah", *where, verb, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if quiet else None,
            text=True,
            check=False,
            cwd=checkout(),
        )
        if done.returncode != 0:
            raise fail(f"buildah {verb} a échoué :\n{done.stdout[-3000:]}", 1)
        return done.stdout.strip()

    def inside(self, *argv: str) -> subprocess.CompletedProcess[str]:
        """Run this in the container, as its own user."""
        where = ("--root", self.folder / "root", "--runroot", self.folder / "run", "--storage-driver", "vfs")
        return subprocess.run(
            ["buildah", *where, "run", "--isolation", "chroot", self.container[0], "--", *argv],
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


def check_image(
    base: Annotated[
        str,
        typer.Option(help="Image de départ, une Debian avec python3 et venv ; sinon debootstrap la fait."),
    ] = "",
    parquet: Annotated[
        bool, typer.Option("--parquet", help="La variante qui écrit des exports en Parquet.")
    ] = False,
) -> None:
    """Construit l'image de deploy/Containerfile avec buildah et démarre ce qu'elle contient. Quelques minutes."""
    missing = [
        name for name in (("buildah",) if base else ("buildah", "debootstrap")) if shutil.which(name) is None
    ]
    if missing:
        typer.echo(
            f"Image non vérifiée : {' et '.join(missing)} manque. « apt-get install buildah debootstrap », "
            "puis relancez."
        )
        raise typer.Exit(3)
    if os.geteuid() != 0:
        typer.echo("Image non vérifiée : il faut être root pour construire sans moteur de conteneurs.")
        raise typer.Exit(3)
    problems = compose_problems()
    with tempfile.TemporaryDirectory(prefix="territoire-image-", dir="/var/tmp") as folder:
        buildah = Buildah(Path(folder))
        _build(buildah, base or _debootstrap(buildah), variant(parquet=parquet))
        problems += _problems(buildah, LARGEST_MB + PARQUET_MB * parquet)
        if parquet:
            problems += _parquet_problems(buildah)
    for problem in problems:
        typer.echo(f"  ✗ {problem}")
    if problems:
        raise typer.Exit(1)
    typer.echo("Image bonne : construite, démarre en simple utilisateur, refuse d'écrire, dit ce qui lui manque.")


def compose_problems() -> list[str]:
    """What Docker Compose itself has against compose.yaml; where it is not installed, that is said."""
    compose = shutil.which("docker-compose", path=system_path())
    if compose is None:
        typer.echo(
            "compose.yaml non vérifié par Docker Compose : « apt-get install docker-compose », puis relancez."
        )
        return []
    file = checkout() / "deploy" / "compose.yaml"
    secrets = dict.fromkeys(re.findall(r"\$\{(\w+):\?", file.read_text("utf-8")), "x")
    done = subprocess.run(
        [compose, "-f", file, "config", "--quiet"],
        env={"PATH": system_path(), **secrets},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return [] if done.returncode == 0 and not done.stdout else [f"compose.yaml : {done.stdout.strip()}"]


def _debootstrap(buildah: Buildah) -> str:
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
        raise fail(f"debootstrap a échoué :\n{done.stdout[-2000:]}", 1)
    container = buildah("from", "scratch")
    buildah("add", "--quiet", container, root, "/")
    buildah("commit", "--quiet", container, BASE)
    return BASE


def variant(*, parquet: bool) -> list[str]:
    """The build arguments of the image with this extra, or without."""
    return ["--build-arg", "PARQUET=1"] if parquet else []


def _build(buildah: Buildah, base: str, arguments: Sequence[str]) -> None:
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
    containerfile = checkout() / "deploy" / "Containerfile"
    buildah(
        "bud", "--isolation", "chroot", *limits(), *secrets, "--build-arg", f"BASE={base}", *arguments,
        "-f", containerfile,
        "--ignorefile", checkout() / ".containerignore", "-t", IMAGE, checkout(), quiet=True,
    )  # fmt: skip
    buildah.container.append(buildah("from", *limits(), IMAGE))


def _problems(buildah: Buildah, largest_mb: int) -> list[str]:
    problems: list[str] = []
    if buildah.inside("id", "-u").stdout.strip() != "10001":
        problems.append("l'utilisateur n'est pas 10001")
    if buildah.inside("touch", "/opt/territoire/x").returncode == 0:
        problems.append("le programme peut être modifié par lui-même")
    size = int(buildah.inside("du", "-sm", "/opt/territoire").stdout.split()[0])
    typer.echo(f"Le programme et ses bibliothèques : {size} Mo")
    if size > largest_mb:
        problems.append(f"{size} Mo : plus de {largest_mb}")
    for service in (*SERVICES, "migrate"):
        done = buildah.inside(INTERPRETER, "-P", "-m", f"services.{service}")
        if "TERRITOIRE_DATABASE_URL" not in done.stdout or done.returncode != WRONG_SETTING:
            problems.append(f"{service} ne démarre pas : {done.stdout.strip()[-300:]}")
    return problems


def _parquet_problems(buildah: Buildah) -> list[str]:
    """Whether what was left out or stripped of the extra is missed."""
    done = buildah.inside(INTERPRETER, "-P", "-c", WRITES_PARQUET)
    return [] if done.returncode == 0 else [f"Parquet ne s'écrit pas : {done.stdout.strip()[-300:]}"]
