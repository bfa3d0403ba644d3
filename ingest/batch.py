"""What one transaction writes: rows without duplicates, and what goes to quarantine."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from core.messages.measurements import Measurement
from core.messages.uplinks import Heard, Uplink
from core.registry.datastreams import WantedDatastream
from ingest.pipeline import INT2_END, Interpreted, Value

RADIO_LIMIT = 1_000  # dB or dBm; a gateway that reports more reports nonsense.


class Item(NamedTuple):
    """An uplink, and where on the bus it stood."""

    subject: str
    sequence: int
    uplink: Uplink


class Quarantined(NamedTuple):
    """What nobody can store. `kind` is for counting, `reason` for reading."""

    subject: str
    sequence: int
    kind: str
    reason: str
    data: bytes


class UplinkRow(NamedTuple):
    """observation.uplink, in the order of its columns; times in microseconds since 1970 UTC."""

    device_id: int
    time_us: int
    uplink_id: bytes
    session_id: int | None
    f_cnt: int
    f_port: int | None
    payload: bytes
    received_at_us: int
    radio: bytes
    status: str
    reason: str | None
    decoded: bytes | None
    codec: str | None
    codec_version: int | None


class ReceptionRow(NamedTuple):
    """observation.reception, in the order of its columns."""

    device_id: int
    time_us: int
    uplink_id: bytes
    gateway_id: int
    antenna: int
    rssi: float
    snr: float


UplinkKey = tuple[int, int, bytes]


@dataclass(slots=True)
class Batch:
    """Rows by key: the first of each stays.

    Apart is what may well be stored already: the receptions of late copies, and `history`, what a meter repeats
    of its past in every uplink beside its newest values.
    """

    uplinks: dict[UplinkKey, UplinkRow] = field(default_factory=dict[UplinkKey, UplinkRow])
    receptions: dict[tuple[object, ...], ReceptionRow] = field(
        default_factory=dict[tuple[object, ...], ReceptionRow]
    )
    late_receptions: list[ReceptionRow] = field(default_factory=list[ReceptionRow])
    measurements: dict[tuple[int, int], Measurement] = field(default_factory=dict[tuple[int, int], Measurement])
    history: dict[tuple[int, int], Measurement] = field(default_factory=dict[tuple[int, int], Measurement])
    by_slot: dict[int, list[Measurement]] = field(default_factory=dict[int, list[Measurement]])
    quarantined: list[Quarantined] = field(default_factory=list[Quarantined])
    receptions_skipped: int = 0

    def add(self, interpreted: Interpreted, gateways: Mapping[bytes, int]) -> None:
        """The rows of one uplink; every datastream of its values is known by now."""
        uplink = interpreted.uplink
        key = (uplink.device_id, uplink.time_us, uplink.uplink_id)
        if key not in self.uplinks:
            self.uplinks[key] = _uplink_row(interpreted)
            self._measure(interpreted)
        for row in self._receptions_of(uplink, gateways):
            self.receptions.setdefault(row[:5], row)

    def add_late(self, uplink: Uplink, gateways: Mapping[bytes, int]) -> None:
        """The receptions of a late copy."""
        self.late_receptions += self._receptions_of(uplink, gateways)

    def latest(self) -> list[Measurement]:
        """The last measurement of each datastream, by datastream: every writer locks in the same order."""
        last: dict[int, Measurement] = {}
        for rows in (self.measurements, self.history):
            for measurement in rows.values():
                known = last.get(measurement.datastream_id)
                if known is None or known.time_us < measurement.time_us:
                    last[measurement.datastream_id] = measurement
        return [last[datastream_id] for datastream_id in sorted(last)]

    def _measure(self, interpreted: Interpreted) -> None:
        serving, values = interpreted.serving, interpreted.values
        if not values:
            return
        of_slot = self.by_slot.setdefault(serving.slot, [])
        if any(value.time_us != values[0].time_us for value in values):
            values = sorted(values, key=lambda value: -value.time_us)
        newest: set[int] = set()
        for time_us, channel, quantity, value, flags in values:
            datastream_id = serving.datastreams[channel, quantity.name]
            key = (datastream_id, time_us)
            if key in self.measurements or key in self.history:
                continue
            measurement = Measurement(datastream_id, time_us, value, int(flags))
            (self.history if datastream_id in newest else self.measurements)[key] = measurement
            newest.add(datastream_id)
            of_slot.append(measurement)

    def _receptions_of(self, uplink: Uplink, gateways: Mapping[bytes, int]) -> Iterable[ReceptionRow]:
        for heard in uplink.heard_by:
            gateway_id = gateways.get(heard.gateway_id)
            if gateway_id is None or not _is_plausible(heard):
                self.receptions_skipped += 1
                continue
            yield ReceptionRow(
                uplink.device_id,
                uplink.time_us,
                uplink.uplink_id,
                gateway_id,
                heard.antenna,
                heard.rssi,
                heard.snr,
            )


def wanted_datastreams(interpreted: Iterable[Interpreted]) -> dict[WantedDatastream, list[Interpreted]]:
    """The datastreams that these uplinks need and that their devices do not know yet."""
    wanted: dict[WantedDatastream, list[Interpreted]] = {}
    for uplink in interpreted:
        serving = uplink.serving
        for value in uplink.values:
            if (value.channel, value.quantity.name) not in serving.datastreams:
                wanted.setdefault(_wanted(uplink, value), []).append(uplink)
    return wanted


def quarantine_of(items: Sequence[Item], kind: str, reason: str) -> list[Quarantined]:
    """The items as quarantine keeps them: each as msgpack."""
    return [
        Quarantined(item.subject, item.sequence, kind, reason, msgspec.msgpack.encode(item.uplink))
        for item in items
    ]


def _wanted(interpreted: Interpreted, value: Value) -> WantedDatastream:
    serving = interpreted.serving
    return WantedDatastream(
        serving.tenant_id,
        serving.asset_id,
        serving.device_id,
        serving.position,
        value.channel,
        value.quantity.name,
        value.quantity.unit,
    )


def _is_plausible(heard: Heard) -> bool:
    is_level = -RADIO_LIMIT <= heard.rssi <= RADIO_LIMIT and -RADIO_LIMIT <= heard.snr <= RADIO_LIMIT
    return is_level and 0 <= heard.antenna < INT2_END


def _uplink_row(interpreted: Interpreted) -> UplinkRow:
    uplink = interpreted.uplink
    radio = msgspec.json.encode(
        {
            "frequency": uplink.frequency,
            "spreading_factor": uplink.spreading_factor,
            "bandwidth": uplink.bandwidth,
            "confirmed": uplink.confirmed,
        }
    )
    return UplinkRow(
        uplink.device_id,
        uplink.time_us,
        uplink.uplink_id,
        uplink.session_id or None,
        uplink.f_cnt,
        None if uplink.f_port < 0 else uplink.f_port,
        uplink.payload,
        uplink.received_at_us,
        radio,
        interpreted.status,
        interpreted.reason,
        interpreted.document,
        interpreted.codec,
        interpreted.codec_version,
    )
