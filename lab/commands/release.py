"""`territoire release`: what is published of a commit, and whether it may be."""

import json
import re
import shutil
import subprocess
import tempfile
import tomllib
from hashlib import file_digest
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.running import fail
from core.runtime.errors import system_reason
from services.supervisor.stack import checkout

if TYPE_CHECKING:
    from lab.release.image import Image
    from lab.release.inventory import Inventory

OVERLAYS = ("staging", "production")
SERVERS = ("postgresql-17", "postgresql-17-timescaledb", "nats-server", "mosquitto", "pgbackrest")


def release(
    to: Annotated[Path | None, typer.Option("--to", help="Un dossier neuf ; sinon dist/VERSION.")] = None,
    draft: Annotated[
        bool, typer.Option("--draft", help="Écrit tout, et dit seulement ce qui empêcherait de publier.")
    ] = False,
    base: Annotated[
        str, typer.Option("--base", help="Image de départ de l'image ; sinon celle de deploy/Containerfile.")
    ] = "",
) -> None:
    """Fait ce qui se publie : paquet, image, inventaire (SBOM), licences, notes et empreintes.

    Refuse une version qui n'est pas la même partout ou que CHANGELOG.md ne date pas, tant que deploy/releases.toml
    ne nomme pas celle d'avant (il dit la ligne à y écrire ensuite), une licence qui n'est pas dans
    deploy/licences.toml, un paquet qui diffère d'une construction à l'autre, une image dont l'empreinte n'est pas
    dans deploy/images.toml, une image qui ne se construit pas (par buildah, et root) ou ne démarre pas, un paquet
    Debian qui n'est pas installé ici.
    """
    root = checkout()
    version = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    target = to or root / "dist" / version
    if target.exists() and any(target.iterdir()):
        raise fail(f"{target} n'est pas vide : une version ne s'écrit pas par-dessus une autre", 2)
    with tempfile.TemporaryDirectory(prefix="territoire-image-", dir="/var/tmp") as folder:
        _release(root, version, target, draft=draft, image_folder=Path(folder), base=base)


def _release(root: Path, version: str, target: Path, *, draft: bool, image_folder: Path, base: str) -> None:
    from lab.release import images
    from lab.release.buildah import NotBuilt
    from lab.release.image import build_image
    from lab.release.inventory import LICENCES, Licences, not_listed, problems, read_inventory
    from lab.release.last import FILE, Release

    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, check=True)
    revision = commit.stdout.strip()
    image, found = None, _repository(root, version)
    try:
        image = build_image(root, revision, version, image_folder, base)
    except NotBuilt as failed:
        found.append(f"l'image n'est pas construite : {failed}")
    typer.echo("Inventaire de ce qui vient avec…")
    licences = Licences.read(root / LICENCES)
    inventory = read_inventory(root, SERVERS, licences, version, image and image.inventory)
    try:
        found += [*images.problems(root), *problems(inventory, licences)]
    except images.MalformedImages as wrong:
        raise fail(str(wrong), 2) from None
    found += [] if image is None else not_listed(inventory.bom, image.installed)
    for problem in found:
        typer.echo(f"  ! {problem}", err=True)
    if found and not draft:
        raise fail("rien n'est écrit (--draft écrit quand même, pour voir)")
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as refused:
        raise fail(f"{target} : {system_reason(refused)}") from None
    _write(root, revision, target, version, inventory, image)
    typer.echo(f"{target} :")
    for file in sorted(target.iterdir()):
        typer.echo(f"  {file.name} ({file.stat().st_size:,} octets)".replace(",", "\u202f"))
    if image is not None:
        typer.echo(f"Image {image.name}, {image.digest}")
    if not draft:
        typer.echo(f"Une fois publiée, écrivez dans {FILE}, au commit suivant :")
        typer.echo(Release(version, revision).entry)


def _repository(root: Path, version: str) -> list[str]:
    """What of the commit itself is not ready."""
    from core import VERSION
    from lab.release.last import entry_problems

    found: list[str] = []
    status = subprocess.run(["git", "status", "--porcelain"], cwd=root, capture_output=True, text=True, check=True)
    if status.stdout.strip():
        found.append("des fichiers ne sont pas dans le dernier commit : c'est lui qui est publié")
    if version != VERSION:
        found.append(f"pyproject.toml dit {version}, core dit {VERSION}")
    changelog = (root / "CHANGELOG.md").read_text("utf-8")
    if changes_of(version, changelog) is None:
        found.append(f"CHANGELOG.md n'a pas de titre « ## {version} (AAAA-MM-JJ) »")
    found += entry_problems(root, version, changelog)
    for overlay in OVERLAYS:
        text = (root / "k8s" / "overlays" / overlay / "kustomization.yaml").read_text("utf-8")
        if f"newTag: {version}" not in text:
            found.append(f"k8s/overlays/{overlay} n'est pas à la version {version}")
    return found


def changes_of(version: str, changelog: str) -> str | None:
    """The part of the changelog on this version, once it is dated."""
    found = re.search(
        rf"^## {re.escape(version)} \(\d{{4}}-\d{{2}}-\d{{2}}\)\n(.*?)(?=^## |\Z)",
        changelog,
        re.MULTILINE | re.DOTALL,
    )
    return None if found is None else found[1].strip() + "\n"


def _write(
    root: Path, revision: str, target: Path, version: str, inventory: "Inventory", image: "Image | None"
) -> None:
    from lab.release.inventory import third_party_text
    from lab.release.wheel import BuildsDiffer, build_wheel_twice

    typer.echo("Paquet, construit deux fois…")
    try:
        build_wheel_twice(root, revision, target)
    except BuildsDiffer as differ:
        raise fail(f"deux constructions du même commit diffèrent ({differ}) : rien ne se publie") from None
    if image is not None:
        shutil.move(image.archive, target)
        (target / f"{image.archive.name}.digest").write_text(f"{image.digest}\n", "utf-8")
    (target / f"territoire-{version}.cdx.json").write_text(
        json.dumps(inventory.bom, ensure_ascii=False, indent=1), "utf-8"
    )
    (target / "LICENCES-TIERCES.txt").write_text(third_party_text(inventory.bom, inventory.texts), "utf-8")
    changes = changes_of(version, (root / "CHANGELOG.md").read_text("utf-8"))
    if changes is not None:
        (target / "NOTES.md").write_text(changes, "utf-8")
    sums = [f"{_digest(file)}  {file.name}" for file in sorted(target.iterdir())]
    (target / "SHA256SUMS").write_text("\n".join(sums) + "\n", "utf-8")


def _digest(file: Path) -> str:
    with file.open("rb") as octets:
        return file_digest(octets, "sha256").hexdigest()
