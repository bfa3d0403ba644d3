"""The image of a version: what was committed, as an archive with its digest, and what is in it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.release.buildah import INTERPRETER, LARGEST_MB, Buildah, NotBuilt, build, missing, problems
from lab.release.inventory import DPKG_QUERY, Inventory, debian_components, debian_texts, interpreter_inventory
from lab.release.wheel import time_of, write_source

# Of whom the interpreter is, and what it finds installed.
ASK = """
import json, os, platform, sys, sysconfig
from importlib.metadata import distributions
print(json.dumps({
    "executable": os.path.realpath(sys.executable), "version": platform.python_version(),
    "stdlib": sysconfig.get_path("stdlib"), "installed": {one.name: one.version for one in distributions()},
}))
"""


@dataclass(frozen=True, slots=True)
class Image:
    """`archive`: of the form that skopeo and podman read (OCI). `digest`: what a registry gives it, unchanged.

    `installed`: Python's distributions that our programs find in it, by name and version.
    """

    name: str
    archive: Path
    digest: str
    inventory: Inventory
    installed: Mapping[str, str]


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
    return Image(name, archive, pushed, *look_inside(buildah, version, pushed))


def _arguments(checkout: Path, commit: str, version: str) -> list[str]:
    return [
        *("--build-arg", f"REVISION={commit}"),
        *("--label", f"org.opencontainers.image.version={version}"),
        *("--timestamp", time_of(checkout, commit)),
    ]


def _beginning(base: str) -> list[str]:
    return ["--build-arg", f"BASE={base}"] if base else []


def look_inside(buildah: Buildah, version: str, digest: str) -> tuple[Inventory, Mapping[str, str]]:
    """The image as a component that holds Debian's packages, CPython where it is none; and what is installed."""
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
    answer = buildah.inside(INTERPRETER, "-P", "-c", ASK)
    if answer.returncode != 0:
        raise NotBuilt(f"le Python de l'image ne répond pas : {answer.stdout.strip()[-300:]}")
    said = json.loads(answer.stdout.splitlines()[-1])
    is_debian_s = buildah.inside("dpkg-query", "-S", said["executable"]).returncode == 0
    python = (
        Inventory({"components": []}, {})
        if is_debian_s
        else interpreter_inventory(root, said["stdlib"], said["version"])
    )
    components: list[dict[str, Any]] = [image, *python.bom["components"]]
    return Inventory({"components": components}, {**texts, **python.texts}, tuple(lacks)), said["installed"]
