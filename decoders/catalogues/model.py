"""What a catalogue says of a codec, independent of its layout."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from decoders.catalogues.files import Unreadable

DECODE_UPLINK, ENCODE_DOWNLINK, DECODE_DOWNLINK = "decodeUplink", "encodeDownlink", "decodeDownlink"
OPERATIONS = (DECODE_UPLINK, ENCODE_DOWNLINK, DECODE_DOWNLINK)
# The forms that a profile may force (decoders.javascript).
TTN_V2, CHIRPSTACK_V3 = "Decoder", "Decode"
LONGEST_NAME = 63
BYTE = 255
_RESULT_KEYS = frozenset({"data", "errors", "error", "warnings"})


@dataclass(frozen=True, slots=True)
class Example:
    """One example of a vendor: what its own test calls the codec with, and what it expects.

    `input` is the argument, with `bytes` as numbers; `expected` is `data`, `errors` and `warnings`, or `bytes`,
    `fPort`, `errors` and `warnings` for encodeDownlink. `wrong` says why it cannot be run; `context` is what the
    codec remembers of earlier calls, None where it is given nothing.
    """

    name: str
    operation: str
    input: dict[str, Any] = field(default_factory=dict[str, Any])
    expected: dict[str, Any] = field(default_factory=dict[str, Any])
    wrong: str = ""
    context: list[Any] | None = None


@dataclass(frozen=True, slots=True)
class LorawanParameters:
    """What a device's radio is, in Europe's band."""

    device_class: str = "A"  # A or C
    mac_version: str = "1.0.3"
    regional_revision: str = ""
    supports_join: bool = True
    max_eirp: int | None = None  # dBm


@dataclass(frozen=True, slots=True)
class ImportedProfile:
    """A model, or a range of its firmware (both ends included, "" is open), that uses a codec."""

    vendor: str
    model: str
    firmware_from: str = ""
    firmware_until: str = ""
    lorawan: LorawanParameters = LorawanParameters()
    note: str = ""  # What the catalogue does not say, in French.


@dataclass(frozen=True, slots=True)
class ImportedCodec:
    """A codec of a catalogue. Without a source it cannot be run, and `wrong` says why, in French.

    `is_missing`: the catalogue has no script for it, as for many models that it only describes. `origin` is its
    main file in the catalogue; `units` are the vendor's, by the name of a field, where it says.
    """

    name: str
    vendor: str
    model: str
    origin: str
    source: str = ""
    wrong: str = ""
    is_missing: bool = False
    form: str | None = None
    examples: tuple[Example, ...] = ()
    profiles: tuple[ImportedProfile, ...] = ()
    units: Mapping[str, str] = field(default_factory=dict[str, str])


def registry_name(*parts: str) -> str:
    """A codec's name as the registry takes it: ("ttn", "Vendor", "AM 103") is `ttn.vendor.am-103`.

    The catalogue is in the name: two of them may have the same model, and so may the native codecs.
    """
    cleaned = (re.sub(r"[^a-z0-9_-]+", "-", part.lower()).strip("-_") for part in parts)
    return ".".join(part for part in cleaned if part)[:LONGEST_NAME].strip(".-_") or "codec"


def octets(value: Any) -> list[int]:
    """Bytes as catalogues write them: numbers, or hexadecimal text with anything between. Raises Unreadable."""
    if isinstance(value, str):
        digits = re.sub(r"0x|[\s,:;-]", "", value)
        try:
            return list(bytes.fromhex(digits))
        except ValueError:
            raise Unreadable(f"octets illisibles : {value[:60]!r}") from None
    if not isinstance(value, Sequence):
        raise Unreadable("octets absents")
    read: list[int] = []
    for one in cast("Sequence[Any]", value):
        number = _octet(one)
        if number is None:
            raise Unreadable(f"{str(one)[:40]!r} n'est pas un octet")
        read.append(number)
    return read


def _octet(value: Any) -> int | None:
    if isinstance(value, str):
        try:
            value = int(value, 0)
        except ValueError:
            return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= BYTE else None


def expected_decoded(output: Any) -> dict[str, Any]:
    """`data`, `errors`, `warnings` of what an example expects; what has none of them is the data itself."""
    if not isinstance(output, dict) or not _RESULT_KEYS & set(cast("dict[str, Any]", output)):
        return {"data": output}
    said = cast("dict[str, Any]", output)
    errors = said.get("errors") or said.get("error")
    return {"data": said.get("data"), "errors": texts(errors), "warnings": texts(said.get("warnings"))}


def expected_encoded(output: Any) -> dict[str, Any]:
    """`bytes`, `fPort`, `errors`, `warnings` of what an example expects. Raises Unreadable."""
    if not isinstance(output, dict):
        return {"bytes": octets(output)}
    said = cast("dict[str, Any]", output)
    errors = texts(said.get("errors") or said.get("error"))
    expected: dict[str, Any] = {"errors": errors, "warnings": texts(said.get("warnings"))}
    if said.get("bytes") is not None:
        expected["bytes"] = octets(said["bytes"])
    elif not errors:
        raise Unreadable("octets attendus absents")
    if said.get("fPort") is not None:
        expected["fPort"] = said["fPort"]
    return expected


def object_of(value: Any, what: str) -> dict[str, Any]:
    """A copy of an object that an example has to have. Raises Unreadable."""
    if not isinstance(value, dict):
        raise Unreadable(f"{what} absente")
    return dict(cast("dict[str, Any]", value))


def texts(value: Any) -> list[Any]:
    """Errors or warnings: a list, or one alone."""
    if value is None or value == "":
        return []
    return cast("list[Any]", value) if isinstance(value, list) else [value]


def text_of(value: Any) -> str:
    """A text or a number of a description; "" for anything else."""
    return str(value).strip() if isinstance(value, str | int | float) and not isinstance(value, bool) else ""
