"""From an uplink to rows, as a list of steps. Nothing that one uplink does affects its neighbours.

Pure: the uplink, what is known of its device, and no clock. Instants are judged against the uplink's own
reception, so that the same uplink delivered twice gives the same rows.
"""

import math
import re
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

import msgspec

from core.messages.measurements import Flag
from core.messages.uplinks import Uplink
from core.model.quantities import QUANTITIES, Quantity
from decoders.canonical import Decoded, MalformedPayload, Reading
from decoders.containers import fill_level
from ingest.known_devices import KnownDevice, Serving

MINUTE_US = 60_000_000
AHEAD_AT_MOST_US = 5 * MINUTE_US
BEHIND_AT_MOST_US = 366 * 24 * 60 * MINUTE_US
EARLIEST_US = 1_420_070_400_000_000  # 2015-01-01: before LoRaWAN 1.0 no device measured anything.
LATEST_US = 4_102_444_800_000_000  # 2100-01-01
REASON_LENGTH = 500
NOT_FOR_POSTGRES = re.compile("[\0\ud800-\udfff]")
ID_OCTETS, INT2_END, INT4_END, INT8_END = 16, 1 << 15, 1 << 31, 1 << 63


class Value(NamedTuple):
    """A reading that may be stored: finite, of a known quantity, at a credible instant."""

    time_us: int
    channel: str
    quantity: Quantity
    value: float
    flags: int


@dataclass(slots=True)
class Interpreted:
    """An uplink with all that its octets say. `status`: decoded, empty, undecodable (`reason` says why)."""

    uplink: Uplink
    serving: Serving
    status: str
    reason: str | None = None
    document: bytes | None = None  # JSON
    codec: str | None = None
    codec_version: int | None = None
    values: list[Value] = field(default_factory=list[Value])


def problem_of(uplink: Uplink) -> str | None:
    """Why no row can be made of this uplink; None when one can."""
    if len(uplink.uplink_id) != ID_OCTETS:
        return f"uplink_id of {len(uplink.uplink_id)} octets"
    for name, instant in (("time", uplink.time_us), ("received_at", uplink.received_at_us)):
        if not EARLIEST_US <= instant < LATEST_US:
            return f"{name} {instant} us is not between 2015 and 2100"
    if not 0 < uplink.device_id < INT4_END:
        return f"device {uplink.device_id}"
    if not (0 <= uplink.session_id < INT8_END and 0 <= uplink.f_cnt < INT8_END and -1 <= uplink.f_port < INT2_END):
        return f"session {uplink.session_id}, f_cnt {uplink.f_cnt}, f_port {uplink.f_port}"
    return None


def interpret(uplink: Uplink, device: KnownDevice) -> Interpreted:
    """The steps: decode, derive, normalise, keep the rest as JSON. It never raises."""
    serving = device.serving_at(uplink.time_us, uplink.received_at_us)
    if not uplink.payload or uplink.f_port <= 0:
        return Interpreted(uplink, serving, "empty")
    codec = device.codec
    if codec is None:
        reason = f"Codec inconnu : « {device.codec_name} » (profil d'équipement {device.device_profile_id})"
        return Interpreted(uplink, serving, "undecodable", readable(reason), codec=device.codec_name)
    try:
        decoded = codec.decode(uplink.f_port, uplink.payload, uplink.time_us, device.codec_options)
        derive(decoded, serving)
        values = normalise(decoded, uplink)
        document = as_json(decoded)
    except MalformedPayload as malformed:
        reason = f"Trame illisible par {codec.name} v{codec.version} : {malformed}"
    except Exception as defect:  # noqa: BLE001 - A defect of one decoder costs its own uplinks, and no others.
        reason = f"Erreur du décodeur {codec.name} v{codec.version} : {type(defect).__name__} {defect}"
    else:
        return Interpreted(uplink, serving, "decoded", None, document, codec.name, codec.version, values)
    return Interpreted(uplink, serving, "undecodable", readable(reason), None, codec.name, codec.version)


def derive(decoded: Decoded, serving: Serving) -> None:
    """A distance in a container of known geometry is also a fill level, on the same channel and instant."""
    if serving.geometry is None and serving.geometry_problem is None:
        return
    distances = [reading for reading in decoded.readings if reading.quantity == "distance"]
    if distances and serving.geometry_problem is not None:
        decoded.warnings.append(serving.geometry_problem)
    if serving.geometry is None:
        return
    for time_us, channel, _, distance in distances:
        level = fill_level(distance, serving.geometry)
        if level is None:
            decoded.warnings.append(f"Distance de {distance:g} mm hors du conteneur : pas de niveau")
        else:
            decoded.readings.append(Reading(time_us, channel, "fill_level", level))


def normalise(decoded: Decoded, uplink: Uplink) -> list[Value]:
    """The readings that may be stored, credible instants first; the others become warnings."""
    values: list[Value] = []
    replaced: list[Value] = []
    latest = uplink.received_at_us + AHEAD_AT_MOST_US
    earliest = max(EARLIEST_US, uplink.received_at_us - BEHIND_AT_MOST_US)
    for time_us, channel, name, read in decoded.readings:
        if not channel.isprintable():
            channel = readable(channel)  # noqa: PLW2901 - The same channel, without what cannot be stored.
        quantity = QUANTITIES.get(name)
        value = float(read)
        if quantity is None:
            decoded.warnings.append(f"Grandeur inconnue : {name} = {value:g}")
        elif not math.isfinite(value):
            decoded.warnings.append(f"Valeur impossible : {name} = {value}")
        else:
            flags = Flag.SUSPECT if _is_implausible(value, quantity) else 0
            if earliest <= time_us <= latest:
                values.append(Value(int(time_us), channel, quantity, value, flags))
            else:
                replaced.append(Value(uplink.time_us, channel, quantity, value, flags | Flag.TIME_SUSPECT))
    if replaced:
        decoded.warnings.append(f"{len(replaced)} instants invraisemblables remplacés par celui de la trame")
    return values + replaced


def as_json(decoded: Decoded) -> bytes:
    """What is no number, with the warnings, as PostgreSQL's jsonb accepts it."""
    document = {**decoded.data, "warnings": decoded.warnings} if decoded.warnings else decoded.data
    try:
        octets = msgspec.json.encode(document)
    except UnicodeEncodeError:
        return msgspec.json.encode(_cleaned(document))
    return msgspec.json.encode(_cleaned(document)) if b"\\u0000" in octets else octets


def _is_implausible(value: float, quantity: Quantity) -> bool:
    low, high = quantity.minimum, quantity.maximum
    return (low is not None and value < low) or (high is not None and value > high)


def _cleaned(value: Any) -> Any:
    """The same without the characters that PostgreSQL's text does not have."""
    if isinstance(value, str):
        return NOT_FOR_POSTGRES.sub("\ufffd", value)
    if isinstance(value, dict):
        entries = cast("dict[Any, Any]", value).items()
        return {_cleaned(key): _cleaned(entry) for key, entry in entries}
    if isinstance(value, list | tuple):
        return [_cleaned(entry) for entry in cast("list[Any]", value)]
    return value


def readable(reason: str) -> str:
    """A reason as PostgreSQL's text can keep it."""
    return NOT_FOR_POSTGRES.sub("\ufffd", reason)[:REASON_LENGTH]
