"""`territoire check-image`: build the image with buildah and start what is in it; optional, it takes minutes."""

import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from cli.running import fail
from lab.release.buildah import INTERPRETER, LARGEST_MB, Buildah, NotBuilt, build, debootstrap, missing, problems
from services.supervisor.launch import system_path
from services.supervisor.stack import checkout

IMAGE = "localhost/territoire:check"
PARQUET_MB = 220
WRITES_PARQUET = """
import io, numpy, pyarrow, pyarrow.parquet
column = pyarrow.array(numpy.arange(3)).cast(pyarrow.timestamp("us", tz="UTC"))
pyarrow.parquet.write_table(pyarrow.table({"time": column}), io.BytesIO(), compression="zstd")
"""


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
    if (lacking := missing("buildah", *([] if base else ["debootstrap"]))) is not None:
        typer.echo(f"Image non vérifiée : {lacking}.")
        raise typer.Exit(3)
    found = compose_problems()
    try:
        found += _built_problems(base, parquet=parquet)
    except NotBuilt as failed:
        raise fail(str(failed)) from None
    for problem in found:
        typer.echo(f"  ✗ {problem}")
    if found:
        raise typer.Exit(1)
    typer.echo("Image bonne : construite, démarre en simple utilisateur, refuse d'écrire, dit ce qui lui manque.")


def _built_problems(base: str, *, parquet: bool) -> list[str]:
    with tempfile.TemporaryDirectory(prefix="territoire-image-", dir="/var/tmp") as folder:
        buildah = Buildah(Path(folder))
        arguments = ["--build-arg", f"BASE={base or debootstrap(buildah)}", *variant(parquet=parquet)]
        build(buildah, checkout(), IMAGE, arguments)
        found = problems(buildah, LARGEST_MB + PARQUET_MB * parquet)
        return found + _parquet_problems(buildah) if parquet else found


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


def variant(*, parquet: bool) -> list[str]:
    """The build arguments of the image with this extra, or without."""
    return ["--build-arg", "PARQUET=1"] if parquet else []


def _parquet_problems(buildah: Buildah) -> list[str]:
    """Whether what was left out or stripped of the extra is missed."""
    done = buildah.inside(INTERPRETER, "-P", "-c", WRITES_PARQUET)
    return [] if done.returncode == 0 else [f"Parquet ne s'écrit pas : {done.stdout.strip()[-300:]}"]
