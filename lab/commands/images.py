"""`territoire images`: whether what our files name is named by digest, and what an overlay would start."""

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from cli.running import fail
from services.supervisor.stack import checkout


def images(
    write: Annotated[
        bool, typer.Option("--write", help="Écrit d'abord les empreintes de deploy/images.toml partout.")
    ] = False,
    overlay: Annotated[
        Path | None,
        typer.Option(help="Plutôt : un overlay, k8s/overlays/production ou le vôtre, tel que kubectl le rend."),
    ] = None,
) -> None:
    """Dit quelles images ne sont pas désignées par leur empreinte ; une autre pourrait venir sous le même nom."""
    from lab.release.images import MalformedImages, problems, write_digests

    root = checkout()
    try:
        for file in write_digests(root) if write else []:
            typer.echo(f"  écrit : {file}")
        found = problems(root) if overlay is None else _of_overlay(overlay)
    except MalformedImages as wrong:
        raise fail(str(wrong), 2) from None
    for problem in found:
        typer.echo(f"  ✗ {problem}")
    if found:
        raise typer.Exit(1)
    typer.echo("Chaque image est désignée par son empreinte.")


def _of_overlay(overlay: Path) -> list[str]:
    import yaml

    from lab.release.images import unpinned

    if not overlay.is_dir():
        raise fail(f"{overlay} n'est pas un dossier", 2)
    kubectl = Path(sys.executable).with_name("kubectl")
    done = subprocess.run([kubectl, "kustomize", overlay], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise fail(f"kubectl kustomize {overlay} : {done.stderr.strip()[-1000:]}", 2)
    manifests = [manifest for manifest in yaml.safe_load_all(done.stdout) if manifest]
    return [f"{overlay} : {image} sans empreinte (@sha256:…)" for image in unpinned(manifests)]
