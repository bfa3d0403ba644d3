"""Actility's device-catalog: vendors/<vendor>/drivers/<driver>/ with driver.yaml, index.js, examples.json."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple, cast

from decoders.catalogues import bundle
from decoders.catalogues.files import Catalogue, Missing, Unreadable, folder_of, is_within, joined, name_of
from decoders.catalogues.literals import Element
from decoders.catalogues.model import (
    CHIRPSTACK_V3,
    DECODE_DOWNLINK,
    DECODE_UPLINK,
    ENCODE_DOWNLINK,
    TTN_V2,
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

DESCRIPTION, CODE, EXAMPLES, PACKAGE = "driver.yaml", "index.js", "examples.json", "package.json"
OPERATIONS = {"uplink": DECODE_UPLINK, "downlink-encode": ENCODE_DOWNLINK, "downlink-decode": DECODE_DOWNLINK}
FORMS = {"ttn": TTN_V2, "chirpstack": CHIRPSTACK_V3}
# Before TS013: encodeDownlink takes the object itself, examples are in another form.
OLD_SIGNATURE = "actility"
EUROPE = "eu868"


class _Radio(NamedTuple):
    """What a radio profile says."""

    lorawan: LorawanParameters
    bands: tuple[str, ...]
    is_class_b: bool


def recognises(catalogue: Catalogue) -> bool:
    """Whether some file is this layout's."""
    return any(name_of(path) in (DESCRIPTION, EXAMPLES) for path in catalogue.paths)


def read(catalogue: Catalogue, within: str = "", *, profiles: bool = False) -> Iterator[ImportedCodec]:
    """Every driver below a folder, in the order of their paths."""
    marks = {DESCRIPTION, EXAMPLES, CODE}
    folders = dict.fromkeys(folder_of(path) for path in catalogue.paths if name_of(path) in marks)
    used = _device_profiles(catalogue, within) if profiles else {}
    for folder in folders:
        if is_within(folder, within) and _is_driver(catalogue, folder):
            yield _codec(catalogue, folder, used)


def _is_driver(catalogue: Catalogue, folder: str) -> bool:
    """A folder of drivers/, or one that has what a driver has; sources of a bundle are not."""
    if joined(folder, DESCRIPTION) in catalogue or joined(folder, EXAMPLES) in catalogue:
        return True
    return joined(folder, CODE) in catalogue and name_of(folder_of(folder)) == "drivers"


def _codec(catalogue: Catalogue, folder: str, used: dict[str, list[ImportedProfile]]) -> ImportedCodec:
    vendor = name_of(folder_of(folder_of(folder)))
    driver = name_of(folder) or "driver"
    described, trouble = _if_there(catalogue, joined(folder, DESCRIPTION))
    package, _ = _if_there(catalogue, joined(folder, PACKAGE))
    main = joined(folder, text_of(package.get("main")) or CODE)
    signature = text_of(described.get("signature"))
    said = ImportedCodec(
        registry_name("actility", vendor or text_of(described.get("producerId")), driver),
        _vendor_name(catalogue, folder) or vendor or text_of(described.get("producerId")),
        driver,
        joined(folder, DESCRIPTION) if joined(folder, DESCRIPTION) in catalogue else main,
        form=FORMS.get(signature),
        profiles=tuple(
            profile for protocol in _protocols(described, package) for profile in used.get(protocol, ())
        ),
    )
    if trouble:
        said = replace(said, examples=(Example(DESCRIPTION, DECODE_UPLINK, wrong=trouble),))
    try:
        said = replace(said, source=bundle.script(catalogue, _main(catalogue, folder, main)))
    except Unreadable as wrong:
        said = replace(said, wrong=str(wrong), is_missing=isinstance(wrong, Missing))
    both_ways = "decodeDownlink" in said.source
    examples: list[Example] = list(said.examples)
    units: dict[str, str] = {}
    for path in _example_files(catalogue, folder):
        for number, element in enumerate(_elements(catalogue, path), 1):
            examples += _examples(element, f"exemple {number}", old=signature == OLD_SIGNATURE, both=both_ways)
            units |= _units(element.value)
    return replace(said, examples=tuple(examples), units=units)


def _main(catalogue: Catalogue, folder: str, main: str) -> str:
    """The main file; many packages name one that is not in the catalogue, beside an index.js that is."""
    beside = joined(folder, CODE)
    return beside if main not in catalogue and beside in catalogue else main


def _if_there(catalogue: Catalogue, path: str) -> tuple[dict[str, Any], str]:
    """What a description says, and what is wrong with it; nothing of both where there is none."""
    if path not in catalogue:
        return {}, ""
    try:
        value = catalogue.yaml(path)  # JSON is YAML.
    except Unreadable as wrong:
        return {}, str(wrong)
    return value, ""


def _protocols(described: dict[str, Any], package: dict[str, Any]) -> list[str]:
    """Ids by which models name this driver."""
    named = described.get("protocolId")
    if named is None:
        said = _object(_object(package.get("driver")).get("application"))
        named = ":".join(text_of(said.get(part)) for part in ("producerId", "moduleId", "version"))
    return [text_of(one) for one in (cast("list[Any]", named) if isinstance(named, list) else [named])]


def _example_files(catalogue: Catalogue, folder: str) -> list[str]:
    if joined(folder, EXAMPLES) in catalogue:
        return [joined(folder, EXAMPLES)]
    return [path for path in catalogue.inside(joined(folder, "examples")) if path.endswith(".examples.json")]


def _elements(catalogue: Catalogue, path: str) -> list[Element]:
    """The examples of a file; one that says what is wrong where the whole file cannot be read."""
    try:
        return catalogue.elements(catalogue.text(path))
    except Unreadable as wrong:
        return [Element(None, f"{name_of(path)} : {wrong}")]


def _examples(element: Element, name: str, *, old: bool, both: bool) -> Iterator[Example]:
    value: Any = element.value
    if element.wrong or not isinstance(value, dict):
        yield Example(name, DECODE_UPLINK, wrong=element.wrong or "un exemple doit être un objet")
        return
    said = cast("dict[str, Any]", value)
    name = text_of(said.get("description")) or name
    kind = text_of(said.get("type"))
    if "input" not in said:
        said = _as_now(said)
    try:
        if kind == "downlink":
            if both:
                yield _decoding(said, name, DECODE_DOWNLINK)
            yield _encoding({**said, "input": said["encoded"], "output": said["input"]}, name, old=old)
        elif OPERATIONS.get(kind) == ENCODE_DOWNLINK:
            yield _encoding(said, name, old=old)
        elif kind in OPERATIONS:
            yield _decoding(said, name, OPERATIONS[kind])
        else:
            yield Example(name, DECODE_UPLINK, wrong=f"type d'exemple inconnu : {kind!r}")
    except Unreadable as wrong:
        yield Example(name, OPERATIONS.get(kind, ENCODE_DOWNLINK), wrong=str(wrong))


def _as_now(said: dict[str, Any]) -> dict[str, Any]:
    """An example of before `input` and `output`."""
    given = {
        key: said[key] for key in ("bytes", "fPort", "time", "recvTime", "thing") if said.get(key) is not None
    }
    encoded = {key: said[key] for key in ("data", "fPort") if key in said}
    return {**said, "input": given, "encoded": encoded, "output": said.get("data")}


def _decoding(said: dict[str, Any], name: str, operation: str) -> Example:
    given = object_of(said.get("input"), "entrée")
    given["bytes"] = octets(given.get("bytes"))
    remembered: Any = given.pop("context", None) or []
    context = cast("list[Any]", remembered) if said.get("useContext") and isinstance(remembered, list) else None
    return Example(name, operation, given, expected_decoded(said.get("output")), context=context)


def _encoding(said: dict[str, Any], name: str, *, old: bool) -> Example:
    given = object_of(said.get("input"), "entrée")
    if old:
        given = object_of(given.get("data"), "donnée à encoder")
    return Example(name, ENCODE_DOWNLINK, given, expected_encoded(said.get("output")))


def _units(example: Any) -> dict[str, str]:
    """Units of the points that an example extracts, by their names."""
    points: Any = cast("dict[str, Any]", example).get("points") if isinstance(example, dict) else None
    units: dict[str, str] = {}
    for name, point in cast("dict[str, Any]", points).items() if isinstance(points, dict) else ():
        unit = cast("dict[str, Any]", point).get("unitId") if isinstance(point, dict) else None
        if isinstance(unit, str):
            units[name] = unit
    return units


def _vendor_name(catalogue: Catalogue, folder: str) -> str:
    described, _ = _if_there(catalogue, joined(folder, "..", "..", "vendor.yaml"))
    return text_of(described.get("name"))


def _device_profiles(catalogue: Catalogue, within: str) -> dict[str, list[ImportedProfile]]:
    """Id of a protocol -> the models that speak it, of the whole vendor even when one driver is asked for."""
    vendors = dict.fromkeys(
        folder_of(folder_of(folder_of(path))) for path in catalogue.paths if name_of(path) == "model.yaml"
    )
    found: dict[str, list[ImportedProfile]] = {}
    for vendor in vendors:
        if not (is_within(vendor, within) or is_within(within, vendor)):
            continue
        radios = _radios(catalogue, joined(vendor, "profiles"))
        described, _ = _if_there(catalogue, joined(vendor, "vendor.yaml"))
        name = text_of(described.get("name")) or name_of(vendor)
        for path in catalogue.below(joined(vendor, "models")):
            if name_of(path) == "model.yaml":
                model, _ = _if_there(catalogue, path)
                catalogue.record_required(path, "deviceProfileIds", there=bool(_profile_ids(model)))
                for protocol in _protocols(model, {}):
                    found.setdefault(protocol, []).append(_profile(model, path, name, radios))
    return found


def _profile(model: dict[str, Any], path: str, vendor: str, radios: dict[str, _Radio]) -> ImportedProfile:
    known = [radios[one] for one in _profile_ids(model) if one in radios]
    named = text_of(model.get("name")) or name_of(folder_of(path))
    if not known:
        return ImportedProfile(vendor, named, note="paramètres LoRaWAN par défaut (profil absent)")
    european = [radio for radio in known if EUROPE in radio.bands]
    radio = (european or known)[0]
    notes = [] if european else [f"pas de profil {EUROPE.upper()}, repris de {', '.join(radio.bands)}"]
    if radio.is_class_b:
        notes.append("classe B, servie en classe A")
    return ImportedProfile(vendor, named, lorawan=radio.lorawan, note=" ; ".join(notes))


def _profile_ids(model: dict[str, Any]) -> list[str]:
    """Ids of a model's radio profiles, often one a band.

    Models write `deviceProfileIds: [{id: ...}]`; `deviceProfileId`, an id or a list of them, is read as well.
    """
    named: Any = model.get("deviceProfileIds") or model.get("deviceProfileId")
    listed = cast("list[Any]", named) if isinstance(named, list) else [named]
    ids = (text_of(_object(one).get("id") if isinstance(one, dict) else one) for one in listed)
    return [one for one in ids if one]


def _radios(catalogue: Catalogue, folder: str) -> dict[str, _Radio]:
    """The radio profiles of a vendor by their ids."""
    found: dict[str, _Radio] = {}
    for path in catalogue.below(folder):
        if path.endswith((".yaml", ".yml")):
            said, _ = _if_there(catalogue, path)
            mac = _object(said.get("mac"))
            for field, there in (
                ("ISMbands", said.get("ISMbands")),
                ("loRaWANClass", said.get("loRaWANClass")),
                ("mac.loRaWANMacVersion", mac.get("loRaWANMacVersion")),
            ):
                catalogue.record_required(path, field, there=bool(there))
            bands = _bands(said.get("ISMbands"))
            is_class_b = text_of(said.get("loRaWANClass")).upper() == "B"
            id_ = text_of(said.get("id")) or name_of(path).rpartition(".")[0]
            found[id_] = _Radio(_lorawan(said, mac), bands, is_class_b)
    return found


def _bands(said: Any) -> tuple[str, ...]:
    """`eu868,in865`, or a list of bands."""
    listed = cast("list[Any]", said) if isinstance(said, list) else text_of(said).split(",")
    return tuple(text_of(band).lower() for band in listed if text_of(band))


def _lorawan(said: dict[str, Any], mac: dict[str, Any]) -> LorawanParameters:
    eirp = _object(mac.get("devicesTxPowerCapabilities")).get("maxTxEIRP")
    return LorawanParameters(
        "C" if text_of(said.get("loRaWANClass")).upper() == "C" else "A",
        text_of(mac.get("loRaWANMacVersion")).rpartition("/")[2] or LorawanParameters().mac_version,
        text_of(mac.get("regionalParameterVersion")),
        mac.get("overTheAirActivation") is not False,
        round(eirp) if isinstance(eirp, int | float) and not isinstance(eirp, bool) else None,
    )


def _object(value: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}
