"""What was used becomes entries: once, then what has changed; what people state stays theirs."""

from datetime import date

from core.runtime.postgres import Pool, open_pool
from indicators.cost.measured import measure_last_month, measure_month
from indicators.cost.use import differences

JANUARY, FEBRUARY = date(2026, 1, 1), date(2026, 2, 1)
# A syndicat and its member, which has two assets, a gateway, a device and an export; each is a contributor.
WORLD = """
INSERT INTO tenant (id, slug, name, member_of) OVERRIDING SYSTEM VALUE
VALUES (1, 's', 'S', NULL), (2, 'm', 'M', 1);
INSERT INTO asset (tenant_id, kind, name) VALUES (2, 'bin', 'a'), (2, 'bin', 'b'), (1, 'bin', 'c');
INSERT INTO gateway (tenant_id, gateway_id, name) VALUES (2, int8send(1), 'g');
INSERT INTO device_profile (id, tenant_id, name, vendor, model, codec, expected_interval) OVERRIDING SYSTEM VALUE
VALUES (1, 2, 'p', 'v', 'm', 'c', '1 hour');
INSERT INTO device (id, tenant_id, dev_eui, join_eui, name, device_profile_id, slot, app_key_wrapped, kek_id)
OVERRIDING SYSTEM VALUE
VALUES (1, 2, int8send(1), int8send(1), 'd', 1, 0, decode(repeat('00', 24), 'hex'), 'k');
INSERT INTO observation.network_day
SELECT 1, day, NULL, 30, 20, 20, 20, 1, 1, 1500000, '{}', '{}', '{}', '{}'
FROM unnest('{2025-12-31,2026-01-01,2026-01-31,2026-02-01}'::date[]) AS day;
INSERT INTO export_job (tenant_id, format, since, until, requested_by, streams, created_at)
VALUES (2, 'csv', '2025-01-01', '2026-01-01', 'x', 1, '2026-01-31T22:59:59Z'),
       (2, 'csv', '2025-01-01', '2026-01-01', 'x', 1, '2026-01-31T23:00:00Z');
INSERT INTO cost_contributor (id, tenant_id, name, member_id) OVERRIDING SYSTEM VALUE
VALUES (1, 1, 'M', 2), (2, 1, 'Sans compte', NULL);
INSERT INTO cost_period VALUES (1, 1, '[2026-01-10,)', 100), (2, 1, '[2026-01-01,)', 100);
"""
ENTRIES = "SELECT basis, quantity FROM cost_entry WHERE origin = 'measured' ORDER BY id"


async def measure(pool: Pool, first: date = JANUARY, until: date = FEBRUARY) -> int:
    async with pool.acquire() as connection, connection.transaction():
        return await measure_month(connection, first, until, "Europe/Paris")


async def test_a_month_is_measured_once_then_only_what_has_changed(pool: Pool) -> None:
    await pool.execute(WORLD)
    await pool.execute(
        "INSERT INTO cost_entry (tenant_id, contributor_id, basis, day, quantity, origin, made_by) "
        "VALUES (1, 1, 'gateways', '2026-01-01', 7, 'stated', 'x')"
    )

    assert await measure(pool) == 4
    assert [tuple(row) for row in await pool.fetch(ENTRIES)] == [
        ("assets", 2), ("uplinks", 40), ("air_time_ms", 3_000), ("exports", 1),
    ]  # fmt: skip
    assert set(await pool.fetchval("SELECT array_agg(day) FROM cost_entry WHERE origin = 'measured'")) == {
        date(2026, 1, 10)
    }
    assert await measure(pool) == 0
    await pool.execute(
        "INSERT INTO cost_entry (tenant_id, contributor_id, basis, day, quantity, origin, made_by, corrects, "
        "reason) SELECT 1, 1, 'uplinks', day, -5, 'stated', 'x', id, 'essais' "
        "FROM cost_entry WHERE basis = 'uplinks'"
    )
    await pool.execute("UPDATE observation.network_day SET received = 21 WHERE day = '2026-01-31'")
    assert await measure(pool) == 1  # The correction stays; one uplink more came late.
    assert await pool.fetchval("SELECT sum(quantity)::int FROM cost_entry WHERE basis = 'uplinks'") == 36


async def test_what_is_there_now_and_exports_that_were_forgotten_change_no_former_month(pool: Pool) -> None:
    await pool.execute(WORLD)
    await measure(pool)
    await pool.execute("INSERT INTO asset (tenant_id, kind, name) VALUES (2, 'bin', 'd')")
    assert await measure(pool, FEBRUARY, date(2026, 3, 1)) == 4  # Gateways have not changed.
    await pool.execute("DELETE FROM export_job")

    assert await measure(pool) == 0
    days = "SELECT day, quantity FROM cost_entry WHERE basis = 'assets' ORDER BY day"
    assert [tuple(row) for row in await pool.fetch(days)] == [(date(2026, 1, 10), 2), (FEBRUARY, 1)]


def test_none_is_recorded_once_so_that_it_is_known() -> None:
    assert differences({"assets": 0, "exports": 3}, {}, []) == [("assets", 0), ("exports", 3)]
    assert differences({"assets": 0, "exports": 3}, {"assets": 0, "exports": 5}, []) == [("exports", -2)]
    assert differences({"assets": 4}, {"assets": None}, ["assets"]) == []


async def test_the_month_that_is_over_is_measured_by_the_process_of_indicators(database, pool: Pool) -> None:
    await pool.execute(WORLD)
    first = "(date_trunc('month', now() AT TIME ZONE 'Europe/Paris') - interval '1 month')::date"
    last_month = await pool.fetchval(f"SELECT {first}")
    async with open_pool(database.url_of("indicators"), "test", size=1) as ours:
        made = await measure_last_month(ours)
        again = await measure_last_month(ours)

    assert (made, again) == (5, 0)
    days = await pool.fetchval("SELECT array_agg(DISTINCT day) FROM cost_entry WHERE origin = 'measured'")
    assert days == [last_month]
