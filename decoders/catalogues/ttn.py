"""The Things Network's lorawan-devices: vendor/<vendor>/*.yaml, codecs beside the devices that use them."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, cast

from decoders.catalogues import bundle
from decoders.catalogues.files import Catalogue, Missing, Unreadable, folder_of, is_within, joined, name_of
from decoders.catalogues.model import (
    DECODE_DOWNLINK,
    DECODE_UPLINK,
    ENCODE_DOWNLINK,
    Example,
    ImportedCodec,
    ImportedProfile,
    LorawanParameters,
    expected_decoded,
    expected_encoded,
    object_of,
    octets,
    registry_name,
    text_of,
)

SECTIONS = {
    "uplinkDecoder": DECODE_UPLINK,
    "downlinkEncoder": ENCODE_DOWNLINK,
    "downlinkDecoder": DECODE_DOWNLINK,
}
_FUNCTIONS = {
    DECODE_UPLINK: ("decodeUplink", "Decoder"),
    ENCODE_DOWNLINK: ("encodeDownlink", "Encoder"),
    DECODE_DOWNLINK: ("decodeDownlink",),
}
EUROPE = "EU863-870"


def recognises(catalogue: Catalogue) -> bool:
    """Whether some file is this layout's."""
    return any(path.endswith((".yaml", ".yml")) and _mentions(catalogue, path) for path in catalogue.paths)


def _mentions(catalogue: Catalogue, path: str) -> bool:
    try:
        text = catalogue.text(path)
    except Unreadable:
        return False
    return any(f"\n{section}:" in f"\n{text}" for section in (*SECTIONS, "firmwareVersions"))


def read(catalogue: Catalogue, within: str = "", *, profiles: bool = False) -> Iterator[ImportedCodec]:
    """Every codec below a folder, in the order of their paths."""
    vendors = _vendor_names(catalogue)
    used: dict[str, list[ImportedProfile]] = {}
    for path in catalogue.paths:
        if profiles and is_within(path, within) and path.endswith((".yaml", ".yml")):
            for codec, profile in _device_profiles(catalogue, path, vendors):
                used.setdefault(codec, []).append(profile)
    for path in catalogue.paths:
        if not is_within(path, within) or not path.endswith((".yaml", ".yml")) or not _mentions(catalogue, path):
            continue
        codec = _codec(catalogue, path, vendors, tuple(used.get(path, ())))
        if codec is not None:
            yield codec


def _codec(
    catalogue: Catalogue, path: str, vendors: dict[str, str], profiles: tuple[ImportedProfile, ...]
) -> ImportedCodec | None:
    folder, model = folder_of(path), name_of(path).rpartition(".")[0]
    vendor = name_of(folder)
    said = ImportedCodec(
        registry_name("ttn", vendor, model), vendors.get(vendor, vendor), model, path, profiles=profiles
    )
    try:
        described = catalogue.yaml(path)
    except Unreadable as wrong:
        return replace(said, wrong=str(wrong), examples=(Example(name_of(path), DECODE_UPLINK, wrong=str(wrong)),))
    sections = {
        operation: cast("dict[str, Any]", described[name])
        for name, operation in SECTIONS.items()
        if isinstance(described.get(name), dict)
    }
    if not sections:
        return None  # A device, which has no codec of its own.
    examples = tuple(
        example for operation, section in sections.items() for example in _examples(section, operation)
    )
    try:
        source = _source(catalogue, folder, sections)
    except Unreadable as wrong:
        return replace(said, wrong=str(wrong), examples=examples, is_missing=isinstance(wrong, Missing))
    return replace(said, source=source, examples=examples)


def _source(catalogue: Catalogue, folder: str, sections: dict[str, dict[str, Any]]) -> str:
    """The files of all sections as one script. Raises Unreadable."""
    files: dict[str, list[str]] = {}
    for operation, section in sections.items():
        name = section.get("fileName")
        if not isinstance(name, str) or not name:
            raise Unreadable(f"fileName absent ({operation})")
        files.setdefault(joined(folder, name), []).extend(_FUNCTIONS[operation])
    (first, _), *others = files.items()
    return bundle.together(
        bundle.script(catalogue, first), [(bundle.script(catalogue, path), names) for path, names in others]
    )


def _examples(section: dict[str, Any], operation: str) -> Iterator[Example]:
    examples: Any = section.get("examples")
    for number, example in enumerate(cast("list[Any]", examples) if isinstance(examples, list) else [], 1):
        name = f"{operation} {number}"
        if not isinstance(example, dict):
            yield Example(name, operation, wrong="un exemple doit être un objet")
            continue
        said = cast("dict[str, Any]", example)
        name = text_of(said.get("description")) or name
        try:
            called = object_of(said.get("input"), "entrée")
            if operation == ENCODE_DOWNLINK:
                yield Example(name, operation, called, expected_encoded(said.get("output")))
            else:
                called["bytes"] = octets(called.get("bytes"))
                yield Example(name, operation, called, expected_decoded(said.get("output")))
        except Unreadable as wrong:
            yield Example(name, operation, wrong=str(wrong))


def _vendor_names(catalogue: Catalogue) -> dict[str, str]:
    """Id of a vendor -> its name, from the index of all; empty where only a folder was given."""
    for path in ("vendor/index.yaml", "index.yaml"):
        try:
            vendors: Any = catalogue.yaml(path).get("vendors")
        except Unreadable:
            continue
        listed = cast("list[Any]", vendors) if isinstance(vendors, list) else []
        named = [cast("dict[str, Any]", vendor) for vendor in listed if isinstance(vendor, dict)]
        return {text_of(vendor.get("id")): text_of(vendor.get("name")) for vendor in named}
    return {}


def _device_profiles(
    catalogue: Catalogue, path: str, vendors: dict[str, str]
) -> Iterator[tuple[str, ImportedProfile]]:
    """Path of a codec, and the firmware of the device described in this file that uses it."""
    try:
        device = catalogue.yaml(path)
    except Unreadable:
        return  # It is reported where it is read as a codec.
    versions: Any = device.get("firmwareVersions")
    if not isinstance(versions, list):
        return
    with_profiles = any(
        isinstance(one, dict) and bool(cast("dict[str, Any]", one).get("profiles"))
        for one in cast("list[Any]", versions)
    )
    catalogue.record_required(path, "firmwareVersions.profiles", there=with_profiles)
    folder = folder_of(path)
    vendor = vendors.get(name_of(folder), name_of(folder))
    model = text_of(device.get("name")) or name_of(path).rpartition(".")[0]
    used = [use for version in cast("list[Any]", versions) for use in _uses(catalogue, folder, version)]
    for start, (codec, version, lorawan, note) in enumerate(used):
        if start and used[start - 1][0] == codec:
            continue
        later = next((at for at in range(start, len(used)) if used[at][0] != codec), None)
        whole = start == 0 and later is None
        yield (
            codec,
            ImportedProfile(
                vendor,
                model,
                "" if whole else version,
                "" if later is None else used[later - 1][1],
                lorawan,
                note,
            ),
        )


def _uses(catalogue: Catalogue, folder: str, version: Any) -> Sequence[tuple[str, str, LorawanParameters, str]]:
    """(codec's path, firmware, parameters, what is missing) of one firmware version; empty without a codec."""
    said = cast("dict[str, Any]", version) if isinstance(version, dict) else {}
    regions = cast("dict[str, Any]", said["profiles"]) if isinstance(said.get("profiles"), dict) else {}
    uses = {region: cast("dict[str, Any]", use) for region, use in regions.items() if isinstance(use, dict)}
    usable = [region for region, use in uses.items() if text_of(use.get("codec"))]
    if not usable:
        return ()
    region = EUROPE if EUROPE in usable else usable[0]
    use = uses[region]
    codec = joined(folder, f"{use['codec']}.yaml")
    shared = text_of(use.get("vendorID"))
    where = joined(folder_of(folder), shared) if shared else folder
    lorawan, note = LorawanParameters(), "" if region == EUROPE else f"pas de profil {EUROPE}, repris de {region}"
    try:
        lorawan = _radio(catalogue, joined(where, f"{text_of(use.get('id'))}.yaml"))
    except Unreadable as wrong:
        note = f"paramètres LoRaWAN par défaut ({wrong})"
    return ((codec, text_of(said.get("version")), lorawan, note),)


def _radio(catalogue: Catalogue, path: str) -> LorawanParameters:
    """What a radio profile says. Raises Unreadable."""
    profile = catalogue.yaml(path)
    catalogue.record_required(path, "macVersion", there=bool(profile.get("macVersion")))
    for field in ("supportsClassC", "supportsJoin"):
        catalogue.record_required(path, field, there=field in profile)
    eirp: Any = profile.get("maxEIRP")
    return LorawanParameters(
        "C" if profile.get("supportsClassC") is True else "A",
        text_of(profile.get("macVersion")) or LorawanParameters().mac_version,
        text_of(profile.get("regionalParametersVersion")),
        profile.get("supportsJoin") is not False,
        round(eirp) if isinstance(eirp, int | float) and not isinstance(eirp, bool) else None,
    )
