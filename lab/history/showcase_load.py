"""Writes the demonstration's months into its tenant: registry, readings, weather, baselines, radio and costs."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from core.runtime.leader import NotLeader
from core.runtime.postgres import BareConnection, Connection, Pool, connect
from indicators.waste.fill_day_store import mark_all
from indicators.waste.refresh import refresh_fill_days
from lab.fleet.bulk import register_devices
from lab.fleet.people import COMMUNE as MEMBER
from lab.fleet.provision import Provisioner
from lab.history import store
from lab.history.days import outdoor_temperature
from lab.history.plan import SeriesPlan
from lab.history.showcase import (
    BUILDINGS,
    COMMUNE,
    ENERGY_MONTHS,
    EXPECTED_S,
    METERED,
    PLACE,
    SEED,
    Showcase,
    plan_showcase,
)
from lab.history.worker import Block, write_blocks
from registry.keys import KeyWrap
from services.supervisor.run_info import RunInfo

STATION = "Brest-Guipavas"
RADIO_DAYS = 30
LEADING_WITHIN, LOOK_S = 60, 1.0

# Written on a day before: it ends then.
WRITTEN_ON = """
SELECT (max(r.bucket) AT TIME ZONE $3)::date + 1 FROM asset a JOIN datastream d ON d.asset_id = a.id
JOIN observation.rollup_day r ON r.datastream_id = d.id WHERE a.tenant_id = $1 AND a.name = $2
"""
BELONG = """
UPDATE asset a SET parent_id = w.parent, attributes = a.attributes || w.attributes
FROM unnest($1::int[], $2::int[], $3::jsonb[]) AS w (id, parent, attributes) WHERE a.id = w.id
"""
ADD_WEATHER = """
INSERT INTO weather_day (tenant_id, station, day, tn, tx, source)
SELECT $1, $2, w.day, w.mean - 4, w.mean + 4, 'démonstration'
FROM unnest($3::date[], $4::float8[]) AS w (day, mean)
ON CONFLICT DO NOTHING
"""
# Hourly, received by two gateways; of the last bin two frames in three are lost: a white zone.
ADD_RADIO = """
INSERT INTO observation.network_day (device_id, day, asset_id, sent, received, with_receptions, receptions,
                                     margin_sum, least_margin, air_time_us, gateway_ids, gateway_received,
                                     gateway_alone, gateway_margin_sums)
SELECT s.device_id, $2::date - n, s.asset_id, 24, r.received, r.received, 2 * r.received, r.margin * r.received,
       r.margin - 4, 24 * 61696, g.ids, ARRAY[r.received, r.received], ARRAY[0, 0],
       ARRAY[r.margin * r.received, (r.margin - 3) * r.received]
FROM assignment s
CROSS JOIN (SELECT (array_agg(id ORDER BY id))[1:2] AS ids FROM gateway WHERE tenant_id = $4) AS g
CROSS JOIN LATERAL (
    SELECT CASE WHEN s.asset_id = $5 THEN 8 ELSE 23 END AS received,
           CASE WHEN s.asset_id = $5 THEN 4 ELSE 12 END AS margin
) AS r
CROSS JOIN generate_series(1, $3::int) AS n
WHERE s.asset_id = ANY($1::int[]) AND cardinality(g.ids) = 2 ON CONFLICT DO NOTHING
"""
FILLED = ("observation.rollup_hour", "observation.rollup_day", "observation.fill_day", "observation.network_day")
GATEWAYS = [{"basis": "gateways"}]
# Twenty gateways: 150,000 + 28,000 + 10,000 + 5,000 euros.
COST_ITEMS: tuple[dict[str, Any], ...] = (
    {
        "name": "Achat de passerelles",
        "method": "rate",
        "amount_cents": 750_000,
        "shares": GATEWAYS,
        "counted": "added",
    },
    {"name": "Cœur de réseau", "method": "pro_rata", "amount_cents": 28_000_000, "shares": GATEWAYS, "per": 200},
    {"name": "Abonnement", "method": "rate", "amount_cents": 50_000, "shares": GATEWAYS},
    {"name": "Maintenance", "method": "key", "amount_cents": 500_000, "shares": GATEWAYS},
)
CONTRIBUTORS = ({"name": "Ville de Landerneau", "member": MEMBER[0]}, {"name": "Commune de La Forest-Landerneau"})
SHARED_GATEWAYS = (12, 8)
COST_CENTS = 19_300_000


@dataclass(frozen=True, slots=True)
class Written:
    """What was made, for those who ask about it."""

    showcase: Showcase
    white_zones: int
    cost_year: int


async def write_showcase(run: RunInfo, pool: Pool, tenant_id: int, api: Provisioner) -> Written:
    """Once; where it is there already, nothing is written.

    Raises:
        ProvisioningFailed: the API rejected something.
    """
    timezone: str = await pool.fetchval(store.READ_TIMEZONE)
    today = datetime.now(UTC).astimezone(ZoneInfo(timezone)).date()
    showcase = plan_showcase(today, ZoneInfo(timezone))
    before: date | None = await pool.fetchval(WRITTEN_ON, tenant_id, showcase.members[0].plan.asset_name, timezone)
    if before is not None:
        return Written(plan_showcase(before, ZoneInfo(timezone)), 1, before.year - 1)
    written = Written(showcase, white_zones=1, cost_year=today.year - 1)
    buildings = await _add_buildings(api)
    admin = await connect(run.database_admin_url, "showcase")
    service = await connect(run.database_url, "showcase")
    try:
        streams, assets = await _register(run, admin, tenant_id, showcase, buildings)
        await _write_readings(service, showcase, timezone, streams)
        await _add_weather(admin, tenant_id, showcase)
        await admin.execute(
            ADD_RADIO, list(assets.values()), today, RADIO_DAYS, tenant_id, assets[_last_bin(showcase)]
        )
        await _make_fill_days(pool, ZoneInfo(timezone))
        for table in FILLED:
            await admin.execute(f"VACUUM (ANALYZE) {table}")
    finally:
        await service.close()
        await admin.close()
    await _add_baselines(api, showcase, buildings)
    await _add_costs(api, written.cost_year)
    return written


def _last_bin(showcase: Showcase) -> str:
    return [one.plan.asset_name for one in showcase.members if one.plan.asset_kind == "glass_container"][-1]


async def _add_buildings(api: Provisioner) -> dict[str, int]:
    made: dict[str, int] = {}
    for name, attributes in BUILDINGS.items():
        body = {"kind": "building", "name": name, "commune": COMMUNE, "attributes": attributes}
        made[name] = (await api.post("/v1/assets", body | {"latitude": PLACE[0], "longitude": PLACE[1]}))["id"]
    return made


async def _register(
    run: RunInfo, admin: BareConnection, tenant_id: int, showcase: Showcase, buildings: dict[str, int]
) -> tuple[dict[tuple[str, str], int], dict[str, int]]:
    """Every datastream by its asset's name and quantity, and every asset."""
    members = showcase.members
    keys = KeyWrap(run.kek_id, bytes.fromhex(run.kek))
    first = min(showcase.since(one) for one in members)
    since = datetime.combine(first, datetime.min.time(), showcase.zone)
    async with admin.transaction():
        profiles = await store.add_profiles(
            admin, tenant_id, [one.plan for one in members], timedelta(seconds=EXPECTED_S)
        )
        assets, devices = await register_devices(
            admin, tenant_id, [one.plan for one in members], profiles, since, keys
        )
        series = [(one.plan.asset_name, plan.channel) for one in members for plan in one.series]
        await admin.execute(
            store.ADD_DATASTREAMS, tenant_id, since,
            [assets[name] for name, _ in series], [devices[name] for name, _ in series],
            [channel.quantity for _, channel in series], [channel.unit for _, channel in series],
        )  # fmt: skip
        belonging = [one for one in members if one.parent is not None or one.attributes]
        await admin.execute(
            BELONG,
            [assets[one.plan.asset_name] for one in belonging],
            [None if one.parent is None else buildings[one.parent] for one in belonging],
            [one.attributes for one in belonging],
        )
    return await store.read_ids(admin, tenant_id), assets


async def _write_readings(
    service: BareConnection, showcase: Showcase, timezone: str, streams: dict[tuple[str, str], int]
) -> None:
    """What has the same days and is rolled up alike goes together."""
    alike: dict[tuple[date, date, str], list[tuple[int, SeriesPlan]]] = {}
    for member in showcase.members:
        for since, until in showcase.spans(member):
            for plan in member.series:
                key = (since, until, plan.channel.kind.value)
                alike.setdefault(key, []).append((streams[member.plan.asset_name, plan.channel.quantity], plan))
    for (since, until, _), found in sorted(alike.items()):
        block = Block(tuple(id_ for id_, _ in found), tuple(plan for _, plan in found))
        plan = store.HistoryPlan(SEED, 0, 0, 0, since, until)
        await write_blocks(service, plan, timezone, [block], lambda: False, lambda _: None, spoils=False)
    await service.execute(store.MARK_PACKED)


async def _add_weather(admin: Connection, tenant_id: int, showcase: Showcase) -> None:
    first = showcase.after - timedelta(days=31 * ENERGY_MONTHS)
    days = [first + timedelta(days=number) for number in range((showcase.today - first).days)]
    await admin.execute(ADD_WEATHER, tenant_id, STATION, days, [outdoor_temperature(day) for day in days])


async def _make_fill_days(pool: Pool, zone: ZoneInfo) -> None:
    """The indicators' service may be at it: then a moment later."""
    async with pool.acquire() as connection, connection.transaction():
        await mark_all(connection, zone)
    for _ in range(LEADING_WITHIN):
        try:
            await refresh_fill_days(pool)
        except NotLeader:
            await asyncio.sleep(LOOK_S)
        else:
            return


async def _add_baselines(api: Provisioner, showcase: Showcase, buildings: dict[str, int]) -> None:
    works = showcase.works
    for name in METERED:
        body = {
            "asset_id": buildings[name],
            "use": "electricity",
            "label": f"Avant les travaux de {works:%m/%Y}",
            "from": f"{works.replace(year=works.year - 1):%Y-%m}",
            "to": f"{works - timedelta(days=1):%Y-%m}",
            "works_from": works.isoformat(),
            "works_to": (_next_month(works) - timedelta(days=1)).isoformat(),
        }
        await api.post("/v1/energy-baselines", body)


def _next_month(first: date) -> date:
    return (first + timedelta(days=31)).replace(day=1)


async def _add_costs(api: Provisioner, year: int) -> None:
    first_day = f"{year}-01-01"
    for contributor, gateways in zip(CONTRIBUTORS, SHARED_GATEWAYS, strict=True):
        body = contributor | {"periods": [{"since": first_day, "inhabitants": 1_000 * gateways}]}
        made = await api.post("/v1/cost-contributors", body)
        entry = {"contributor_id": made["id"], "basis": "gateways", "day": first_day, "quantity": gateways}
        await api.post("/v1/cost-entries", entry)
    for item in COST_ITEMS:
        await api.post("/v1/cost-items", item | {"first_year": year})
    await api.post("/v1/cost-statements", {"year": year})
