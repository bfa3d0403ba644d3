"""The image of a version: what was committed, as an archive with its digest, and Debian's packages in it."""

from dataclasses import dataclass
from pathlib import Path

from lab.release.buildah import LARGEST_MB, Buildah, NotBuilt, build, missing, problems
from lab.release.inventory import DPKG_QUERY, Inventory, debian_components, debian_texts
from lab.release.wheel import time_of, write_source


@dataclass(frozen=True, slots=True)
class Image:
    """`archive`: of the form that skopeo and podman read (OCI). `digest`: what a registry gives it, unchanged."""

    name: str
    archive: Path
    digest: str
    inventory: Inventory


def build_image(checkout: Path, commit: str, version: str, folder: Path, base: str = "") -> Image:
    """Build the image of `commit` into `folder`; `base`: another to begin with than deploy/Containerfile names.

    It is built once: unlike the wheel's, its octets hold the hour at which packages were installed. Played with a
    base of debootstrap's; from a registry's, which deploy/Containerfile names, not yet.

    Raises:
        NotBuilt: something to build with is missing, buildah failed, or what is in it does not start.
    """
    if (lacking := missing("buildah")) is not None:
        raise NotBuilt(lacking)
    name = f"territoire:{version}"
    source = folder / "source"
    write_source(checkout, commit, source)
    buildah = Buildah(folder)
    build(buildah, source, f"localhost/{name}", [*_arguments(checkout, commit, version), *_beginning(base)])
    if found := problems(buildah, LARGEST_MB):
        raise NotBuilt(" ; ".join(found))
    archive, digest = folder / f"territoire-{version}.oci.tar", folder / "digest"
    buildah("push", "--quiet", "--digestfile", digest, f"localhost/{name}", f"oci-archive:{archive}:{name}")
    pushed = digest.read_text("utf-8").strip()
    return Image(name, archive, pushed, _inventory(buildah, version, pushed))


def _arguments(checkout: Path, commit: str, version: str) -> list[str]:
    return [
        *("--build-arg", f"REVISION={commit}"),
        *("--label", f"org.opencontainers.image.version={version}"),
        *("--timestamp", time_of(checkout, commit)),
    ]


def _beginning(base: str) -> list[str]:
    return ["--build-arg", f"BASE={base}"] if base else []


def _inventory(buildah: Buildah, version: str, digest: str) -> Inventory:
    """One component, the image, with Debian's packages as those that it holds."""
    asked = buildah.inside("dpkg-query", *DPKG_QUERY)
    if asked.returncode != 0:
        raise NotBuilt(f"les paquets Debian de l'image ne se lisent pas : {asked.stdout.strip()[-300:]}")
    packages = debian_components(asked.stdout)
    root = Path(buildah("mount", buildah.container[0]))
    texts, lacks = debian_texts(root, [one["name"] for one in packages])
    purl = f"pkg:oci/territoire@{digest}?tag={version}"
    image = {
        "type": "container",
        "name": "territoire (image)",
        "version": version,
        "purl": purl,
        "bom-ref": purl,
        "licenses": [{"expression": "EUPL-1.2", "acknowledgement": "declared"}],
        "components": [{**one, "bom-ref": f"image/{one['bom-ref']}"} for one in packages],
    }
    return Inventory({"components": [image]}, texts, tuple(lacks))
