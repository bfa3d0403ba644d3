"""Buckets of one datastream from its readings alone, one by one: no rollup, no SQL."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from core.model import consumption
from core.model.calendar_buckets import Unit, any_edges_of
from core.model.consumption import Amount, IndexReading, MeterChange, Modulus
from core.model.quantities import Kind
from core.model.unknown_time import known_for
from core.runtime.postgres import Connection
from ingest.series.buckets import Aggregated, Bucket
from ingest.series.series_choice import Series
from ingest.series.series_store import read_one

MICROSECOND = timedelta(microseconds=1)
QUANTITY = "SELECT quantity FROM datastream WHERE id = $1"


async def read_buckets(
    connection: Connection, id_: int, since: datetime, until: datetime, *, bucket: Unit, timezone: str
) -> Aggregated:
    """Of one datastream, as a route asks for them."""
    one = Series(id_, None, None, await connection.fetchval(QUANTITY, id_), "")
    zone = ZoneInfo(timezone)
    return await read_one(connection, one, any_edges_of(since, until, bucket, zone), bucket, zone)


def buckets_from_raw(
    readings: Iterable[tuple[datetime, float, int]],
    edges: Sequence[datetime],
    unit: Unit,
    zone: ZoneInfo,
    kind: Kind,
    expected: timedelta,
    now: datetime,
    moduli: Sequence[Modulus] = (),
    changes: Sequence[MeterChange] = (),
) -> tuple[list[Bucket], list[Amount]]:
    """Instant, value and flags of each reading, in any order."""
    edge = MICROSECOND if kind is Kind.COUNTER else timedelta(0)
    ordered = sorted(readings)
    buckets: list[Bucket] = []
    for since, until in pairwise(edges):
        inside = [(value, flags) for at, value, flags in ordered if since <= at - edge < until]
        sound = [value for value, flags in inside if not flags & 3]
        mean = sum(sound) / len(sound) if sound and kind is Kind.GAUGE else None
        extremes = (min(sound), max(sound)) if sound else (None, None)
        ends = (sound[0], sound[-1]) if sound else (None, None)
        if inside:
            buckets.append(Bucket(since, until, len(sound), len(inside) - len(sound), *extremes, mean, *ends))
    kept = [(at, value) for at, value, flags in ordered if not flags & 3 and at - edge < edges[-1]]
    earlier = [one for one in kept if one[0] - edge < edges[0]][-1:]
    kept = earlier + [one for one in kept if one[0] - edge >= edges[0]]
    if kind is Kind.BOOLEAN:
        means = [_mean_state(kept, one, known_for(expected), min(edges[-1], now)) for one in buckets]
        return [one._replace(mean=mean) for one, mean in zip(buckets, means, strict=True)], []
    if kind is not Kind.COUNTER or not buckets:
        return buckets, []
    spans = [consumption.Bucket(one.since, one.until) for one in buckets]
    for at, _ in earlier:
        begin, end = any_edges_of(at - edge, at, unit, zone)
        spans.insert(0, consumption.Bucket(begin, end))
    since = earlier[0][0] if earlier else None
    known = [one for one in changes if one.at <= edges[-1] and (since is None or one.at > since)]
    found = consumption.consumption(
        spans, [IndexReading(*one) for one in kept], known, moduli, known_for(expected)
    )
    rises = found.by_bucket[len(earlier) :]
    return [one._replace(difference=rise) for one, rise in zip(buckets, rises, strict=True)], found.gaps


def _mean_state(
    kept: Sequence[tuple[datetime, float]], bucket: Bucket, held_for: timedelta, until: datetime
) -> float | None:
    seconds = weighted = 0.0
    nexts = [at for at, _ in kept[1:]] + [until]
    for (at, value), then in zip(kept, nexts, strict=True):
        ending = min(then, at + held_for, bucket.until, until)
        lasted = (ending - max(at, bucket.since)).total_seconds()
        if lasted > 0:
            seconds += lasted
            weighted += lasted * value
    return weighted / seconds if seconds else None
