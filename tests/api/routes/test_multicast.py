import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from core.runtime.postgres import Pool
from registry.keys import KeyWrap, row_owner
from tests.api.conftest import KEK

PATH = "/v1/multicast-groups"
NWK_S_KEY, APP_S_KEY = "000102030405060708090a0b0c0d0e0f", "0f0e0d0c0b0a09080706050403020100"
GROUP = {"name": "Rue de Brest", "dev_addr": "00c0ffee", "nwk_s_key": NWK_S_KEY, "app_s_key": APP_S_KEY}
EM_PORT = {"f_port": 10, "payload": "0132"}


async def created(client, **fields):
    answer = await client.post(PATH, json=GROUP | fields)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def lamp(registry) -> str:
    """A class C device that switches nothing."""
    return (await registry.device(await registry.profile(device_class="C")))["dev_eui"]


async def test_a_group_is_created_given_members_and_read_back_without_its_keys(
    client, registry, pool: Pool
) -> None:
    group = await created(client)
    members = sorted([await lamp(registry), await lamp(registry)])

    answer = await client.put(f"{PATH}/{group['id']}/devices", json={"dev_euis": members})
    row = await pool.fetchrow("SELECT nwk_s_key_wrapped, app_s_key_wrapped, sealed_for FROM multicast_group")

    assert answer.status_code == 200, answer.text
    assert answer.json() == group | {"dev_euis": members}
    assert (await client.get(f"{PATH}/{group['id']}")).json() == answer.json()
    assert (await client.get(PATH)).json()["items"] == [answer.json()]
    assert not {"nwk_s_key", "app_s_key"} & group.keys()

    def opened(kind: str) -> str:
        owner = row_owner("multicast_group", row["sealed_for"], kind)
        return KeyWrap("kek-1", KEK).unwrap(row[f"{kind}_wrapped"], owner).hex()

    assert opened("nwk_s_key") == NWK_S_KEY
    assert opened("app_s_key") == APP_S_KEY


async def test_members_are_replaced(client, registry) -> None:
    group = await created(client)
    first, second = await lamp(registry), await lamp(registry)
    await client.put(f"{PATH}/{group['id']}/devices", json={"dev_euis": [first]})

    answer = await client.put(f"{PATH}/{group['id']}/devices", json={"dev_euis": [second, second]})

    assert answer.json()["dev_euis"] == [second]


async def test_only_class_c_devices_of_ones_own_can_be_members(client, registry, other_registry) -> None:
    group = await created(client)
    class_a = (await registry.device())["dev_eui"]
    theirs = await lamp(other_registry)

    refused = await client.put(f"{PATH}/{group['id']}/devices", json={"dev_euis": [class_a]})
    unknown = await client.put(f"{PATH}/{group['id']}/devices", json={"dev_euis": [theirs]})

    assert (refused.status_code, refused.json()["errors"][0]["code"]) == (422, "class")
    assert unknown.status_code == 404


async def test_a_message_waits_in_its_row_and_its_owner_is_nudged(client, registry, bus, pool: Pool) -> None:
    group = await created(client)
    await client.put(f"{PATH}/{group['id']}/devices", json={"dev_euis": [await lamp(registry)]})
    nudges: asyncio.Queue[str] = asyncio.Queue()

    async def collect(subject: str, _data: bytes) -> None:
        await nudges.put(subject)

    await bus.subscribe("territoire.downlink.*", collect)
    answer = await client.post(f"{PATH}/{group['id']}/messages", json=EM_PORT)
    row = await pool.fetchrow("SELECT * FROM multicast_message")

    assert answer.status_code == 201, answer.text
    assert (answer.json()["state"], answer.json()["payload"]) == ("queued", "0132")
    assert row["slot"] == group["id"] & 15
    assert await asyncio.wait_for(nudges.get(), 5) == f"territoire.downlink.{row['slot'] % 4}"
    assert (await client.get(f"{PATH}/{group['id']}/messages")).json()["items"] == [answer.json()]


async def test_a_key_without_lighting_rights_can_neither_group_nor_command_lights(
    client, client_with, registry
) -> None:
    group = await created(client)
    cabinet = (await registry.device(await registry.cabinet_profile()))["dev_eui"]
    path = f"{PATH}/{group['id']}"

    async with client_with("read", "manage") as manager:
        grouping = await manager.put(f"{path}/devices", json={"dev_euis": [cabinet]})
        await client.put(f"{path}/devices", json={"dev_euis": [cabinet]})
        telling = await manager.post(f"{path}/messages", json=EM_PORT)
    allowed = await client.post(f"{path}/messages", json=EM_PORT | {"reason": "essai"})

    assert (grouping.status_code, telling.status_code, allowed.status_code) == (403, 403, 201)


@pytest.mark.parametrize(
    ("field", "value"),
    [("frequency", 868_650_000), ("frequency", 869_525_050), ("data_rate", 6), ("repeats", 0), ("f_cnt", 2**32)],
)
async def test_what_no_member_could_receive_is_rejected(client, field: str, value: int) -> None:
    answer = await client.post(PATH, json=GROUP | {field: value})

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == f"body.{field}"


async def test_a_message_is_useful_for_a_day_at_most(client) -> None:
    group = await created(client)
    late = (datetime.now(UTC) + timedelta(days=2)).isoformat()

    answer = await client.post(f"{PATH}/{group['id']}/messages", json=EM_PORT | {"not_after": late})

    assert answer.status_code == 422


async def test_a_group_that_is_removed_takes_its_messages_along(client, registry, pool: Pool) -> None:
    group = await created(client)
    await client.put(f"{PATH}/{group['id']}/devices", json={"dev_euis": [await lamp(registry)]})
    await client.post(f"{PATH}/{group['id']}/messages", json=EM_PORT)

    answer = await client.delete(f"{PATH}/{group['id']}")
    noted = await pool.fetchval("SELECT details->'before'->>'f_cnt' FROM audit WHERE action = 'delete'")

    assert answer.status_code == 204
    assert (await client.get(f"{PATH}/{group['id']}")).status_code == 404
    assert await pool.fetchval("SELECT count(*) FROM multicast_message") == 0
    # Who makes it again with the same keys finds here where to go on.
    assert noted == "0"
