"""The images of `deploy/images.toml`: where our files name them, and whether by digest."""

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

FILE = Path("deploy/images.toml")
UNKNOWN = "unknown"
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
# A Containerfile's base, a container's image, CloudNativePG's; Compose may be given another by a variable.
NAMED = re.compile(
    r"^(?P<before>\s*(?:- )?(?:ARG BASE=|image: |imageName: )(?:\$\{\w+:-)?)"
    r"(?P<image>[\w./-]+(?::[\w.-]+)?)(?:@(?P<digest>sha256:[0-9a-f]{64}))?(?=\s|\}|$)",
    re.MULTILINE,
)


class MalformedImages(ValueError):
    """The file of images says something that is none; in French."""


@dataclass(frozen=True, slots=True)
class Image:
    """One of them. `digest` is None where it is unknown, and for what is `made_by` a Containerfile of ours."""

    image: str
    digest: str | None
    made_by: str | None

    @property
    def name(self) -> str:
        """Without its tag."""
        return self.image.partition(":")[0]

    @property
    def reference(self) -> str:
        """As our files name it."""
        return self.image if self.digest is None else f"{self.image}@{self.digest}"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a file names one."""

    file: Path
    image: str
    digest: str | None


def read_images(root: Path) -> dict[str, Image]:
    """By name without tag.

    Raises:
        MalformedImages: an entry without an image, or with a digest that is none.
    """
    found: dict[str, Image] = {}
    for key, entry in tomllib.loads((root / FILE).read_text("utf-8")).items():
        image, digest, made_by = entry.get("image"), entry.get("digest"), entry.get("made_by")
        if not image or (digest is None) == (made_by is None):
            raise MalformedImages(f"{FILE}, [{key}] : image, et digest ou made_by")
        if made_by is None and digest != UNKNOWN and not DIGEST.fullmatch(digest):
            raise MalformedImages(f"{FILE}, [{key}] : « {digest} » n'est pas une empreinte")
        one = Image(image, None if digest == UNKNOWN else digest, made_by)
        found[one.name] = one
    return found


def _files(root: Path) -> Iterator[Path]:
    yield from sorted((root / "deploy").glob("*Containerfile"))
    yield root / "deploy" / "compose.yaml"
    yield from sorted((root / "k8s").rglob("*.yaml"))


def places(root: Path) -> list[Place]:
    """Every line of ours that names an image."""
    return [
        Place(file.relative_to(root), named["image"], named["digest"])
        for file in _files(root)
        for named in NAMED.finditer(file.read_text("utf-8"))
    ]


def problems(root: Path) -> list[str]:
    """Why what our files name could be something else tomorrow; nothing: it cannot."""
    known = read_images(root)
    named = places(root)
    found = [
        f"{place.file} : {place.image} n'est pas comme dans {FILE} (./territoire images --write)"
        for place in named
        if not _agrees(known, place)
    ]
    seen = {place.image.partition(":")[0] for place in named}
    found += [
        f"{FILE} : aucun fichier ne nomme {image.image}" for image in known.values() if image.name not in seen
    ]
    found += [
        f"{FILE} : l'empreinte de {image.image} est inconnue"
        for image in known.values()
        if image.digest is None and image.made_by is None
    ]
    return found


def _agrees(known: Mapping[str, Image], place: Place) -> bool:
    image = known.get(place.image.partition(":")[0])
    if image is None:
        return False
    is_same = place.image == image.image or ":" not in image.image  # Ours: its tag is the version's.
    return is_same and place.digest == image.digest


def write_digests(root: Path) -> list[Path]:
    """Write images and digests as the file has them wherever they are named; returns which files changed."""
    known = read_images(root)

    def written(named: re.Match[str]) -> str:
        image = known.get(named["image"].partition(":")[0])
        return named[0] if image is None or ":" not in image.image else named["before"] + image.reference

    changed: list[Path] = []
    for file in _files(root):
        before = file.read_text("utf-8")
        after = NAMED.sub(written, before)
        if after != before:
            file.write_text(after, "utf-8")
            changed.append(file.relative_to(root))
    return changed


def unpinned(manifests: Iterable[Mapping[str, Any]]) -> list[str]:
    """The images of rendered manifests that are named without a digest."""
    return sorted({image for manifest in manifests for image in _images_of(manifest) if "@sha256:" not in image})


def _images_of(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for one in cast(list[Any], value):
            yield from _images_of(one)
    elif isinstance(value, dict):
        for key, one in cast(dict[str, Any], value).items():
            if key in {"image", "imageName"} and isinstance(one, str):
                yield one
            else:
                yield from _images_of(one)
