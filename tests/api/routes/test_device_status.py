from datetime import UTC, datetime

import pytest

from core.runtime.postgres import Pool

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
NEVER = {"power": None, "battery_percent": None, "margin": None, "reported_at": None}


async def insert_status(pool: Pool, device, battery: int, margin: int) -> None:
    await pool.execute(
        "INSERT INTO device_status SELECT id, $2, $3, $4 FROM device WHERE dev_eui = $1",
        bytes.fromhex(device["dev_eui"]),
        battery,
        margin,
        NOW,
    )


@pytest.mark.parametrize(
    ("battery", "power", "percent"),
    [
        (254, "battery", 100.0),
        (1, "battery", 0.0),
        (200, "battery", 78.7),
        (0, "external", None),
        (255, "unknown", None),
    ],
)
async def test_the_battery_is_shown_in_percent_where_the_device_knows_it(
    client, registry, pool: Pool, battery: int, power: str, percent: float | None
) -> None:
    device = await registry.device()
    await insert_status(pool, device, battery, -7)

    status = (await client.get(f"/v1/devices/{device['dev_eui']}/status")).json()

    assert status == {
        "power": power,
        "battery_percent": percent,
        "margin": -7,
        "reported_at": "2026-11-24T12:00:00Z",
    }


async def test_a_device_that_has_never_answered_has_a_status_without_values(client, registry) -> None:
    device = await registry.device()

    answer = await client.get(f"/v1/devices/{device['dev_eui']}/status")

    assert (answer.status_code, answer.json()) == (200, NEVER)


async def test_the_status_of_anothers_device_is_not_shown(
    client, other_registry, pool: Pool, api_pool: Pool
) -> None:
    device = await other_registry.device()
    await insert_status(pool, device, 254, 3)

    assert (await client.get(f"/v1/devices/{device['dev_eui']}/status")).status_code == 404
    assert await api_pool.fetchval("SELECT count(*) FROM device_status") == 0
