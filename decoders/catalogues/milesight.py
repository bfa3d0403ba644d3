"""Milesight's SensorDecoders: a folder for each model: a decoder, often an encoder, and a README of examples."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, cast

from decoders.catalogues import bundle
from decoders.catalogues.files import Catalogue, Unreadable, folder_of, is_within, name_of
from decoders.catalogues.model import (
    DECODE_UPLINK,
    Example,
    ImportedCodec,
    ImportedProfile,
    octets,
    registry_name,
    text_of,
)

README = "readme.md"
VENDOR = "Milesight"
F_PORT = 85
_FENCE = re.compile(r"^\s*```\s*(\w*)")
_FENCED = frozenset({"json", "json5", "jsonc", "js", "javascript", ""})
_HEXADECIMAL = re.compile(r"^\s*//\s*((?:[0-9A-Fa-f]{2}\s*)+)$")


def recognises(catalogue: Catalogue) -> bool:
    """Whether some file is this layout's."""
    return any(_is_decoder(name_of(path)) or _has_examples(catalogue, path) for path in catalogue.paths)


def _is_decoder(name: str) -> bool:
    return name.lower().endswith(".js") and "decoder" in name.lower()


def _has_examples(catalogue: Catalogue, path: str) -> bool:
    if name_of(path).lower() != README:
        return False
    try:
        return any(_HEXADECIMAL.match(line) for line in catalogue.text(path).splitlines())
    except Unreadable:
        return False


def read(catalogue: Catalogue, within: str = "", *, profiles: bool = False) -> Iterator[ImportedCodec]:
    """Every model below a folder, in the order of their paths."""
    folders = dict.fromkeys(
        folder_of(path)
        for path in catalogue.paths
        if is_within(path, within) and (_is_decoder(name_of(path)) or _has_examples(catalogue, path))
    )
    for folder in folders:
        yield _codec(catalogue, folder, profiles=profiles)


def _codec(catalogue: Catalogue, folder: str, *, profiles: bool) -> ImportedCodec:
    scripts = [path for path in catalogue.inside(folder) if path.lower().endswith(".js")]
    decoder, encoder = _chosen(scripts, folder, "decoder"), _chosen(scripts, folder, "encoder")
    readme = next((path for path in catalogue.inside(folder) if name_of(path).lower() == README), None)
    model = (name_of(folder) or name_of(decoder or "").lower().partition("-decoder")[0]).upper()
    note = "le catalogue ne dit pas les paramètres LoRaWAN : classe A, 1.0.3"
    said = ImportedCodec(
        registry_name("sensordecoders", model),
        VENDOR,
        model,
        decoder or readme or folder,
        examples=() if readme is None else tuple(_examples(catalogue, readme)),
        profiles=(ImportedProfile(VENDOR, model, note=note),) if profiles else (),
        units=_units(catalogue, folder),
    )
    if decoder is None:
        return replace(said, wrong=f"aucun décodeur dans {folder or 'le dossier'}", is_missing=True)
    try:
        source = bundle.script(catalogue, decoder)
        if encoder is not None:
            source = bundle.with_encoder(source, bundle.script(catalogue, encoder))
    except Unreadable as wrong:
        return replace(said, wrong=str(wrong))
    return replace(said, source=source)


def _chosen(scripts: Sequence[str], folder: str, role: str) -> str | None:
    """The decoder or the encoder of a folder: that of its name, or else the plainest."""
    named = [path for path in scripts if role in name_of(path).lower()]
    if not named and role == "decoder":  # An older checkout names them after the network server.
        others = ("encoder", "cellular")
        named = [path for path in scripts if not any(other in name_of(path).lower() for other in others)]
    own = f"{name_of(folder).lower()}-{role}.js"
    return min(named, key=lambda path: (name_of(path).lower() != own, len(path), path), default=None)


def _examples(catalogue: Catalogue, readme: str) -> Iterator[Example]:
    """The JSON under each `// HEX` line of the README's code blocks."""
    lines = catalogue.text(readme).splitlines()
    language: str | None = None  # Of the block that is open.
    for number, line in enumerate(lines, 1):
        if fence := _FENCE.match(line):
            language = fence[1].lower() if language is None else None
        heading = _HEXADECIMAL.match(line) if language in _FENCED else None
        if heading is None:
            continue
        name = f"{name_of(readme)} ligne {number}"
        try:
            given: dict[str, Any] = {"bytes": octets(heading[1]), "fPort": F_PORT}
            body = "\n".join(_block(lines[number:]))
            yield Example(name, DECODE_UPLINK, given, {"data": catalogue.literal(body)})
        except Unreadable as wrong:
            yield Example(name, DECODE_UPLINK, wrong=str(wrong))


def _block(lines: Sequence[str]) -> Iterator[str]:
    for line in lines:
        if _FENCE.match(line) or _HEXADECIMAL.match(line):
            return
        yield line


def _units(catalogue: Catalogue, folder: str) -> dict[str, str]:
    """Units by the name of a field, from the description for BACnet beside the codec."""
    units: dict[str, str] = {}
    for path in catalogue.inside(folder):
        if not path.endswith("-codec.json"):
            continue
        try:
            described = catalogue.json(path)
        except Unreadable:
            continue
        fields: Any = cast("dict[str, Any]", described).get("object") if isinstance(described, dict) else None
        for field in cast("list[Any]", fields) if isinstance(fields, list) else ():
            said = cast("dict[str, Any]", field) if isinstance(field, dict) else {}
            if text_of(said.get("unit")):
                units[text_of(said.get("id"))] = text_of(said.get("unit"))
    return units
