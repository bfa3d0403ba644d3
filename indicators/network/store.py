"""Daily rows of the radio in the database: written here alone, a day at a time, and added up over days."""

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from core.model.frame_loss import CountedUplink, Span
from core.runtime.postgres import Connection, Record
from indicators.network.coverage import RadioSums
from indicators.network.days import ReceivedUplink, Transmitted, device_day, gateway_day
from lorawan.regions.region import Region
from registry.outages import read_outages
from registry.rows import fetch_all

# A batch of devices holds their day in memory: 500 that send every 15 minutes are 48,000 uplinks.
DEVICES_AT_ONCE = 500
# How far back the last uplink of an earlier day is looked for: what is missing since before then is of no day.
BEFORE = timedelta(days=8)
# A device's gateways, whose outages explain what is missing: those that received it lately.
RECEIVED_WITHIN = timedelta(days=3)

READ_DEVICES = """
SELECT d.id, (SELECT s.asset_id FROM assignment s WHERE s.device_id = d.id AND s.during @> $2::timestamptz
              ORDER BY s.position LIMIT 1) AS asset_id
FROM device d
WHERE d.id > $3 AND EXISTS (
    SELECT FROM observation.uplink u WHERE u.device_id = d.id AND u.time >= $1::timestamptz AND u.time < $2)
ORDER BY d.id LIMIT $4
"""
READ_UPLINKS = """
SELECT u.device_id, u.time, u.session_id, u.f_cnt, octet_length(u.payload) AS octets,
       u.f_port IS NOT NULL AS has_port, coalesce((u.radio ->> 'spreading_factor')::int, 0) AS spreading_factor,
       coalesce((u.radio ->> 'bandwidth')::int, 0) AS bandwidth, r.gateways, r.snr
FROM observation.uplink u
LEFT JOIN (
    SELECT device_id, time, uplink_id, array_agg(gateway_id) AS gateways, array_agg(snr) AS snr
    FROM observation.reception WHERE device_id = ANY($1::int[]) AND time >= $2 AND time < $3
    GROUP BY device_id, time, uplink_id) AS r USING (device_id, time, uplink_id)
WHERE u.device_id = ANY($1::int[]) AND u.time >= $2::timestamptz AND u.time < $3::timestamptz
"""
READ_BEFORE = """
SELECT d.id AS device_id, u.time, u.session_id, u.f_cnt FROM unnest($1::int[]) AS d (id)
CROSS JOIN LATERAL (
    SELECT time, session_id, f_cnt FROM observation.uplink
    WHERE device_id = d.id AND time >= $2::timestamptz AND time < $3::timestamptz AND f_cnt IS NOT NULL
    ORDER BY time DESC LIMIT 1) AS u
"""
READ_RECEIVING = """
SELECT DISTINCT device_id, gateway_id FROM observation.reception
WHERE device_id = ANY($1::int[]) AND gateway_id = ANY($2::int[]) AND time >= $3 AND time < $4
"""
FORGET_DEVICES, FORGET_AIR = (
    f"DELETE FROM {table} WHERE day = $1" for table in ("observation.network_day", "gateway_air_day")
)
# Arrays of several lengths in one: each is written as an array's text.
ADD_DEVICES = """
INSERT INTO observation.network_day (device_id, day, asset_id, sent, received, with_receptions, receptions,
                                     margin_sum, least_margin, air_time_us, gateway_ids, gateway_received,
                                     gateway_alone, gateway_margin_sums)
SELECT device_id, $1, asset_id, sent, received, with_receptions, receptions, margin_sum, least_margin, air_time_us,
       gateway_ids::int[], gateway_received::int[], gateway_alone::int[], gateway_margin_sums::real[]
FROM unnest($2::int[], $3::int[], $4::int[], $5::int[], $6::int[], $7::int[], $8::float8[], $9::real[],
            $10::bigint[], $11::text[], $12::text[], $13::text[], $14::text[])
     AS d (device_id, asset_id, sent, received, with_receptions, receptions, margin_sum, least_margin, air_time_us,
           gateway_ids, gateway_received, gateway_alone, gateway_margin_sums)
"""
READ_TRANSMISSIONS = """
SELECT g.id, t.starts_at, t.airtime_us, t.frequency FROM transmission t JOIN gateway g USING (gateway_id)
WHERE t.starts_at >= $1::timestamptz AND t.starts_at < $2::timestamptz ORDER BY g.id, t.starts_at
"""
ADD_AIR = """
INSERT INTO gateway_air_day (gateway_id, day, transmissions, air_time_us, busiest_percent)
VALUES ($1, $2, $3, $4, $5)
"""

# One's own assets and members' that a device serves now, or served in these days; without rows: nothing is known.
LIST_COVERAGE = """
WITH days AS MATERIALIZED (
    SELECT asset_id, day, sent, received, with_receptions, receptions, margin_sum, least_margin, gateway_ids,
           gateway_received, gateway_margin_sums
    FROM network_day WHERE day >= $1::date AND day < $2::date AND asset_id IS NOT NULL)
SELECT a.id AS asset_id, a.name, a.kind, a.commune, a.latitude, a.longitude, n.days, n.sent, n.received,
       n.with_receptions, n.receptions, n.margin_sum, n.least_margin, b.gateway_id AS best_gateway_id,
       w.name AS best_gateway
FROM asset a
LEFT JOIN (
    SELECT asset_id, count(DISTINCT day)::int AS days, sum(sent)::int AS sent, sum(received)::int AS received,
           sum(with_receptions)::int AS with_receptions, sum(receptions)::int AS receptions,
           sum(margin_sum) AS margin_sum, min(least_margin) AS least_margin
    FROM days GROUP BY asset_id) AS n ON n.asset_id = a.id
LEFT JOIN (
    SELECT DISTINCT ON (asset_id) asset_id, gateway_id FROM (
        SELECT d.asset_id, g.gateway_id, sum(g.received) AS received, sum(g.margin_sum) AS margin_sum
        FROM days d, unnest(d.gateway_ids, d.gateway_received, d.gateway_margin_sums)
             AS g (gateway_id, received, margin_sum)
        GROUP BY d.asset_id, g.gateway_id) AS s
    ORDER BY asset_id, received DESC, margin_sum DESC, gateway_id) AS b ON b.asset_id = a.id
LEFT JOIN gateway w ON w.id = b.gateway_id
WHERE a.archived_at IS NULL AND a.tenant_id = ANY((SELECT visible_tenants())::int[])
  AND ($3::text IS NULL OR a.commune = $3)
  AND (n.asset_id IS NOT NULL
       OR EXISTS (SELECT FROM assignment s WHERE s.asset_id = a.id AND upper_inf(s.during)))
ORDER BY a.id
"""
LIST_LOST = """
SELECT a.id AS asset_id, a.name, a.kind, a.commune, a.latitude, a.longitude, s.with_receptions, s.alone FROM (
    SELECT n.asset_id, sum(n.with_receptions)::int AS with_receptions,
           sum(CASE WHEN $3::int = ANY(n.gateway_ids)
               THEN n.gateway_alone[array_position(n.gateway_ids, $3)] ELSE 0 END)::int AS alone
    FROM network_day n WHERE n.day >= $1::date AND n.day < $2::date GROUP BY n.asset_id) AS s
JOIN asset a ON a.id = s.asset_id
WHERE s.alone > 0 ORDER BY s.alone::float8 / s.with_receptions DESC, a.id
"""
LIST_AIR = """
SELECT day, transmissions, air_time_us, busiest_percent FROM gateway_air_day
WHERE gateway_id = $3 AND day >= $1::date AND day < $2::date ORDER BY day DESC
"""


@dataclass(frozen=True, slots=True)
class CoveredAsset:
    """An asset with the sums of its days; `days` None: nothing is known."""

    asset_id: int
    name: str
    kind: str
    commune: str
    latitude: float | None
    longitude: float | None
    days: int | None
    sent: int | None
    received: int | None
    with_receptions: int | None
    receptions: int | None
    margin_sum: float | None
    least_margin: float | None
    best_gateway_id: int | None
    best_gateway: str | None
    """None: another tenant's."""

    @property
    def sums(self) -> RadioSums:
        """For `coverage_of`."""
        counts = (
            self.days or 0,
            self.sent or 0,
            self.received or 0,
            self.with_receptions or 0,
            self.receptions or 0,
        )
        return RadioSums(*counts, self.margin_sum or 0.0, self.least_margin)


@dataclass(frozen=True, slots=True)
class LostAsset:
    """An asset of which frames came by one gateway alone: `alone` of the `with_receptions` ones."""

    asset_id: int
    name: str
    kind: str
    commune: str
    latitude: float | None
    longitude: float | None
    with_receptions: int
    alone: int


@dataclass(frozen=True, slots=True)
class AirDay:
    """What a gateway transmitted on a day; percent of what the law allows in an hour."""

    day: date
    transmissions: int
    air_time_us: int
    busiest_percent: float | None


async def refresh(connection: Connection, day: date, zone: ZoneInfo, region: Region) -> int:
    """Make the rows of one local day anew from uplinks, receptions, outages and transmissions: how many devices.

    In a transaction of the caller's, which lets one do it at a time; the same day again gives the same rows.
    Uplinks that were deleted by their term are not known any more: a day older than that is to be left as it is.
    """
    since = datetime.combine(day, datetime.min.time(), zone)
    until = datetime.combine(day + timedelta(days=1), datetime.min.time(), zone)
    for statement in (FORGET_DEVICES, FORGET_AIR):
        await connection.execute(statement, day)
    made = 0
    async for devices in _devices(connection, since, until):
        await _add_devices(connection, day, since, until, devices)
        made += len(devices)
    await _add_air(connection, day, since, until, region)
    return made


async def _devices(
    connection: Connection, since: datetime, until: datetime
) -> AsyncIterator[dict[int, int | None]]:
    """Batches of those that were received on the day, each with the asset that it served."""
    after = 0
    while rows := await connection.fetch(READ_DEVICES, since, until, after, DEVICES_AT_ONCE):
        yield {row["id"]: row["asset_id"] for row in rows}
        after = rows[-1]["id"]


async def _add_devices(
    connection: Connection, day: date, since: datetime, until: datetime, devices: dict[int, int | None]
) -> None:
    ids = list(devices)
    uplinks: dict[int, list[ReceivedUplink]] = {}
    for row in await connection.fetch(READ_UPLINKS, ids, since, until):
        uplinks.setdefault(row["device_id"], []).append(_uplink(row))
    before = {
        row["device_id"]: CountedUplink(row["time"], row["session_id"], row["f_cnt"])
        for row in await connection.fetch(READ_BEFORE, ids, since - BEFORE, since)
    }
    outages = await _outages(connection, ids, since - BEFORE, until)
    days = {id_: device_day(uplinks.get(id_, ()), before.get(id_), outages.get(id_, ())) for id_ in ids}
    columns: list[Sequence[Any]] = [
        ids,
        [devices[id_] for id_ in ids],
        *([getattr(days[id_], name) for id_ in ids] for name in ("sent", "received", "with_receptions")),
        [sum(share.received for share in days[id_].gateways) for id_ in ids],
        *([getattr(days[id_], name) for id_ in ids] for name in ("margin_sum", "least_margin", "air_time_us")),
    ]
    columns += (
        [_array(getattr(share, name) for share in days[id_].gateways) for id_ in ids]
        for name in ("gateway_id", "received", "alone", "margin_sum")
    )
    await connection.execute(ADD_DEVICES, day, *columns)


def _array(numbers: Iterable[float]) -> str:
    """The text of an array in PostgreSQL."""
    return "{" + ",".join(map(str, numbers)) + "}"


def _uplink(row: Record) -> ReceivedUplink:
    snr: dict[int, float] = {}
    gateways: Sequence[int] = row["gateways"] or ()
    levels: Sequence[float] = row["snr"] or ()
    for gateway_id, one in zip(gateways, levels, strict=True):
        snr[gateway_id] = max(one, snr.get(gateway_id, one))  # A gateway of two antennas has two.
    return ReceivedUplink(
        row["time"],
        row["session_id"],
        row["f_cnt"],
        row["octets"],
        row["has_port"],
        row["spreading_factor"],
        row["bandwidth"],
        snr,
    )


async def _outages(
    connection: Connection, ids: Sequence[int], since: datetime, until: datetime
) -> dict[int, list[Span]]:
    """Of each device: when one of its gateways, the bridge or the platform was away."""
    outages = await read_outages(connection, since, until)
    gateways = sorted({outage.gateway_id for outage in outages if outage.gateway_id is not None})
    received: set[tuple[int, int]] = set()
    if gateways:
        rows = await connection.fetch(READ_RECEIVING, ids, gateways, since - RECEIVED_WITHIN, until)
        received = {(row["device_id"], row["gateway_id"]) for row in rows}
    return {
        id_: [
            (outage.began_at, until if outage.ended_at is None else outage.ended_at)
            for outage in outages
            if outage.gateway_id is None or (id_, outage.gateway_id) in received
        ]
        for id_ in ids
    }


async def _add_air(connection: Connection, day: date, since: datetime, until: datetime, region: Region) -> None:
    transmitted: dict[int, list[Transmitted]] = {}
    for row in await connection.fetch(READ_TRANSMISSIONS, since, until):
        one = Transmitted(row["starts_at"], row["airtime_us"], row["frequency"])
        transmitted.setdefault(row["id"], []).append(one)
    for gateway_id, every in transmitted.items():
        made = gateway_day(every, region)
        await connection.execute(
            ADD_AIR, gateway_id, day, made.transmissions, made.air_time_us, made.busiest_percent
        )


async def list_coverage(
    connection: Connection, since: date, until: date, commune: str | None = None
) -> list[CoveredAsset]:
    """Visible assets that a device serves, each with its sums over these days, the last excluded."""
    return await fetch_all(connection, CoveredAsset, LIST_COVERAGE, since, until, commune)


async def list_lost(connection: Connection, since: date, until: date, gateway_id: int) -> list[LostAsset]:
    """Assets of which frames came by this gateway alone, the most dependent first."""
    return await fetch_all(connection, LostAsset, LIST_LOST, since, until, gateway_id)


async def list_air(connection: Connection, since: date, until: date, gateway_id: int) -> list[AirDay]:
    """What a gateway transmitted, the last day first."""
    return await fetch_all(connection, AirDay, LIST_AIR, since, until, gateway_id)
