"""Outlines of communes from a GeoJSON file to the API, checked before anything is sent."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from core.model.outlines import InvalidOutline, read_outline
from core.runtime.errors import system_reason

if TYPE_CHECKING:
    from cli.api_client import ApiClient

# What is wrong is counted beyond this.
SHOWN_MOST = 10
AT_ONCE, OCTETS_AT_ONCE = 100, 600_000
# Who waits for longer is told how far it is.
TOLD_EVERY_S = 2.0


class UnreadableFile(Exception):
    """The message, in French, says what is wrong, with the numbers of the features."""


class _Collection(msgspec.Struct):
    """Features are read one by one: of a whole country they do not fit into memory as objects."""

    type: str = ""
    features: list[msgspec.Raw] = []


def read_communes(file: Path) -> list[dict[str, Any]]:
    """The features of a file as the API takes them.

    Raises:
        UnreadableFile: the file or one of its features cannot be read: nothing of it is taken.
    """
    try:
        found = msgspec.json.decode(file.read_bytes(), type=_Collection)
    except OSError as wrong:
        raise UnreadableFile(system_reason(wrong)) from None
    except msgspec.DecodeError as wrong:
        raise UnreadableFile(f"ce n'est pas du GeoJSON ({wrong})") from None
    if found.type != "FeatureCollection" or not found.features:
        raise UnreadableFile("une « FeatureCollection » avec au moins un objet est attendue")
    return _read_all(found.features)


def _read_all(features: list[msgspec.Raw]) -> list[dict[str, Any]]:
    read, wrong, seen = list[dict[str, Any]](), list[str](), dict[str, int]()
    told_at = time.monotonic()
    for number, raw in enumerate(features, 1):
        try:
            outline = read_outline(msgspec.json.decode(raw))
        except InvalidOutline as why:
            wrong.append(f"objet {number} : {why}")
            continue
        if outline.insee in seen:
            wrong.append(
                f"objet {number} : le code {outline.insee} est déjà celui de l'objet {seen[outline.insee]}"
            )
        seen[outline.insee] = number
        read.append(
            {
                "type": "Feature",
                "properties": {"insee": outline.insee, "nom": outline.name},
                "geometry": {"type": "MultiPolygon", "coordinates": outline.borders},
            }
        )
        if time.monotonic() - told_at > TOLD_EVERY_S:
            told_at = time.monotonic()
            print(f"{number} / {len(features)} communes lues", flush=True)
    if wrong:
        more = f"\n... et {len(wrong) - SHOWN_MOST} autres" if len(wrong) > SHOWN_MOST else ""
        raise UnreadableFile("rien n'est pris\n" + "\n".join(wrong[:SHOWN_MOST]) + more)
    return read


def take_in(api: "ApiClient", features: list[dict[str, Any]], tenant: str | None, *, shared: bool) -> str:
    """Send them, a hundred at a time or fewer; what became of them, in French."""
    counts = {"created": 0, "updated": 0, "unchanged": 0}
    told_at = time.monotonic()
    sent = 0
    for batch in _batches(features):
        answer = api.post("/v1/commune-outlines", {"features": batch, "tenant": tenant, "shared": shared})
        for name in counts:
            counts[name] += answer[name]
        sent += len(batch)
        if time.monotonic() - told_at > TOLD_EVERY_S:
            told_at = time.monotonic()
            print(f"{sent} / {len(features)} communes prises", flush=True)
    return (
        f"{counts['created']} contours nouveaux, {counts['updated']} mis à jour, {counts['unchanged']} déjà à jour"
    )


def _batches(features: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """As many at once as the API takes: by their number, and by their octets."""
    batch, octets = list[dict[str, Any]](), 0
    for one in features:
        size = len(msgspec.json.encode(one))
        if batch and (len(batch) == AT_ONCE or octets + size > OCTETS_AT_ONCE):
            yield batch
            batch, octets = [], 0
        batch.append(one)
        octets += size
    if batch:
        yield batch
