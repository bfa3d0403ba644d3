"""Turns an uplink into rows by a list of steps; an error of one uplink never affects its neighbours.

Pure: the uplink and what is known of its device are arguments, and no clock is read. Instants are judged against
the uplink's own reception, so that the same uplink delivered twice gives the same rows.
"""

import math
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple, cast

import msgspec

from core.messages.measurements import Flag
from core.messages.topics import slot_of_asset
from core.messages.uplinks import Uplink
from core.model.entities import Asset, Assignment
from core.model.instants import EARLIEST_US, placed
from core.model.plausibility import Plausibility, SensorRange, is_named_error_code, plausibility, range_of
from core.model.quantities import QUANTITIES, Quantity
from core.model.uplink_reasons import UplinkReason
from decoders.canonical import Decoded, MalformedPayload, Reading
from decoders.containers import ContainerGeometry, InvalidGeometry, fill_level, geometry_of
from ingest.vendor_codecs import AnyCodec, FrameWaits, ScriptFailed, VendorCodec
from lorawan.instants import from_us, to_us

BEGINNING_US, END_US = -(1 << 62), 1 << 62
LARGEST = sys.float_info.max
Stream = tuple[int, float, float]
LATEST_US = 4_102_444_800_000_000  # 2100-01-01
REASON_LENGTH = 500
LAST_APPLICATION_PORT = (
    223  # 224 is for certification, what follows is reserved (LoRaWAN L2 1.0.4, section 4.3.2).
)
NO_DOCUMENT = b"{}"
MOST_UNMATCHED = 20
MOST_UNCONFIRMED = 40
NOT_FOR_POSTGRES = re.compile("[\0\ud800-\udfff]")
ID_OCTETS, INT2_END, INT4_END, INT8_END = 16, 1 << 15, 1 << 31, 1 << 63


# What a vendor's script decoded from one uplink, in canonical terms; raises FrameWaits or ScriptFailed.
Read = Callable[[], Decoded]
# A measurement as its table has it: datastream, time in microseconds since 1970 UTC, value, flags.
Row = tuple[int, int, float, int]


@dataclass(slots=True)
class Serving:
    """What a device serves from `since_us` until before `until_us`: an asset in a position, or none.

    `datastreams` fills at the first sight of each (channel, quantity): its id, and the range of plausible values,
    which is empty where the device's `ranges` name error codes. `slot` is that of the measurements.
    """

    tenant_id: int
    asset_id: int | None
    device_id: int
    position: str = ""
    since_us: int = BEGINNING_US
    until_us: int = END_US
    geometry: ContainerGeometry | None = None
    geometry_problem: str | None = None
    ranges: tuple[SensorRange, ...] = ()
    datastreams: dict[tuple[str, str], Stream] = field(default_factory=dict[tuple[str, str], Stream])
    slot: int = field(init=False)

    def __post_init__(self) -> None:
        self.slot = slot_of_asset(self.device_id if self.asset_id is None else self.asset_id)

    def remember(self, channel: str, quantity: str, datastream_id: int) -> None:
        """Keep the datastream's id for later values of this channel and quantity."""
        of = range_of(QUANTITIES[quantity], channel, self.ranges)
        low = -LARGEST if of.minimum is None else of.minimum
        high = LARGEST if of.maximum is None else of.maximum
        if of.error_codes:
            low, high = LARGEST, -LARGEST
        self.datastreams[channel, quantity] = (datastream_id, low, high)


@dataclass(frozen=True, slots=True)
class KnownDevice:
    """A device as ingest needs it. `codec` is None when this program has none of that name.

    `codec_version_id` is the published version that it is, None of a native one. `vendor` is its codec, too, when
    that is a script that may run. `shadow` runs beside it. `codec_options` are its profile's, and what a script is
    given; `secret_options` are the keys of its meters, opened.
    """

    id: int
    device_profile_id: int
    codec_name: str
    codec: AnyCodec | None
    codec_options: Mapping[str, Any]
    servings: tuple[Serving, ...]
    unassigned: Serving
    dev_eui: bytes = b""
    name: str = ""
    codec_version_id: int | None = None
    vendor: VendorCodec | None = None
    shadow: AnyCodec | None = None
    shadow_version_id: int | None = None
    secret_options: Mapping[str, Any] = field(default_factory=dict[str, Any], repr=False)

    def all_options(self) -> Mapping[str, Any]:
        """The profile's options with the keys of its meters: for codecs of this program, never for a script."""
        if not self.secret_options:
            return self.codec_options
        return {**self.codec_options, **self.secret_options}

    def serving_at(self, time_us: int, received_at_us: int) -> Serving:
        """What the device served at `time_us`; when nothing, what it served at the reception.

        So an uplink whose gateway's clock is a little behind the moment of the assignment belongs to the asset.
        """
        for instant in (time_us, received_at_us):
            for serving in self.servings:
                if serving.since_us <= instant < serving.until_us:
                    return serving
        return self.unassigned

    def is_read_by(self, version_id: int) -> bool:
        """Whether its frames are read by this version of a codec, or its shadow is."""
        return version_id in (self.codec_version_id, self.shadow_version_id)

    def has_served(self, asset_id: int) -> bool:
        """Whether it serves this asset at any time."""
        return any(serving.asset_id == asset_id for serving in self.servings)


def serving_of(assignment: Assignment, asset: Asset, ranges: tuple[SensorRange, ...] = ()) -> Serving:
    """An assignment with what the steps need of its asset."""
    geometry, problem = None, None
    try:
        geometry = geometry_of(asset.attributes)
    except InvalidGeometry as invalid:
        problem = f"Géométrie du conteneur inutilisable : {invalid}"
    return Serving(
        assignment.tenant_id,
        assignment.asset_id,
        assignment.device_id,
        assignment.position,
        _microseconds(assignment.since, BEGINNING_US),
        _microseconds(assignment.until, END_US),
        geometry,
        problem,
        ranges,
    )


def _microseconds(bound: datetime | None, unbounded: int) -> int:
    """A bound of a range; the driver gives infinity without a time zone."""
    if bound is None or bound.tzinfo is None:
        return unbounded
    return to_us(bound)


class Value(NamedTuple):
    """A reading that may be stored: finite, of a known quantity, at a credible instant."""

    time_us: int
    channel: str
    quantity: Quantity
    value: float
    flags: int


class Interpreted(msgspec.Struct, gc=False):
    """An uplink with all that was decoded from it. `status`: decoded, empty, undecodable (`reason` says why, and
    `detail` what the codec said).

    One that a script has read and of which nothing was measured is decoded, with a reason.

    `rows` are its measurements at its own instant, by datastream. `history` is apart, because it may well be
    stored already: instants of the device's own clock, such as a meter repeats in every uplink. `values` wait
    for their datastreams. `is_misdated`: an instant that was stated is not credible.
    """

    uplink: Uplink
    serving: Serving
    status: str
    reason: str | None = None
    document: bytes | None = None  # JSON
    codec: str | None = None
    codec_version: int | None = None
    rows: dict[int, Row] = {}
    history: list[Row] = []
    values: list[Value] = []
    is_misdated: bool = False
    detail: str | None = None


def problem_of(uplink: Uplink) -> str | None:
    """Why no row can be made of this uplink; None when one can."""
    if not (EARLIEST_US <= uplink.time_us < LATEST_US and EARLIEST_US <= uplink.received_at_us < LATEST_US):
        return f"time {uplink.time_us} us, received_at {uplink.received_at_us} us: not between 2015 and 2100"
    if len(uplink.uplink_id) != ID_OCTETS:
        return f"uplink_id of {len(uplink.uplink_id)} octets"
    if not 0 < uplink.device_id < INT4_END:
        return f"device {uplink.device_id}"
    if not (0 <= uplink.session_id < INT8_END and 0 <= uplink.f_cnt < INT8_END and -1 <= uplink.f_port < INT2_END):
        return f"session {uplink.session_id}, f_cnt {uplink.f_cnt}, f_port {uplink.f_port}"
    return None


def says_something(uplink: Uplink) -> bool:
    """Whether it has a payload on an application port."""
    return bool(uplink.payload) and 1 <= uplink.f_port <= LAST_APPLICATION_PORT


def interpret(uplink: Uplink, device: KnownDevice, read: Read | None = None) -> Interpreted:
    """The steps: decode, derive, normalise, keep the rest as JSON. It never raises.

    `read` gives what a vendor's script has answered; without, the device's own codec decodes.
    """
    serving = device.serving_at(uplink.time_us, uplink.received_at_us)
    if not says_something(uplink):
        return Interpreted(uplink, serving, "empty")
    codec = device.codec
    if codec is None:
        unknown = Interpreted(uplink, serving, "undecodable", UplinkReason.UNKNOWN_CODEC, codec=device.codec_name)
        unknown.detail = str(device.device_profile_id)
        return unknown
    try:
        if read is None:
            decoded = codec.decode(uplink.f_port, uplink.payload, uplink.time_us, device.all_options())
        else:
            decoded = read()
        derive(decoded, serving)
        rows = ordinary(decoded.readings, uplink, serving)
        values = normalise(decoded, uplink, serving.ranges) if rows is None else []
        document = as_json(decoded) if decoded.data or decoded.warnings else NO_DOCUMENT
        nothing = None if rows or values else nothing_measured(codec, decoded)
    except Exception as failed:  # noqa: BLE001 - A defect of one decoder costs its own uplinks, and no others.
        reason, detail = reason_of(failed)
        said = failed.said if isinstance(failed, ScriptFailed) else None
        kept = None if said is None else as_json(said)
        undecodable = Interpreted(uplink, serving, "undecodable", reason, kept, codec.name, codec.version)
        undecodable.detail = detail
        return undecodable
    return Interpreted(
        uplink, serving, "decoded", nothing, document, codec.name, codec.version, rows or {}, [], values
    )


def reason_of(failed: Exception) -> tuple[UplinkReason, str | None]:
    """Why a codec could not read a frame, and what it said, as PostgreSQL's text can keep it."""
    match failed:
        case FrameWaits():
            return failed.reason, None
        case MalformedPayload() | ScriptFailed():
            return UplinkReason.UNREADABLE, readable(str(failed))
        case _:
            return UplinkReason.CODEC_FAILED, readable(f"{type(failed).__name__} {failed}")


def nothing_measured(codec: AnyCodec, decoded: Decoded) -> UplinkReason | None:
    """Why a frame that a script has read gives no measurement; None for a native codec.

    A native codec names its quantities itself: a frame of settings has none, and nothing is wrong with it.
    """
    if not isinstance(codec, VendorCodec):
        return None
    rules = codec.mapping.rules
    live = {rule.steps for rule in rules if rule.to_confirm is None}
    if decoded.to_confirm:
        return UplinkReason.TO_CONFIRM
    if len(decoded.unmatched) < len(live):
        return UplinkReason.NO_USABLE_VALUE
    return UplinkReason.NO_RULE_APPLIES if rules else UplinkReason.NO_MAPPING


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


def ordinary(readings: Sequence[Reading], uplink: Uplink, serving: Serving) -> dict[int, Row] | None:
    """The rows of readings that are all as usual: plausible, of known datastreams, at the uplink's own instant.

    None when one of them needs a closer look, which `normalise` takes.
    """
    time_us, streams = uplink.time_us, serving.datastreams
    if uplink.stated_us is not None:
        return None
    rows: dict[int, Row] = {}
    for at_us, channel, name, value in readings:
        stream = streams.get((channel, name))
        if stream is None or at_us != time_us or not stream[1] <= value <= stream[2]:
            return None
        rows[stream[0]] = (stream[0], time_us, float(value), 0)
    return rows if len(rows) == len(readings) else None


def place(interpreted: Interpreted) -> None:
    """Turn the values, whose datastreams are known by now, into rows and history; of each instant the first."""
    uplink, streams = interpreted.uplink, interpreted.serving.datastreams
    rows: dict[int, Row] = {}
    history: dict[tuple[int, int], Row] = {}
    for time_us, channel, quantity, value, flags in interpreted.values:
        datastream_id = streams[channel, quantity.name][0]
        row = (datastream_id, time_us, value, int(flags))
        if time_us == uplink.time_us:
            rows.setdefault(datastream_id, row)
        else:
            history.setdefault((datastream_id, time_us), row)
        interpreted.is_misdated = interpreted.is_misdated or bool(flags & Flag.TIME_SUSPECT)
    interpreted.rows, interpreted.history, interpreted.values = rows, list(history.values()), []


def normalise(decoded: Decoded, uplink: Uplink, ranges: Sequence[SensorRange] = ()) -> list[Value]:
    """The readings that may be stored, credible instants first; the others become warnings.

    A device's own instants are compared with the instant of its uplink.
    """
    values: list[Value] = []
    replaced: list[Value] = []
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
            if is_named_error_code(value, quantity, channel, ranges):
                decoded.warnings.append(f"Code d'erreur du capteur : {name} = {value:g}")
                continue
            is_plausible = plausibility(value, quantity, channel, ranges) is Plausibility.PLAUSIBLE
            flags = 0 if is_plausible else Flag.SUSPECT
            at = placed(int(time_us), uplink.time_us)
            if at.is_suspect:
                replaced.append(Value(uplink.time_us, channel, quantity, value, flags | Flag.TIME_SUSPECT))
            elif uplink.stated_us is not None and at.time_us == uplink.time_us:
                values.append(Value(uplink.time_us, channel, quantity, value, flags | Flag.TIME_SUSPECT))
            else:
                values.append(Value(at.time_us, channel, quantity, value, flags))
    if replaced:
        decoded.warnings.append(f"{len(replaced)} instants invraisemblables remplacés par celui de la trame")
    return values + replaced


def as_json(decoded: Decoded) -> bytes:
    """The decoded values that are no numbers, with the warnings, as PostgreSQL's jsonb accepts it."""
    document = {**decoded.data, "warnings": decoded.warnings} if decoded.warnings else decoded.data
    if decoded.unmatched:
        document = {**document, "unmatched_rules": decoded.unmatched[:MOST_UNMATCHED]}
    if decoded.to_confirm:
        document = {**document, "to_confirm": [unconfirmed(one) for one in decoded.to_confirm[:MOST_UNCONFIRMED]]}
    try:
        octets = msgspec.json.encode(document)
    except UnicodeEncodeError:
        return msgspec.json.encode(_cleaned(document))
    return msgspec.json.encode(_cleaned(document)) if b"\\u0000" in octets else octets


def unconfirmed(reading: Reading) -> dict[str, Any]:
    """What a rule that nobody has confirmed reads: shown with the uplink, and no measurement."""
    return {
        "quantity": reading.quantity,
        "channel": reading.channel,
        "value": reading.value,
        "unit": QUANTITIES[reading.quantity].unit,
        "time": from_us(reading.time_us),
    }


def _cleaned(value: Any) -> Any:
    """The value without the characters that PostgreSQL's text does not have."""
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
