"""Writes observation.uplink, uplink_seen, reception, measurement, feed, latest and dirty; nothing else does."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.runtime.lease import Lease
from core.runtime.ownership import fenced
from core.runtime.postgres import Connection, Pool, UniqueViolationError
from ingest.applications import queue_events
from ingest.batch import HOUR_US, Batch, Prepared, Published, by_slot, compose
from ingest.binary_copy import (
    copy_of_measurements,
    copy_of_receptions,
    copy_of_seen,
    copy_of_uplinks,
    feed_octets,
)
from ingest.corrections import keep_corrections
from ingest.identity import seen_key, sort_out
from ingest.insertion import insert_all, insert_measurements, insert_receptions
from ingest.pipeline import Interpreted, Row
from ingest.seen import read_stored, replace_seen
from registry.clock_doubts import ClockDoubt, count_doubts
from registry.quarantine import quarantine

# Hours by their number since 1970, and the datastreams whose rollup of that hour is to be made anew.
Hours = Mapping[int, set[int]]

SCHEMA = "observation"
# Far below the two minutes that maintenance leaves an hour after its end.
WRITE_AT_MOST_S = 60
UPLINK_COLUMNS = (
    "device_id", "time", "uplink_id", "session_id", "f_cnt", "f_port", "payload", "received_at", "radio", "status",
    "reason", "decoded", "codec", "codec_version", "detail",
)  # fmt: skip
SEEN_COLUMNS = ("device_id", "f_cnt", "digest", "time", "uplink_id", "session_id")
RECEPTION_COLUMNS = ("device_id", "time", "uplink_id", "gateway_id", "antenna", "rssi", "snr")
MEASUREMENT_COLUMNS = ("datastream_id", "time", "value", "flags")
FEED_COLUMNS = ("n", "datastream_ids", "times")

# Asked with the time, because each batch asks: without applications of partners they cost it nothing more.
NOW = """
SELECT (extract(epoch FROM now()) * 1000000)::bigint AS us, EXISTS (SELECT FROM application WHERE enabled) AS told
"""
# Datastream and flags share a number: the driver takes a quarter of a microsecond for each element of an array.
GIVEN_LATEST = """
SELECT (of >> 16)::int AS id, timestamptz 'epoch' + us * interval '1 microsecond' AS time, value,
       (of & 32767)::smallint AS flags
FROM unnest($1::bigint[], $2::bigint[], $3::float8[]) AS given (of, us, value)
"""
# When assets were last heard is one more row of each, in the order of their ids, and no round trip more.
HEARD = """heard AS (
    UPDATE observation.expectation e SET last_seen_at = timestamptz 'epoch' + given.us * interval '1 microsecond'
    FROM unnest($4::int[], $5::bigint[]) AS given (id, us)
    WHERE e.asset_id = given.id
      AND coalesce(e.last_seen_at < timestamptz 'epoch' + given.us * interval '1 microsecond', true)
)"""
# Nearly always every datastream has a last value and gets a newer one: an update costs two thirds of an upsert.
UPDATE_LATEST = f"""
WITH {HEARD}
UPDATE observation.latest SET time = newer.time, value = newer.value, flags = newer.flags
FROM ({GIVEN_LATEST}) AS newer WHERE datastream_id = newer.id AND latest.time < newer.time
"""
# Usually a batch has one value of each datastream, and all of them are its last: these very arrays go to the feed
# with the same statement, since one more costs small batches more than what it carries.
UPDATE_LATEST_AND_FEED = f"""
WITH {HEARD}, newer AS MATERIALIZED ({GIVEN_LATEST}), changed AS (
    INSERT INTO observation.feed (n, datastream_ids, times)
    SELECT count(*), array_agg(id), array_agg(time) FROM newer
)
UPDATE observation.latest SET time = newer.time, value = newer.value, flags = newer.flags
FROM newer WHERE datastream_id = newer.id AND latest.time < newer.time
"""
UPSERT_LATEST = f"""
INSERT INTO observation.latest (datastream_id, time, value, flags) {GIVEN_LATEST}
ON CONFLICT (datastream_id) DO UPDATE
SET time = excluded.time, value = excluded.value, flags = excluded.flags
WHERE latest.time < excluded.time
"""
MARK = """
INSERT INTO observation.dirty (hour, datastream_ids) VALUES (to_timestamp($1::bigint * 3600), $2::int[])
"""


@dataclass(frozen=True, slots=True)
class Written:
    """What was committed; `was_repeated`: some of it was stored before."""

    batch: Batch
    was_repeated: bool

    def to_publish(self, prepared: Prepared) -> dict[int, list[Published]]:
        """The measurements for MEASUREMENTS, by the slot of their asset: also of what was delivered once more.

        A copy of an uplink that is stored under another identity has none, and nobody is notified of a correction.
        """
        of_copies = self.batch.duplicates
        uplinks = (one for place, one in enumerate(prepared.uplinks) if place not in of_copies)
        return by_slot(uplinks, self.batch.corrections)


class MarkedHours:
    """The hours that this owner has marked and committed, so that their rollups are computed anew.

    Maintenance takes an hour two minutes after its end at the earliest, so a mark that is committed stands until
    then: marking again is needless as long as the hour lasts, by the clock of the database.
    """

    def __init__(self) -> None:
        self._marked: dict[int, set[int]] = {}

    def to_mark(self, hours: Hours, now_us: int) -> dict[int, set[int]]:
        """What a transaction that began at `now_us`, by the database's clock, has to mark."""
        current = now_us // HOUR_US
        wanted: dict[int, set[int]] = {}
        for hour, datastream_ids in hours.items():
            unmarked = datastream_ids
            if hour >= current:
                unmarked = datastream_ids - self._marked.get(hour, set())
            if unmarked:
                wanted[hour] = unmarked
        return wanted

    def committed(self, marked: Hours, now_us: int) -> None:
        """These marks stand now; hours that are over are forgotten."""
        current = now_us // HOUR_US
        for hour in [hour for hour in self._marked if hour < current]:
            del self._marked[hour]
        for hour, datastream_ids in marked.items():
            if hour >= current:
                self._marked.setdefault(hour, set()).update(datastream_ids)


class Store:
    """Writes what batches have prepared; it remembers which hours it has marked."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._marked = MarkedHours()

    async def write(self, leases: Sequence[Lease], prepared: Prepared) -> Written:
        """Write all of it in one transaction.

        What is stored stays as it is. First by COPY, which is cheapest when all is new; when something is not,
        once more by statements that skip what is there, after a query of what the tables have of each uplink.

        Raises:
            ShardsLost: one of the leases is no longer ours; nothing was written.
        """
        try:
            batch = await self._write(leases, prepared, is_new=True)
        except UniqueViolationError:
            return Written(await self._write(leases, prepared, is_new=False), was_repeated=True)
        return Written(batch, was_repeated=False)

    async def _write(self, leases: Sequence[Lease], prepared: Prepared, *, is_new: bool) -> Batch:
        async with asyncio.timeout(WRITE_AT_MOST_S):
            async with fenced(self._pool, leases) as connection:
                now_us, has_applications = await connection.fetchrow(NOW) or (0, False)
                batch = prepared.batch if is_new else None
                batch = batch or await _composed(connection, prepared, is_new=is_new)
                if is_new:
                    await _copy(connection, batch)
                else:
                    await insert_all(connection, batch)
                marks = self._marked.to_mark(batch.hours, now_us)
                repeats = await _write_rest(connection, batch, marks, feeds=is_new and _is_latest(batch))
                if repeats or batch.may_correct or not is_new:
                    uplinks = [one for place, one in enumerate(prepared.uplinks) if place not in batch.duplicates]
                    batch.corrections = await keep_corrections(connection, uplinks, batch.uplinks)
                if has_applications:
                    await queue_events(connection, batch.uplinks)
                if prepared.quarantined:
                    await quarantine(connection, "ingest", prepared.quarantined)
            self._marked.committed(marks, now_us)
        return batch


async def _composed(connection: Connection, prepared: Prepared, *, is_new: bool) -> Batch:
    """The rows, after queries about late duplicates and about every uplink that may be stored already.

    With a session of ours an uplink is new, unless it was delivered before, which the first attempt finds out.
    """
    uplinks = [interpreted.uplink for interpreted in prepared.uplinks]
    places = [place for place, uplink in enumerate(uplinks) if not (is_new and uplink.session_id)]
    asked = [uplinks[place] for place in places] + prepared.late
    stored = await read_stored(connection, asked)
    had_rows = set(stored)
    found = sort_out(asked, stored)
    known = {place: of for place, of in zip(places, found, strict=False) if of is not None}
    batch = compose(prepared, known, found[len(places) :])
    batch.duplicates = {place for place, of in known.items() if of.uplink_id != uplinks[place].uplink_id}
    if is_new:
        batch.replaced = [
            uplinks[place] for place in places if place not in known and seen_key(uplinks[place]) in had_rows
        ]
    else:
        batch.replaced = [interpreted.uplink for interpreted in batch.uplinks]
    return batch


async def _copy(connection: Connection, batch: Batch) -> None:
    if batch.uplinks:
        await _copy_in(connection, "uplink", UPLINK_COLUMNS, copy_of_uplinks(batch.uplinks))
        replaced = {uplink.uplink_id for uplink in batch.replaced}
        new = [one for one in batch.uplinks if one.uplink.uplink_id not in replaced] if replaced else batch.uplinks
        await _copy_in(connection, "uplink_seen", SEEN_COLUMNS, copy_of_seen(new))
    if batch.receptions:
        await _copy_in(connection, "reception", RECEPTION_COLUMNS, copy_of_receptions(batch.receptions))
    if batch.measurements:
        measurements = copy_of_measurements(batch.measurements)
        await _copy_in(connection, "measurement", MEASUREMENT_COLUMNS, measurements)
        if not _is_latest(batch):
            await _copy_in(connection, "feed", FEED_COLUMNS, feed_octets(measurements))


def _is_latest(batch: Batch) -> bool:
    """Whether the last values are all that the batch has measured."""
    return not batch.history and len(batch.latest) == len(batch.measurements)


async def _copy_in(connection: Connection, table: str, columns: Sequence[str], octets: bytearray) -> None:
    source: Any = octets  # The driver takes a buffer as it is; its stubs know files only.
    await connection.copy_to_table(table, source=source, columns=columns, schema_name=SCHEMA, format="binary")


async def _write_rest(connection: Connection, batch: Batch, marks: Hours, *, feeds: bool) -> bool:
    """What is written in the same way whether the batch is new or not.

    Returns whether something of the devices' history is stored already, or twice in the batch.
    """
    repeats = False
    if batch.replaced:
        await replace_seen(connection, batch.replaced)
    if batch.copied_receptions:
        await insert_receptions(connection, batch.copied_receptions)
    if batch.history:
        new = await insert_measurements(connection, batch.history)
        repeats = new < sum(len(one.history) for one in batch.uplinks)
    await _write_latest(connection, batch.latest, batch.last_seen, feeds=feeds)
    if batch.misdated:
        await count_doubts(connection, [doubt_of(interpreted) for interpreted in batch.misdated])
    if marks:
        await connection.executemany(MARK, [(hour, sorted(marks[hour])) for hour in sorted(marks)])
    return repeats


def doubt_of(interpreted: Interpreted) -> ClockDoubt:
    """Whose clock is doubted: that of the source which stated the uplink's instant, else the device's own."""
    uplink, tenant_id = interpreted.uplink, interpreted.serving.tenant_id
    source_id = uplink.source_id if uplink.stated_us is not None else 0
    return ClockDoubt(tenant_id, source_id, 0 if source_id else uplink.device_id, uplink.received_at_us)


async def _write_latest(
    connection: Connection, rows: Sequence[Row], last_seen: Mapping[int, int], *, feeds: bool
) -> None:
    if not rows:
        return
    ids, times, values, flags = zip(*rows, strict=True)
    of = [id_ << 16 | flag for id_, flag in zip(ids, flags, strict=True)]
    assets = sorted(last_seen)
    given = (assets, [last_seen[asset_id] for asset_id in assets])
    update = UPDATE_LATEST_AND_FEED if feeds else UPDATE_LATEST
    if await connection.execute(update, of, times, values, *given) != f"UPDATE {len(rows)}":
        await connection.execute(UPSERT_LATEST, of, times, values)  # Some are the first or not newer.
