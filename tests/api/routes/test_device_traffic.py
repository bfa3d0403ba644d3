import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from core.messages import topics
from core.messages.topics import shard_of_slot
from core.runtime.postgres import Pool

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


async def test_uplinks_name_who_received_them_when_that_is_ours(
    client, registry, other_registry, observations
) -> None:
    device = await registry.device()
    mine, theirs = await registry.gateway(name="Mairie"), await other_registry.gateway()
    await observations.uplink(device["dev_eui"], NOW, gateways=[mine["gateway_id"], theirs["gateway_id"]])

    (uplink,) = (await client.get(f"/v1/devices/{device['dev_eui']}/uplinks")).json()["items"]

    assert (uplink["time"], uplink["f_cnt"], uplink["payload"]) == ("2026-11-24T12:00:00Z", 7, "0175")
    assert uplink["decoded"] == {"a": 1}
    assert [(heard["gateway_id"], heard["gateway_name"], heard["rssi"]) for heard in uplink["receptions"]] == [
        (mine["gateway_id"], "Mairie", -80),
        (None, None, -81),
    ]


async def test_pages_of_uplinks_leave_nothing_out_also_at_one_instant(client, registry, observations) -> None:
    device = await registry.device()
    sent = [str(await observations.uplink(device["dev_eui"], NOW + timedelta(seconds=n // 3))) for n in range(7)]

    seen, cursor = [], None
    while True:
        query = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = (await client.get(f"/v1/devices/{device['dev_eui']}/uplinks", params=query)).json()
        seen += page["items"]
        cursor = page["next"]
        if cursor is None:
            break

    assert sorted(uplink["uplink_id"] for uplink in seen) == sorted(sent)
    assert [uplink["time"] for uplink in seen] == sorted((uplink["time"] for uplink in seen), reverse=True)


@pytest.mark.parametrize("cursor", ["x", "12", "12.zz", "99999999999999999999.00", "."])
async def test_a_cursor_that_no_answer_gave_is_rejected(client, registry, cursor) -> None:
    device = await registry.device()

    answer = await client.get(f"/v1/devices/{device['dev_eui']}/uplinks", params={"cursor": cursor})

    assert answer.status_code == 422


async def test_the_quarantine_of_a_device_says_why(client, registry, observations) -> None:
    device = await registry.device()
    await observations.uplink(device["dev_eui"], NOW)
    await observations.uplink(device["dev_eui"], NOW, status="undecodable")

    page = await client.get(f"/v1/devices/{device['dev_eui']}/uplinks", params={"status": "undecodable"})

    assert [uplink["reason"] for uplink in page.json()["items"]] == ["canal inconnu"]


async def test_a_raw_downlink_waits_in_its_row_and_its_owner_is_nudged(client, registry, bus, pool: Pool) -> None:
    device = await registry.device()
    slot = await pool.fetchval("SELECT slot FROM device WHERE dev_eui = $1", bytes.fromhex(device["dev_eui"]))
    nudged = asyncio.get_running_loop().create_future()

    async def collect(_subject: str, data: bytes) -> None:
        nudged.set_result(data)

    await bus.subscribe(topics.downlink_due(shard_of_slot(slot, 4)), collect)
    path = f"/v1/devices/{device['dev_eui']}/downlinks"
    created = await client.post(path, json={"f_port": 85, "payload": "FF03", "confirmed": True})
    listed = await client.get(path)

    assert created.status_code == 201
    assert (created.json()["payload"], created.json()["state"]) == ("ff03", "queued")
    assert listed.json() == {"items": [created.json()], "next": None}
    assert (
        await asyncio.wait_for(nudged, 5)
        == str(
            await pool.fetchval("SELECT id FROM device WHERE dev_eui = $1", bytes.fromhex(device["dev_eui"]))
        ).encode()
    )


@pytest.mark.parametrize(
    "spoil",
    [
        {"f_port": 0},
        {"f_port": 224},
        {"payload": "f"},
        {"payload": "zz"},
        {"payload": "00" * 243},
        {"not_after": "2020-01-01T00:00:00Z"},
        {"not_after": "2199-01-01T00:00:00Z"},
    ],
)
async def test_a_wrong_downlink_is_rejected(client, registry, spoil) -> None:
    device = await registry.device()

    answer = await client.post(
        f"/v1/devices/{device['dev_eui']}/downlinks", json={"f_port": 85, "payload": "ff"} | spoil
    )

    assert answer.status_code == 422


async def test_a_disabled_device_gets_no_downlink(client, registry) -> None:
    device = await registry.device()
    await client.patch(f"/v1/devices/{device['dev_eui']}", json={"enabled": False})

    answer = await client.post(f"/v1/devices/{device['dev_eui']}/downlinks", json={"f_port": 1, "payload": ""})

    assert answer.status_code == 409


async def test_a_raw_downlink_is_no_way_around_the_right_to_switch_lights(client, registry, client_with) -> None:
    device = await registry.device(await registry.cabinet_profile())
    path, body = (
        f"/v1/devices/{device['dev_eui']}/downlinks",
        {"f_port": 125, "payload": "1150000601", "reason": "essai"},
    )

    async with client_with("read", "manage") as manager:
        refused = await manager.post(path, json=body)
    allowed = await client.post(path, json=body)

    assert (refused.status_code, allowed.status_code) == (403, 201)


async def test_a_manager_cannot_make_a_cabinet_look_like_a_sensor_in_order_to_command_it(
    client, client_with, registry
) -> None:
    cabinet, sensor = await registry.cabinet_profile(), await registry.profile()
    device = await registry.device(cabinet)
    path, profile_path = f"/v1/devices/{device['dev_eui']}", f"/v1/device-profiles/{cabinet['id']}"

    async with client_with("read", "manage") as manager:
        answers = [
            await manager.patch(profile_path, json={"capabilities": []}),
            await manager.patch(profile_path, json={"codec": "milesight.em400"}),
            await manager.patch(path, json={"device_profile_id": sensor["id"]}),
        ]
        renamed = await manager.patch(profile_path, json={"name": "Armoires", "codec": "watteco.triphaso"})
        downlink = await manager.post(f"{path}/downlinks", json={"f_port": 125, "payload": "1150000600"})
    by_lighting = await client.patch(path, json={"device_profile_id": sensor["id"]})

    assert [answer.status_code for answer in answers] == [403, 403, 403]
    assert renamed.status_code == 200
    assert downlink.status_code == 403
    assert by_lighting.status_code == 200
