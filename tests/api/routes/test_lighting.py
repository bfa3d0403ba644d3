import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from core.runtime.postgres import Pool

PATH = "/v1/lighting/commands"


def in_one_hour() -> str:
    return (datetime.now(UTC) + timedelta(hours=1)).isoformat()


async def test_a_command_is_queued_with_its_downlink_and_its_owner_is_nudged(
    client, registry, bus, pool: Pool
) -> None:
    cabinet = await registry.cabinet()
    nudges: asyncio.Queue[str] = asyncio.Queue()

    async def collect(subject: str, _data: bytes) -> None:
        await nudges.put(subject)

    await bus.subscribe("territoire.downlink.*", collect)
    created = await client.post(
        PATH, json={"asset_id": cabinet["id"], "action": "off", "off_until": in_one_hour(), "reason": "travaux"}
    )
    command = created.json()
    downlink = await pool.fetchrow("SELECT * FROM downlink")

    assert created.status_code == 201
    assert (command["state"], command["requested_by"], command["reason"]) == ("queued", "clé de sdef", "travaux")
    assert (downlink["f_port"], downlink["payload"].hex()) == (125, "1150000600")
    assert await asyncio.wait_for(nudges.get(), 5) == f"territoire.downlink.{downlink['slot'] % 4}"
    assert (await client.get(f"{PATH}/{command['id']}")).json() == command
    assert (await client.get(PATH, params={"asset_id": cabinet["id"]})).json()["items"] == [command]


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({"action": "off"}, "une extinction doit avoir une fin"),
        ({"action": "dim"}, "cette armoire n'a pas de variateur"),
        ({"action": "on", "off_until": "2199-01-01T00:00:00Z"}, "ne s'applique pas à un allumage"),
    ],
)
async def test_a_rejected_command_says_why_in_french(client, registry, body, why) -> None:
    cabinet = await registry.cabinet()

    answer = await client.post(PATH, json={"asset_id": cabinet["id"]} | body)

    assert answer.status_code == 422
    assert why in answer.json()["detail"]


async def test_a_cabinet_that_nothing_switches_is_rejected(client, registry) -> None:
    asset = await registry.asset(kind="lighting_cabinet")

    answer = await client.post(PATH, json={"asset_id": asset["id"], "action": "on"})

    assert answer.status_code == 422
    assert "aucun équipement ne commande cette armoire" in answer.json()["detail"]


async def test_another_tenants_cabinet_does_not_exist(registry, other_client, pool: Pool) -> None:
    cabinet = await registry.cabinet()

    answer = await other_client.post(PATH, json={"asset_id": cabinet["id"], "action": "on"})

    assert answer.status_code == 404
    assert await pool.fetchval("SELECT count(*) FROM downlink") == 0
