"""Watteco's compressed batches: series of dated samples (docs/decoders-formats.md, "nke Watteco").

A batch does not describe itself: which tag is which measure, of which type and resolution, is in the
product's table.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, NamedTuple

from decoders.canonical import Decoded, MalformedPayload, Reading
from decoders.watteco.bits import WHOLE, Bits, Sample

_COMMON_TIMES, _NO_SAMPLES = 0x02, 0x04
_TIMES_TABLE = 1  # Of the instants outside series.
_SIGNED, _RISING = 0, 1  # Kinds of coding; the third is falling.
_SECOND_US = 1_000_000


class Series(NamedTuple):
    """One measure of a product: its tag in batches, and what a reading of it is.

    A difference counts `resolution` units of the raw number; the reading is raw / `divisor`, in the unit of
    `quantity`. An empty quantity only goes into `data`.
    """

    tag: int
    name: str
    sample: Sample
    resolution: float
    quantity: str = ""
    channel: str = ""
    divisor: float = 1.0


class Layout(NamedTuple):
    """The bits of a tag, and the series of a product."""

    tag_bits: int
    series: tuple[Series, ...]


@dataclass(slots=True)
class _Track:
    """A series as it is unpacked: (instant in seconds of the device's clock, raw number)."""

    series: Series
    samples: list[tuple[int, float]]
    coding: int = _SIGNED
    table: int = 0


@dataclass(slots=True)
class _Batch:
    counter: int
    tracks: dict[int, _Track] = field(default_factory=dict[int, _Track])
    sent_at: int = 0


def read_batch(layout: Layout, payload: bytes, time_us: int, decoded: Decoded) -> None:
    """Read a batch into `decoded`; the device's clock is set by its own instant of sending, `time_us`.

    Raises MalformedPayload for a tag that the product does not have, an unknown code, a truncated frame.
    """
    batch = _unpack(layout, payload)
    decoded.data["report"] = {"batch": True, "counter": batch.counter}
    for track in batch.tracks.values():
        series = track.series
        for second, raw in track.samples:
            at_us = time_us - (batch.sent_at - second) * _SECOND_US
            value = raw / series.divisor
            if not isfinite(value):
                decoded.warnings.append(f"{series.name} : le capteur n'envoie pas un nombre")
            elif series.quantity:
                decoded.readings.append(Reading(at_us, series.channel, series.quantity, value))
            else:
                kept: list[Any] = decoded.data.setdefault("series", {}).setdefault(series.name, [])
                kept.append({"time_us": at_us, "value": value})


def _unpack(layout: Layout, payload: bytes) -> _Batch:
    bits = Bits(payload)
    flags = bits.number(8)
    batch = _Batch(bits.number(3))
    bits.number(1)
    last: int | None = None
    tags: list[int] = []
    for _ in range(flags >> 4):
        series = _series(layout, bits.number(layout.tag_bits), payload)
        last = _time(bits, last)
        track = _Track(series, [(last, bits.sample(series.sample))])
        if not flags & _NO_SAMPLES:
            track.coding, track.table = bits.number(2), bits.number(2)
        batch.tracks[series.tag] = track
        tags.append(series.tag)
    if flags & _NO_SAMPLES:
        pass
    elif flags & _COMMON_TIMES:
        last = _read_common(layout, bits, batch.tracks, tags, payload)
    else:
        last = _read_separate(layout, bits, batch.tracks, tags, payload)
    batch.sent_at = _time(bits, last)
    return batch


def _series(layout: Layout, tag: int, payload: bytes) -> Series:
    for series in layout.series:
        if series.tag == tag:
            return series
    raise MalformedPayload(f"le produit du profil n'a pas la mesure {tag} de cette trame batch : {payload.hex()}")


def _track(layout: Layout, bits: Bits, tracks: dict[int, _Track], payload: bytes) -> _Track:
    tag = bits.number(layout.tag_bits)
    if tag not in tracks:
        raise MalformedPayload(f"la mesure {tag} n'est pas annoncée au début de la trame batch : {payload.hex()}")
    return tracks[tag]


def _time(bits: Bits, former: int | None) -> int:
    """An instant: whole when it is the first, else after the former one."""
    return bits.number(32) if former is None else _later(bits, former, _TIMES_TABLE)


def _later(bits: Bits, former: int, table: int) -> int:
    rank = bits.huffman(table)
    if rank == WHOLE:
        return bits.number(32)
    return former + bits.number(rank) + (1 << rank) - 1 if rank else former


def _read_separate(
    layout: Layout, bits: Bits, tracks: dict[int, _Track], tags: Sequence[int], payload: bytes
) -> int | None:
    """Series that have their own instants; gives the latest of all."""
    for _ in tags:
        track = _track(layout, bits, tracks, payload)
        count = bits.number(8)
        if not count:
            continue
        table = bits.number(2)
        for _ in range(count):
            second = _later(bits, track.samples[-1][0], table)
            track.samples.append((second, _value(bits, track, bits.huffman(track.table))))
    return max((second for track in tracks.values() for second, _ in track.samples), default=None)


def _read_common(
    layout: Layout, bits: Bits, tracks: dict[int, _Track], tags: Sequence[int], payload: bytes
) -> int | None:
    """Series that share one vector of instants, each present or not at each; gives the last instant."""
    count, table = bits.number(8), bits.number(2)
    seconds: list[int] = []
    for rank in range(count):
        if rank:
            seconds.append(_later(bits, seconds[-1], table))
        elif bits.huffman(table) == WHOLE:
            seconds.append(bits.number(32))
        else:
            seconds.append(tracks[tags[0]].samples[0][0] if tags else 0)
    for _ in tags:
        track, first_is_known = _track(layout, bits, tracks, payload), False
        for second in seconds:
            if not bits.number(1):
                continue
            kind = bits.huffman(track.table)
            if not kind and not first_is_known:  # The sample that the header already gave.
                first_is_known = True
                continue
            track.samples.append((second, _value(bits, track, kind)))
    return seconds[-1] if seconds else None


def _value(bits: Bits, track: _Track, kind: int) -> float:
    """The next raw number of a series: whole, or so many resolutions from the former."""
    if kind == WHOLE:
        return bits.sample(track.series.sample)
    former = track.samples[-1][1]
    if not kind:
        return former
    number = bits.number(kind)
    if track.coding == _SIGNED:
        steps = number if number >> (kind - 1) else number + 1 - (1 << kind)
    else:
        steps = number + (1 << kind) - 1
        steps = steps if track.coding == _RISING else -steps
    return former + steps * track.series.resolution
