"""Milesight's people counters and occupancy sensors (VS) (docs/decoders-formats.md, "Milesight")."""

import struct
from collections.abc import Mapping
from typing import Any

from decoders.canonical import Decoded, Reading
from decoders.milesight.common import COMMON, HUMIDITY, OCCUPANCY, ROOM, TEMPERATURE, one
from decoders.milesight.frame import Table, add_stored, alarm, entry, number, state_name
from decoders.tlv import Field, Record, measures

_PERIOD, _TOTAL = "people_passed_in_period", "people_passed"


def _both_ways(quantity: str, prefix: str = "") -> tuple[Field, Field]:
    return Field("H", quantity, channel=f"{prefix}in"), Field("H", quantity, channel=f"{prefix}out")


def _counts(first: int, count: int) -> Record:
    """People in each of the regions from `first` on: channels `region_1` on."""
    return measures("<", *(Field("B", "people_count", channel=f"region_{first + rank}") for rank in range(count)))


def _read_occupied_regions(payload: bytes, start: int, time_us: int, decoded: Decoded) -> None:
    """04 C9: people in all, the number of regions, and which are occupied; the mask alone is big-endian."""
    people, regions, mask = struct.unpack_from(">BBH", payload, start)
    decoded.readings.append(Reading(time_us, "", "people_count", float(people)))
    for rank in range(min(regions, 16)):
        decoded.readings.append(Reading(time_us, f"region_{rank + 1}", "occupancy", float(mask >> rank & 1)))


def _flows(origin: str) -> Record:
    """How many went from this side to each, and back to it."""

    def form(octets: bytes) -> Mapping[str, int]:
        return {f"{origin}_to_{end}": flow for end, flow in zip("abcd", struct.unpack("<4H", octets), strict=True)}

    return entry("flows", origin, 8, form)


VS121: Table = {
    **COMMON,
    0xFF1F: entry("device", "firmware_version", 4, lambda octets: ".".join(str(octet) for octet in octets)),
    0x04C9: Record(4, _read_occupied_regions),
    0x05CC: measures("<", *_both_ways(_PERIOD)),
    0x06CD: one(Field("B", "people_count", channel="maximum")),
    0x07D5: _counts(1, 8),
    0x08D5: _counts(9, 8),
    **{channel << 8 | 0xDA: _flows(origin) for channel, origin in zip(range(0x09, 0x0D), "abcd", strict=True)},
}


def _dwelling(octets: bytes) -> dict[str, int]:
    region, mean, longest = struct.unpack("<BHH", octets)
    return {"region": region, "mean_s": mean, "longest_s": longest}


def _read_dwell(payload: bytes, start: int, _time_us: int, decoded: Decoded) -> None:
    decoded.data.setdefault("dwell", []).append(_dwelling(payload[start : start + 5]))


def _lines() -> Table:
    """Three channels for each of four lines: entered and left since ever, then in the period."""
    table: dict[int, Record] = {}
    for line in range(4):
        channel, prefix = 3 + 3 * line, f"line_{line + 1}_"
        table[channel << 8 | 0xD2] = one(Field("I", _TOTAL, channel=f"{prefix}in"))
        table[channel + 1 << 8 | 0xD2] = one(Field("I", _TOTAL, channel=f"{prefix}out"))
        table[channel + 2 << 8 | 0xCC] = measures("<", *_both_ways(_PERIOD, prefix))
    return table


VS133: Table = {**COMMON, **_lines(), 0x0FE3: _counts(1, 4), 0x10E4: Record(5, _read_dwell)}


def _read_regions(payload: bytes, start: int, time_us: int, decoded: Decoded) -> None:
    """06 FE: which regions are watched, then which of these are occupied."""
    watched, occupied = struct.unpack_from("<HH", payload, start)
    for rank in range(10):
        if watched >> rank & 1:
            state = float(occupied >> rank & 1)
            decoded.readings.append(Reading(time_us, f"region_{rank + 1}", "occupancy", state))


VS321: Table = {
    **ROOM,
    0x05FD: one(Field("H", "people_count")),
    0x06FE: Record(4, _read_regions),
    0x07FF: one(Field("B", "daylight", most=1)),
    0x08F4: entry("device", "confidence", 2, bytes.hex),
    0x0AEF: entry("device", "detected_at", 4, number),
    0x8367: alarm(TEMPERATURE),
    0x8468: alarm(HUMIDITY),
}

_LEARNING = ("unfinished", "success", "collection_failed", "interrupted")
_OCCUPANCIES = ("vacant", "occupied", "learning", "collection_failed")


def _learning(octets: bytes) -> str:
    return state_name(octets[0], _LEARNING)


def _read_bathroom(payload: bytes, start: int, time_us: int, decoded: Decoded) -> None:
    """03 8E: vacant or occupied, or no answer yet."""
    state = payload[start]
    decoded.data["occupancy"] = state_name(state, _OCCUPANCIES)
    if state <= 1:
        decoded.readings.append(Reading(time_us, "", "occupancy", float(state)))
    else:
        decoded.warnings.append(f"occupation indéterminée ({decoded.data['occupancy']})")


VS330: Table = {
    **COMMON,
    0x02A5: measures("<", *(Field("H", "distance", channel=str(rank)) for rank in range(1, 5))),
    0x038E: Record(1, _read_bathroom),
    0x04A8: entry("device", "first_learning", 1, _learning),
    0x08A8: entry("device", "second_learning", 1, _learning),
    0x06A6: entry("device", "ambient_counts", 4, number),
    0x07A7: entry("device", "similarity", 1, number),
}
VS340: Table = {**COMMON, 0x0300: one(OCCUPANCY)}

_TEMPERATURE_ALARMS = ("released", "raised", "", "too_hot", "too_hot_released")
_RECORD = struct.Struct("<IBHH")
_WITH_TOTALS = 1


def _measure_record(payload: bytes, start: int) -> int:
    return _RECORD.size + (4 if payload[start + 4] == _WITH_TOTALS else 0)


def _read_record(payload: bytes, start: int, time_us: int, decoded: Decoded) -> None:
    """20 CE: instant, what follows, passages of the period, and totals if they follow."""
    timestamp, kind, entered, left = _RECORD.unpack_from(payload, start)
    fields: tuple[Field, ...] = _both_ways(_PERIOD)
    values: list[Any] = [entered, left]
    if kind == _WITH_TOTALS:
        fields, values = (
            (*fields, *_both_ways(_TOTAL)),
            [*values, *struct.unpack_from("<HH", payload, start + _RECORD.size)],
        )
    add_stored(fields, values, timestamp, time_us, decoded)


VS350: Table = {
    **COMMON,
    0x0367: one(TEMPERATURE),
    0x04CC: measures("<", *_both_ways(_TOTAL)),
    0x05CC: measures("<", *_both_ways(_PERIOD)),
    0x8367: alarm(TEMPERATURE, names=_TEMPERATURE_ALARMS),
    0x84CC: alarm(*_both_ways(_TOTAL)),
    0x85CC: alarm(*_both_ways(_PERIOD)),
    0x20CE: Record(_RECORD.size, _read_record, _measure_record),
}
