"""Payloads for native codecs, and tables that somebody declares, with frames and commands for them."""

import json
import math
import random
from typing import Any, NamedTuple, cast

from core.model.quantities import QUANTITIES
from decoders.canonical import Decoded, MalformedPayload
from decoders.catalogue import CODECS
from decoders.codec import Codec, UnsupportedCommand
from decoders.declarative import InvalidDeclaration, parse
from lab.fuzz import mutations, recorded
from lab.fuzz.target import NOW_US, Target

LONGEST = 242
MOST_COMMANDS = 8


class Payload(NamedTuple):
    """What one codec is given."""

    codec: str
    f_port: int
    octets: bytes
    options: dict[str, Any]


def payload(source: random.Random) -> Payload:
    """A recorded payload, spoilt, for its own codec as a rule; octets that mean nothing now and then."""
    vector = source.choice(recorded.payloads())
    codec = vector["codec"] if source.random() < 0.9 else source.choice(list(CODECS))  # noqa: PLR2004 - As a rule.
    octets = bytes.fromhex(vector["bytes_hex"])
    octets = mutations.octets(source, octets) if source.random() < 0.9 else mutations.noise(source, LONGEST)  # noqa: PLR2004
    f_port = vector["f_port"] if source.random() < 0.9 else source.randrange(256)  # noqa: PLR2004
    options: dict[str, Any] = vector.get("options") or {}
    if source.random() < 0.1:  # noqa: PLR2004
        spoilt = mutations.document(source, options)
        options = cast("dict[str, Any]", spoilt) if isinstance(spoilt, dict) else {}
    return Payload(codec, f_port, octets[:LONGEST], options)


def decode(case: Payload) -> str:
    """Whether it was decoded; what was decoded can be stored, or is left out by ingest as it is known to be."""
    try:
        decoded = CODECS[case.codec].decode(case.f_port, case.octets, NOW_US, case.options)
    except MalformedPayload:
        return "malformed"
    check(decoded)
    return "decoded"


def check(decoded: Decoded) -> None:
    """Raises when something in it cannot go on: an unknown quantity, an instant or data that nothing stores."""
    json.dumps(decoded.data, allow_nan=False).encode()
    for reading in decoded.readings:
        if reading.quantity not in QUANTITIES or not math.isfinite(reading.value):
            raise AssertionError(f"{reading} cannot be stored")
        if type(reading.time_us) is not int or abs(reading.time_us) >= 1 << 63:
            raise AssertionError(f"{reading} has no instant")
    "".join(decoded.warnings).encode()


def decodes_a_good_one() -> None:
    """The README's frame of an EM400: 92 %, 25.7 Cel, 2116 mm, tilted."""
    octets = bytes.fromhex("01755c0367010104824408050001")
    decoded = CODECS["milesight.em400"].decode(85, octets, NOW_US, {})
    values = {one.quantity: one.value for one in decoded.readings}
    assert values == {"battery_level": 92.0, "temperature": 25.7, "distance": 2116.0, "tilt": 1.0}, values


class Table(NamedTuple):
    """A declaration, and what is asked of it if it is one."""

    text: str
    payloads: list[tuple[int, bytes]]
    parameters: list[dict[str, Any]]


def table(source: random.Random) -> Table:
    """A table that is shipped or of the guide, spoilt; frames and parameters for it."""
    text = source.choice(recorded.declarations())
    match source.randrange(8):
        case 0:
            words = text.split()
            source.shuffle(words)
            text = " ".join(words[: source.randrange(200)])
        case 1:
            lines = text.splitlines()
            at = source.randrange(len(lines))
            lines[at:at] = lines[source.randrange(len(lines)) :][: source.randrange(6)] * source.randint(1, 30)
            text = "\n".join(lines)
        case 2:
            text = "codec: a\nframes: " + source.choice("[{") * source.choice((10, 30, 40_000))
        case 3:
            text = _numbers_changed(source, text)
        case _:
            text = mutations.text(source, text)
    frames = [(source.choice((1, 2, 3, 85)), mutations.noise(source, 60)) for _ in range(MOST_COMMANDS)]
    parameters = [{"value": source.choice(mutations.ODD)} for _ in range(2)]
    return Table(text, frames, parameters)


def _numbers_changed(source: random.Random, text: str) -> str:
    """Other numbers where there are some: bounds, sizes, scales."""
    parts = text.split(" ")
    for place, part in enumerate(parts):
        if part.strip(",}]\n").lstrip("-").isdecimal() and source.random() < 0.1:  # noqa: PLR2004 - A few.
            parts[place] = part.replace(part.strip(",}]\n"), str(source.choice(mutations.NUMBERS)))
    return " ".join(parts)


def declare(case: Table) -> str:
    """Whether it is a table; then whatever comes is decoded or malformed, and commands are built or refused."""
    try:
        codec = parse(case.text)
    except InvalidDeclaration as invalid:
        str(invalid).encode()  # It is stored, and shown.
        return "invalid"
    for f_port, octets in case.payloads:
        try:
            check(codec.decode(f_port, octets, NOW_US, {}))
        except MalformedPayload:
            continue
    _encode(codec, case)
    return "declared"


def _encode(codec: Codec, case: Table) -> None:
    for command in codec.commands:
        for given in case.parameters:
            values = {parameter.name: given["value"] for parameter in command.parameters}
            try:
                encoded = codec.encode(command.name, values) if codec.encode else None
            except UnsupportedCommand:
                continue
            if encoded is not None and not 1 <= encoded.f_port <= 255:  # noqa: PLR2004 - An FPort.
                raise AssertionError(f"{command.name} on FPort {encoded.f_port}")


def declares_a_good_one() -> None:
    """A table that is shipped."""
    assert parse(recorded.declarations()[0]).name == "dingtek.df702"


DECODERS = Target("decoders", "Décodeurs natifs", payload, decode, decodes_a_good_one)
TABLES = Target("tables", "Décodeurs déclarés", table, declare, declares_a_good_one)
