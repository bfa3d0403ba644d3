"""Composes the rows of one transaction from interpreted uplinks, in the order of their tables' keys."""

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from operator import attrgetter, itemgetter
from typing import NamedTuple

import msgspec

from core.messages.measurements import Flag
from core.messages.uplinks import Reception, Uplink
from core.model.quarantine import Quarantined, QuarantineReason
from ingest.identity import Stored
from ingest.pipeline import END_US, INT2_END, Interpreted, KnownDevice, Read, Row, Value
from registry.datastreams import WantedDatastream

RADIO_LIMIT = 1_000  # dB or dBm; a gateway that reports more reports nonsense.
HOUR_US = 3_600_000_000

# observation.reception, in the order of its columns; time in microseconds since 1970 UTC.
ReceptionRow = tuple[int, int, bytes, int, int, float, float]
# A row as MEASUREMENTS has it: with its trace, or without, when that is the one of the row before.
Published = Row | tuple[int, int, float, int, bytes]

_by_device = attrgetter("uplink.device_id")
_by_instant = itemgetter(0, 1)


class UplinkMessage(NamedTuple):
    """Uplinks of one message of the bus, its subject and sequence; `first` is the first one's place in it."""

    subject: str
    sequence: int
    uplinks: Sequence[Uplink]
    first: int = 0


class Shown(NamedTuple):
    """A frame for the shadow codec of its device; `read` is what a live script has decoded from it."""

    uplink: Uplink
    device: KnownDevice
    read: Read | None


@dataclass(slots=True)
class Prepared:
    """The interpreted uplinks of a batch, in stream order, before the tables were queried for duplicates."""

    uplinks: list[Interpreted] = field(default_factory=list[Interpreted])
    late: list[Uplink] = field(default_factory=list[Uplink])
    gateways: Mapping[bytes, int] = field(default_factory=dict[bytes, int])
    quarantined: list[Quarantined] = field(default_factory=list[Quarantined])
    batch: "Batch | None" = None
    """The rows, composed ahead when none of them depends on what is stored already."""
    shadowed: list[Shown] = field(default_factory=list[Shown])
    """To be run by the shadow codecs after the commit."""


@dataclass(slots=True)
class Batch:
    """Rows of new uplinks, sorted as their tables' keys are; rows that may be stored already are kept apart.

    `latest` is the last measurement of each datastream, by datastream: every writer locks in the same order.
    `last_seen` is the newest of them by asset.
    `hours` are the datastreams whose rollup of an hour changes, by the hour's number since 1970. `replaced` are
    new uplinks whose key in uplink_seen stood for another one until now, `copies` the places of those that are
    stored under another identity. `misdated` are uplinks with an instant that is not credible.
    """

    uplinks: list[Interpreted] = field(default_factory=list[Interpreted])
    receptions: list[ReceptionRow] = field(default_factory=list[ReceptionRow])
    copied_receptions: list[ReceptionRow] = field(default_factory=list[ReceptionRow])
    measurements: list[Row] = field(default_factory=list[Row])
    history: list[Row] = field(default_factory=list[Row])
    latest: list[Row] = field(default_factory=list[Row])
    last_seen: dict[int, int] = field(default_factory=dict[int, int])
    hours: dict[int, set[int]] = field(default_factory=dict[int, set[int]])
    replaced: list[Uplink] = field(default_factory=list[Uplink])
    duplicates: set[int] = field(default_factory=set[int])
    may_correct: bool = False
    """Whether an instant is there twice, or an uplink was stored before."""
    corrections: set[tuple[int, int, float]] = field(default_factory=set[tuple[int, int, float]])
    """Datastream, instant and value of what was stored otherwise before."""
    misdated: list[Interpreted] = field(default_factory=list[Interpreted])
    receptions_skipped: int = 0

    def rows(self) -> int:
        """How many rows there are to write, `latest` apart."""
        of_receptions = len(self.receptions) + len(self.copied_receptions)
        return len(self.uplinks) + of_receptions + len(self.measurements) + len(self.history)


def by_slot(
    uplinks: Iterable[Interpreted], corrections: AbstractSet[tuple[int, int, float]] = frozenset()
) -> dict[int, list[Published]]:
    """The measurements by the slot of their asset, as MEASUREMENTS carries them.

    The first of an uplink's own instant bears its trace, and each of its history, which is sorted away from there.
    Corrections are left out.
    """
    found: dict[int, list[Published]] = {}
    for interpreted in uplinks:
        rows, history, trace_id = interpreted.rows, interpreted.history, interpreted.uplink.trace_id
        if corrections:
            rows = {id_: row for id_, row in rows.items() if row[:3] not in corrections}
            history = [row for row in history if row[:3] not in corrections]
        if rows or history:
            of_slot = found.setdefault(interpreted.serving.slot, [])
            if rows:
                first, *others = rows.values()
                of_slot.append((*first, trace_id))
                of_slot += others
            if history:
                of_slot += [(*row, trace_id) for row in history]
    return found


def compose(
    prepared: Prepared, known: Mapping[int, Stored] | None = None, late: Sequence[Stored | None] = ()
) -> Batch:
    """The rows. `known`, by place, are uplinks that are stored under an identity: they bring receptions only.

    `late` is under what each late copy is stored; None, or nothing at all: under its own identity. Without `known`
    every uplink is taken for new, and no instant of a datastream for being there twice.
    """
    batch = Batch()
    gateways = prepared.gateways
    new = prepared.uplinks
    if known is not None:
        new = [interpreted for place, interpreted in enumerate(new) if place not in known]
        for place, stored in known.items():
            _add_receptions(batch, batch.copied_receptions, prepared.uplinks[place].uplink, stored, gateways)
    for place, uplink in enumerate(prepared.late):
        stored = late[place] if late else None
        _add_receptions(batch, batch.copied_receptions, uplink, stored or own_identity(uplink), gateways)
    batch.uplinks = sorted(new, key=_by_device) if known is None else new
    batch.misdated = [interpreted for interpreted in batch.uplinks if interpreted.is_misdated]
    _add_measurements(batch)
    if known is not None:
        stated = len(batch.measurements)
        batch.measurements = _first_of_each_instant(batch.measurements)
        batch.may_correct = bool(known) or len(batch.measurements) < stated
    batch.history = _first_of_each_instant(batch.history)
    batch.latest = _latest(batch)
    for interpreted in batch.uplinks:
        uplink = interpreted.uplink
        if uplink.receptions:
            _add_receptions(batch, batch.receptions, uplink, uplink, gateways)
    return batch


def _add_measurements(batch: Batch) -> None:
    measurements, history, hours, last_seen = batch.measurements, batch.history, batch.hours, batch.last_seen
    for interpreted in batch.uplinks:
        rows = interpreted.rows
        if rows:
            measurements += rows.values()
            asset_id, time_us = interpreted.serving.asset_id, interpreted.uplink.time_us
            if (
                asset_id is not None
                and last_seen.get(asset_id, 0) < time_us
                and not (interpreted.is_misdated and _is_all_misdated(rows))
            ):
                last_seen[asset_id] = time_us
            hour, after = divmod(interpreted.uplink.time_us, HOUR_US)
            of_hour = hours.get(hour)
            if of_hour is None:
                of_hour = hours[hour] = set()
            of_hour.update(rows)
            if not after:
                hours.setdefault(hour - 1, set()).update(rows)
        if interpreted.history:
            history += interpreted.history
            asset_id, time_us = interpreted.serving.asset_id, max(row[1] for row in interpreted.history)
            if asset_id is not None and last_seen.get(asset_id, 0) < time_us:
                last_seen[asset_id] = time_us
    for datastream_id, time_us, _, _ in history:
        # A counter's value at the very edge ends the hour before; a needless rollup costs little.
        for hour in {time_us // HOUR_US, (time_us - 1) // HOUR_US}:
            hours.setdefault(hour, set()).add(datastream_id)
    measurements.sort(key=_by_instant)


def _is_all_misdated(rows: Mapping[int, Row]) -> bool:
    return all(row[3] & Flag.TIME_SUSPECT for row in rows.values())


def _first_of_each_instant(rows: Iterable[Row]) -> list[Row]:
    """In the order of the table's key; of an instant that is there twice the first in the stream's order."""
    first: dict[tuple[int, int], Row] = {}
    for row in rows:
        first.setdefault(row[:2], row)
    return [first[instant] for instant in sorted(first)]


def _latest(batch: Batch) -> list[Row]:
    """The last of each datastream, as far as its instant is credible."""
    measured = batch.measurements
    if batch.misdated:
        measured = [row for row in measured if not row[3] & Flag.TIME_SUSPECT]
    last = {row[0]: row for row in measured}
    for row in batch.history:
        if row[0] not in last or last[row[0]][1] < row[1]:
            last[row[0]] = row
    return [last[datastream_id] for datastream_id in sorted(last)] if batch.history else list(last.values())


def _add_receptions(
    batch: Batch,
    rows: list[ReceptionRow],
    uplink: Uplink,
    under: Uplink | Stored,
    gateways: Mapping[bytes, int],
) -> None:
    device_id, time_us, uplink_id = uplink.device_id, under.time_us, under.uplink_id
    heard_by = uplink.receptions if len(uplink.receptions) < 2 else _once_each(uplink.receptions)  # noqa: PLR2004
    for reception in heard_by:
        gateway_id = gateways.get(reception.gateway_id)
        rssi, snr, antenna = reception.rssi, reception.snr, reception.antenna
        is_level = -RADIO_LIMIT <= rssi <= RADIO_LIMIT and -RADIO_LIMIT <= snr <= RADIO_LIMIT
        if gateway_id is None or not is_level or not 0 <= antenna < INT2_END:
            batch.receptions_skipped += 1
        else:
            rows.append((device_id, time_us, uplink_id, gateway_id, antenna, rssi, snr))


def _once_each(receptions: Iterable[Reception]) -> Iterable[Reception]:
    """The first reception of each gateway and antenna."""
    first: dict[tuple[bytes, int], Reception] = {}
    for reception in receptions:
        first.setdefault((reception.gateway_id, reception.antenna), reception)
    return first.values()


def own_identity(uplink: Uplink) -> Stored:
    """The identity under which an uplink is stored when it is new."""
    return Stored(uplink.uplink_id, uplink.time_us, uplink.session_id)


def wanted_datastreams(interpreted: Iterable[Interpreted]) -> dict[WantedDatastream, list[Interpreted]]:
    """The datastreams that these uplinks need and that their devices do not know yet."""
    wanted: dict[WantedDatastream, list[Interpreted]] = {}
    for uplink in interpreted:
        serving = uplink.serving
        for value in uplink.values:
            if (value.channel, value.quantity.name) not in serving.datastreams:
                wanted.setdefault(_wanted(uplink, value), []).append(uplink)
    return wanted


def quarantine_of(message: UplinkMessage, reason: QuarantineReason, detail: str = "") -> list[Quarantined]:
    """These uplinks as rows of the quarantine: each as msgpack."""
    return [
        Quarantined(message.subject, message.sequence, reason, msgspec.msgpack.encode(uplink), detail)
        for uplink in message.uplinks
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
        serving.until_us == END_US,
    )
