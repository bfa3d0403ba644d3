"""A catalogue's codecs and models as the API takes them, one request for each codec."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Literal, get_args

import msgspec

from cli.api_client import ApiClient, ApiError
from decoders.catalogues.model import DECODE_UPLINK, Example, ImportedCodec, ImportedProfile
from decoders.mapping import propose

Outcome = Literal["created", "new_version", "unchanged", "refused", "no_script"]
MOST_EXAMPLES = 200
MOST_PROFILES = 500
# Of a request of 1 MiB; the source, escaped, has the rest.
EXAMPLES_OCTETS = 200_000
LABEL, FIRMWARE = 200, 63
EIRP_MOST = 36
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")
_MAC_VERSION = re.compile(r"1[._]0[._]([0-4])")
DEFAULT_MAC_VERSION = "1.0.3"


class ImportedLine(msgspec.Struct, frozen=True):
    """What became of a codec; `profiles` are lines about its models.

    `examples_left_out` cannot be read, or there was no room for them; `profiles_left_out` are beyond what one
    request takes.
    """

    name: str
    outcome: Outcome
    detail: str = ""
    version: int | None = None
    profiles: list[dict[str, str]] = []
    examples_left_out: int = 0
    profiles_left_out: int = 0


class ImportReport(msgspec.Struct, frozen=True):
    """The account of an import, as --json prints it."""

    dry_run: bool
    created: int
    new_version: int
    unchanged: int
    refused: int
    no_script: int
    profiles_created: int
    profiles_grouped: int
    examples_left_out: int
    profiles_left_out: int
    codecs: list[ImportedLine]

    @classmethod
    def of(cls, lines: Sequence[ImportedLine], *, dry_run: bool) -> "ImportReport":
        """The account of these."""
        count = {name: sum(line.outcome == name for line in lines) for name in get_args(Outcome)}
        profiles = Counter(profile["outcome"] for line in lines for profile in line.profiles)
        return cls(
            dry_run=dry_run,
            **count,
            profiles_created=profiles["created"],
            profiles_grouped=profiles["grouped"],
            examples_left_out=sum(line.examples_left_out for line in lines),
            profiles_left_out=sum(line.profiles_left_out for line in lines),
            codecs=list(lines),
        )

    @property
    def is_whole(self) -> bool:
        """Whether all that the catalogue has is here now."""
        return not (self.refused or self.no_script or self.examples_left_out or self.profiles_left_out)


def import_codecs(
    codecs: Sequence[ImportedCodec], title: str, api: ApiClient, *, shared: bool, dry_run: bool
) -> Iterator[ImportedLine]:
    """Each codec in turn; one that is rejected stops no other."""
    for codec, body in zip(codecs, bodies(codecs, title), strict=True):
        if not codec.source:
            yield ImportedLine(codec.name, "no_script" if codec.is_missing else "refused", codec.wrong)
            continue
        try:
            answer = api.post("/v1/codec-imports", body | {"shared": shared, "dry_run": dry_run})
        except ApiError as refused:
            yield ImportedLine(codec.name, "refused", str(refused))
            continue
        yield ImportedLine(
            codec.name,
            answer["outcome"],
            "" if body["profiles"] else "aucun modèle du catalogue ne l'emploie",
            answer["version"],
            _profile_lines(answer["profiles"], codec.profiles),
            examples_left_out=len(codec.examples) - len(body["examples"]),
            profiles_left_out=len(codec.profiles) - len(body["profiles"]),
        )


def _profile_lines(answers: list[dict[str, str]], profiles: Sequence[ImportedProfile]) -> list[dict[str, str]]:
    return [
        {**answer, "detail": " ; ".join(filter(None, (answer["detail"], profile.note)))}
        for answer, profile in zip(answers, profiles, strict=False)
    ]


def bodies(codecs: Sequence[ImportedCodec], title: str) -> Iterator[dict[str, Any]]:
    """The bodies of POST /v1/codec-imports, in the order of the codecs; names of profiles are there once."""
    taken: set[str] = set()
    for codec in codecs:
        mapping = propose(_samples(codec.examples), codec.units).as_json()
        yield {
            "name": codec.name,
            "vendor": _label(codec.vendor, LABEL),
            "model": _label(codec.model, LABEL),
            "source": codec.source,
            "form": codec.form,
            "examples": _kept(codec.examples),
            "note": _label(f"{title} : {codec.origin}", 1000),
            "profiles": [_profile(profile, mapping, taken) for profile in codec.profiles[:MOST_PROFILES]],
        }


def _samples(examples: Sequence[Example]) -> list[Any]:
    """What the codec answers, by its vendor's own word."""
    return [
        example.expected["data"]
        for example in examples
        if example.operation == DECODE_UPLINK
        and not example.wrong
        and example.expected.get("data") is not None
        and not example.expected.get("errors")
    ]


def _profile(profile: ImportedProfile, mapping: list[dict[str, Any]], taken: set[str]) -> dict[str, Any]:
    lorawan = profile.lorawan
    vendor, model = _label(profile.vendor, LABEL) or "?", _label(profile.model, LABEL) or "?"
    name = model if model.lower().startswith(vendor.lower()) else f"{vendor} {model}"
    if profile.firmware_from or profile.firmware_until:
        name += f" ({profile.firmware_from or '…'} à {profile.firmware_until or '…'})"
    name = whole = _label(name, LABEL)
    number = 2
    while name in taken:
        name, number = f"{whole} n° {number}", number + 1
    taken.add(name)
    version = _MAC_VERSION.search(lorawan.mac_version)
    return {
        "name": name,
        "vendor": vendor,
        "model": model,
        "device_class": lorawan.device_class,
        "mac_version": f"1.0.{version[1]}" if version else DEFAULT_MAC_VERSION,
        "regional_revision": _label(lorawan.regional_revision, FIRMWARE),
        "supports_join": lorawan.supports_join,
        "max_eirp": lorawan.max_eirp
        if lorawan.max_eirp is not None and 0 <= lorawan.max_eirp <= EIRP_MOST
        else None,
        "firmware_from": _label(profile.firmware_from, FIRMWARE),
        "firmware_until": _label(profile.firmware_until, FIRMWARE),
        "mapping": mapping,
    }


def _kept(examples: Sequence[Example]) -> list[dict[str, Any]]:
    """Examples as they are kept with a version: the first that there is room for."""
    kept: list[dict[str, Any]] = []
    room = EXAMPLES_OCTETS
    for example in examples[:MOST_EXAMPLES]:
        if example.wrong:
            continue
        as_json = {
            "name": example.name,
            "operation": example.operation,
            "input": example.input,
            "expected": example.expected,
        }
        octets = msgspec.json.encode(as_json)
        room -= len(octets)
        if room < 0:
            break
        if b"\\u0000" not in octets:  # Which PostgreSQL's jsonb cannot hold.
            kept.append(as_json)
    return kept


def _label(text: str, most: int) -> str:
    return _CONTROL.sub(" ", text).strip()[:most].strip()
