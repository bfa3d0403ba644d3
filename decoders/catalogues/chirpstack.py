"""ChirpStack's device-profiles: vendors/<vendor>/ with vendor.toml, devices/, profiles/ and codecs/ with tests."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, cast

from decoders.catalogues import bundle
from decoders.catalogues.files import Catalogue, Missing, Unreadable, folder_of, is_within, joined, name_of
from decoders.catalogues.model import (
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

TESTS = {"test_decode_": DECODE_UPLINK, "test_encode_": ENCODE_DOWNLINK}
EUROPE = "EU868"


def recognises(catalogue: Catalogue) -> bool:
    """Whether some file is this layout's."""
    return any(
        name_of(path).startswith(tuple(TESTS))
        or (path.endswith(".js") and name_of(folder_of(path)) == "codecs")
        or name_of(path) == "vendor.toml"
        for path in catalogue.paths
    )


def read(catalogue: Catalogue, within: str = "", *, profiles: bool = False) -> Iterator[ImportedCodec]:
    """Every codec below a folder, in the order of their paths; also those that only their tests speak of."""
    used = _device_profiles(catalogue) if profiles else {}
    for path, tests in sorted(_codec_paths(catalogue).items()):
        if any(is_within(one, within) for one in (path, *(test.path for test in tests))):
            yield _codec(catalogue, path, tests, tuple(used.get(path, ())))


class _Tests(NamedTuple):
    """A file of tests; `others` are further scripts that could be meant by its name."""

    path: str
    operation: str
    others: tuple[str, ...] = ()


def _codec_paths(catalogue: Catalogue) -> dict[str, list[_Tests]]:
    """Scripts of folders `codecs` with their tests, and those that only a test names, which are not there."""
    found: dict[str, list[_Tests]] = {
        path: [] for path in catalogue.paths if path.endswith(".js") and name_of(folder_of(path)) in ("codecs", "")
    }
    scripts: dict[str, list[str]] = {}
    for path in found:
        scripts.setdefault(folder_of(path), []).append(name_of(path).removesuffix(".js"))
    for prefix, operation in TESTS.items():
        named: dict[str, list[str]] = {}
        for path in catalogue.paths:
            if name_of(path).startswith(prefix) and path.endswith(".json"):
                named.setdefault(folder_of(path), []).append(
                    name_of(path).removeprefix(prefix).removesuffix(".json")
                )
        for folder, tests in named.items():
            for test, owners in _owners(tests, scripts.get(folder, [])).items():
                first, *others = (joined(folder, f"{owner}.js") for owner in owners or [test])
                path = joined(folder, f"{prefix}{test}.json")
                found.setdefault(first, []).append(_Tests(path, operation, tuple(others)))
    return found


def _owners(tests: Sequence[str], scripts: Sequence[str]) -> dict[str, list[str]]:
    """The scripts that each file of tests is for: the one of its name, else those whose name goes on after it.

    `dl-pr21` is for `dl-pr21-1-10` where there is no `dl-pr21`. A script belongs to the longest such name; tests
    of no script have none.
    """
    owners: dict[str, list[str]] = {test: [] for test in tests}
    for script in sorted(scripts):
        begins = [test for test in tests if test not in scripts and re.match(rf"{re.escape(test)}[-_. ]", script)]
        own = [script] if script in owners else begins
        if own:
            owners[max(own, key=len)].append(script)
    return owners


def _codec(
    catalogue: Catalogue, path: str, tests: Sequence[_Tests], profiles: tuple[ImportedProfile, ...]
) -> ImportedCodec:
    home = folder_of(folder_of(path))
    vendor, model = name_of(home), name_of(path).removesuffix(".js")
    said = ImportedCodec(
        registry_name("chirpstack", vendor, model),
        _vendor_name(catalogue, home) or vendor,
        model,
        path,
        examples=tuple(example for test in tests for example in _examples(catalogue, test)),
        profiles=profiles,
    )
    try:
        return replace(said, source=bundle.script(catalogue, path))
    except Unreadable as wrong:
        return replace(said, wrong=str(wrong), is_missing=isinstance(wrong, Missing))


def _examples(catalogue: Catalogue, test: _Tests) -> Iterator[Example]:
    path, operation = test.path, test.operation
    if test.others:
        others = ", ".join(name_of(other) for other in test.others)
        yield Example(name_of(path), operation, wrong=f"{name_of(path)} peut être aussi de {others}")
        return
    try:
        elements = catalogue.elements(catalogue.text(path))
    except Unreadable as wrong:
        yield Example(name_of(path), operation, wrong=f"{name_of(path)} : {wrong}")
        return
    for number, element in enumerate(elements, 1):
        name = f"{name_of(path)} {number}"
        value: Any = element.value
        if element.wrong or not isinstance(value, dict):
            yield Example(name, operation, wrong=element.wrong or "un exemple doit être un objet")
            continue
        said = cast("dict[str, Any]", value)
        name = text_of(said.get("name")) or name
        try:
            called = object_of(said.get("input"), "entrée")
            if operation == DECODE_UPLINK:
                called["bytes"] = octets(called.get("bytes"))
                yield Example(name, operation, called, expected_decoded(said.get("expected")))
            else:
                yield Example(name, operation, called, expected_encoded(said.get("expected")))
        except Unreadable as wrong:
            yield Example(name, operation, wrong=str(wrong))


def _table(catalogue: Catalogue, path: str, name: str) -> dict[str, Any]:
    """A table of a TOML file; empty where there is none, or no such file."""
    try:
        table: Any = catalogue.toml(path).get(name)
    except Unreadable:
        return {}
    return cast("dict[str, Any]", table) if isinstance(table, dict) else {}


def _vendor_name(catalogue: Catalogue, home: str) -> str:
    return text_of(_table(catalogue, joined(home, "vendor.toml"), "vendor").get("name"))


def _device_profiles(catalogue: Catalogue) -> dict[str, list[ImportedProfile]]:
    """Path of a codec -> the devices, by ranges of their firmware, that use it."""
    found: dict[str, list[ImportedProfile]] = {}
    for path in catalogue.paths:
        if path.endswith(".toml") and name_of(folder_of(path)) == "devices":
            home = folder_of(folder_of(path))
            device = _table(catalogue, path, "device")
            vendor = _vendor_name(catalogue, home) or name_of(home)
            model = text_of(device.get("name")) or name_of(path).removesuffix(".toml")
            listed: Any = device.get("firmware")
            firmware = [
                cast("dict[str, Any]", one)
                for one in (cast("list[Any]", listed) if isinstance(listed, list) else ())
                if isinstance(one, dict)
            ]
            catalogue.record_required(path, "device.firmware", there=bool(firmware))
            with_profiles = any(one.get("profiles") for one in firmware)
            catalogue.record_required(path, "device.firmware.profiles", there=with_profiles)
            versions = [one for one in firmware if text_of(one.get("codec"))]
            for codec, profile in _ranges(catalogue, home, vendor, model, versions):
                found.setdefault(codec, []).append(profile)
    return found


def _ranges(
    catalogue: Catalogue, home: str, vendor: str, model: str, versions: list[dict[str, Any]]
) -> Iterator[tuple[str, ImportedProfile]]:
    """One profile for each run of firmware versions with the same codec."""
    codecs = [joined(home, "codecs", text_of(version["codec"])) for version in versions]
    for start, codec in enumerate(codecs):
        if start and codecs[start - 1] == codec:
            continue
        end = next((at for at in range(start, len(codecs)) if codecs[at] != codec), None)
        lorawan, note = _lorawan(catalogue, home, versions[start])
        since = "" if start == 0 and end is None else text_of(versions[start].get("version"))
        until = "" if end is None else text_of(versions[end - 1].get("version"))
        yield codec, ImportedProfile(vendor, model, since, until, lorawan, note)


def _lorawan(catalogue: Catalogue, home: str, version: dict[str, Any]) -> tuple[LorawanParameters, str]:
    named: Any = version.get("profiles")
    names = [text_of(name) for name in (cast("list[Any]", named) if isinstance(named, list) else ())]
    radios = [_radio(catalogue, joined(home, "profiles", name)) for name in names]
    european = next((radio for radio in radios if text_of(radio.get("region")) == EUROPE), None)
    radio = european if european is not None else next((radio for radio in radios if radio), None)
    if radio is None:
        return LorawanParameters(), "paramètres LoRaWAN par défaut (profil absent)"
    eirp: Any = radio.get("max_eirp")
    lorawan = LorawanParameters(
        "C" if radio.get("supports_class_c") is True else "A",
        text_of(radio.get("mac_version")) or LorawanParameters().mac_version,
        text_of(radio.get("reg_params_revision")),
        radio.get("supports_otaa") is not False,
        round(eirp) if isinstance(eirp, int | float) and not isinstance(eirp, bool) and eirp > 0 else None,
    )
    return lorawan, "" if european is not None else f"pas de profil {EUROPE}"


def _radio(catalogue: Catalogue, path: str) -> dict[str, Any]:
    """What a radio profile says; empty where there is no such file."""
    radio = _table(catalogue, path, "profile")
    if path in catalogue:
        for field in ("region", "mac_version"):
            catalogue.record_required(path, f"profile.{field}", there=bool(radio.get(field)))
        catalogue.record_required(path, "profile.supports_class_c", there="supports_class_c" in radio)
    return radio
