"""What `bench indicators` adds to a history: buildings with baselines, their weather, and days of the radio."""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from core.model.calendar_buckets import moved
from core.runtime.postgres import Connection, connect, open_pool
from lab.bench.list_pages import ENOUGH, make_tenant
from lab.bench.queries import NoHistory
from lab.fleet.plan import plan_gateways
from lab.fleet.provision import Provisioner
from lab.history.days import outdoor_temperature
from lab.history.load import SLUG
from registry.tenants import create_api_key, find_tenant
from services.supervisor.run_info import RunInfo

BUILDINGS, METERS_OF_A_BUILDING = 20, 4
COVERED, COVERED_DAYS, GATEWAYS = 1_200, 30, 24
STATION = "Brest-Guipavas"
# Half of the amplitude of a day.
SWING_C = 4.0
OF_OFFICES = "Compteur d'eau communal%"

# Electricity first, which depends on the weather; a small history has few of such meters. Dwellings' water is
# read too seldom for whole months.
PICK_METERS = """
SELECT a.id, d.quantity FROM asset a JOIN datastream d ON d.asset_id = a.id
WHERE a.tenant_id = $1 AND a.kind IN ('electricity_meter', 'water_meter')
  AND (d.quantity = 'active_energy_import' OR d.quantity = 'water_volume' AND a.name LIKE $3)
ORDER BY d.quantity, md5(a.id::text) LIMIT $2
"""
STREAMS_OF = "SELECT array_agg(id) FROM datastream WHERE asset_id = ANY($1::int[]) AND quantity = $2"
HANG = "UPDATE asset SET parent_id = $2 WHERE id = ANY($1::int[])"
ADD_WEATHER = """
INSERT INTO weather_day (tenant_id, station, day, tn, tx, source)
SELECT $1, $2, w.day, w.mean - $5, w.mean + $5, 'banc' FROM unnest($3::date[], $4::float8[]) AS w (day, mean)
ON CONFLICT DO NOTHING
"""
# Each device sends hourly, received by two gateways; of one in eleven two frames in three are lost: a white zone.
ADD_RADIO = """
INSERT INTO observation.network_day (device_id, day, asset_id, sent, received, with_receptions, receptions,
                                     margin_sum, least_margin, air_time_us, gateway_ids, gateway_received,
                                     gateway_alone, gateway_margin_sums)
SELECT s.device_id, $1::date - n, s.asset_id, 24, r.received, r.received, 2 * r.received, 9.0 * r.received, 3.5,
       24 * 61696, ARRAY[g.ids[1 + s.device_id % $3], g.ids[1 + (s.device_id + 1) % $3]],
       ARRAY[r.received, r.received], ARRAY[0, 0], ARRAY[9.0 * r.received, 7.0 * r.received]
FROM assignment s
CROSS JOIN (SELECT array_agg(id ORDER BY id) AS ids FROM gateway) AS g
CROSS JOIN LATERAL (SELECT CASE WHEN s.device_id % 11 = 0 THEN 8 ELSE 23 END AS received) AS r
CROSS JOIN generate_series(1, $2::int) AS n
WHERE upper_inf(s.during) ON CONFLICT DO NOTHING
"""
FILLED = "VACUUM (ANALYZE) observation.network_day, weather_day, energy_baseline"
BOUNDS = """
SELECT t.timezone, (min(bucket) AT TIME ZONE t.timezone)::date AS since,
       (now() AT TIME ZONE t.timezone)::date AS today
FROM observation.rollup_day CROSS JOIN deployment t
WHERE datastream_id = (SELECT min(id) FROM datastream WHERE tenant_id = $1) GROUP BY t.timezone
"""


@dataclass(frozen=True, slots=True)
class World:
    """Who asks: a key of the history's tenant, and one of the tenant whose coverage is read."""

    tenant_id: int
    covered_id: int
    key: str
    key_of_covered: str
    today: date
    zone: ZoneInfo
    meters: list[list[int]]
    """Of each building the datastreams that its baseline is of."""


async def make_world(run: RunInfo) -> World:
    """Write it into a stack with a history, which has none of it yet.

    Raises:
        NoHistory: nothing was loaded into this stack.
        ProvisioningFailed: the API rejected something.
    """
    key_of_covered = await make_tenant(run, "couverture", "Couverture", COVERED)
    async with open_pool(run.database_url, "bench", size=1) as pool:
        tenant, covered = await find_tenant(pool, SLUG), await find_tenant(pool, "couverture")
        bounds = None if tenant is None else await pool.fetchrow(BOUNDS, tenant.id)
        if tenant is None or covered is None or bounds is None:
            raise NoHistory("pas d'historique dans cette base : ./territoire simulate --history l'écrit")
        async with pool.acquire() as connection:
            key = await create_api_key(
                connection, tenant.id, "bench", ["read", "manage"], requests_per_minute=ENOUGH
            )
    of_covered, of_history = Provisioner(run.api_url, key_of_covered), Provisioner(run.api_url, key)
    admin = await connect(run.database_admin_url, "bench")
    try:
        await of_covered.create_gateways(plan_gateways(GATEWAYS, "couverture"))
        await admin.execute(ADD_RADIO, bounds["today"], COVERED_DAYS, GATEWAYS)
        await _add_weather(admin, tenant.id, bounds["since"], bounds["today"])
        meters = await _add_buildings(admin, of_history, tenant.id, bounds["since"])
        await admin.execute(FILLED)
    finally:
        await of_covered.close()
        await of_history.close()
        await admin.close()
    return World(tenant.id, covered.id, key, key_of_covered, bounds["today"], ZoneInfo(bounds["timezone"]), meters)


async def _add_weather(admin: Connection, tenant_id: int, since: date, until: date) -> None:
    days = [since + timedelta(days=number) for number in range((until - since).days)]
    means = [outdoor_temperature(day) for day in days]
    await admin.execute(ADD_WEATHER, tenant_id, STATION, days, means, SWING_C)


async def _add_buildings(admin: Connection, api: Provisioner, tenant_id: int, since: date) -> list[list[int]]:
    """Each with some of the history's meters and a baseline of the first whole year; their datastreams."""
    rows = await admin.fetch(PICK_METERS, tenant_id, BUILDINGS * METERS_OF_A_BUILDING, OF_OFFICES)
    first = moved(since.replace(day=1), "month", 0 if since.day == 1 else 1)
    works = moved(first, "month", 12)
    meters: list[list[int]] = []
    for number in range(min(BUILDINGS, len(rows))):
        of_building = rows[number::BUILDINGS]
        is_electric = of_building[0]["quantity"] == "active_energy_import"
        made = await api.post("/v1/assets", {"kind": "building", "name": f"Bâtiment {number + 1}"})
        await admin.execute(HANG, [row["id"] for row in of_building], made["id"])
        baseline: dict[str, Any] = {
            "asset_id": made["id"],
            "use": "electricity" if is_electric else "water",
            "depends_on_weather": is_electric,
            "from": f"{first:%Y-%m}",
            "to": f"{moved(works, 'month', -1):%Y-%m}",
            "works_from": works.isoformat(),
            "works_to": works.isoformat(),
        }
        await api.post("/v1/energy-baselines", baseline)
        quantity = "active_energy_import" if is_electric else "water_volume"
        meters.append(await admin.fetchval(STREAMS_OF, [row["id"] for row in of_building], quantity))
    return meters
