import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from core.runtime.postgres import Pool
from tests.api.conftest import client_of

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
    assert command.pop("command_ids") == [command["id"]]
    assert (await client.get(f"{PATH}/{command['id']}")).json() == command
    assert (await client.get(PATH, params={"asset_id": cabinet["id"]})).json()["items"] == [command]


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({"action": "off"}, "une extinction doit avoir une fin"),
        ({"action": "dim"}, "une gradation a un niveau"),
        ({"action": "dim", "level": 50}, "cette armoire n'a pas de variateur"),
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


ACTS = """
SELECT a.name, u.due_at - u.created_at AS within, u.downlink_id IS NOT NULL AS by_downlink
FROM lighting_unknown_act u JOIN asset a ON a.id = u.asset_id ORDER BY u.id
"""


async def test_what_reaches_a_device_that_serves_lighting_has_an_end_by_whatever_route(
    client, registry, pool: Pool
) -> None:
    """Switching goes through lighting alone; all else is an unknown act. A plug keeps its own route."""
    switches = await registry.profile(codec="milesight.ws502", device_class="C", capabilities=["switch"])
    served = {}
    for kind in ("lighting_cabinet", "plug"):
        asset = await registry.asset(kind=kind, name=kind)
        served[kind] = (await registry.device(switches, asset_id=asset["id"]))["dev_eui"]
    because = {"reason": "essai", "preview": False}

    async def ordered(kind: str, name: str, **parameters: object) -> int:
        path = f"/v1/devices/{served[kind]}/commands/{name}"
        answer = await client.post(path, json=because | {"parameters": parameters})
        assert answer.status_code != 422 or PATH in answer.json()["detail"]
        return answer.status_code

    refused = [
        await ordered("lighting_cabinet", "switch_off", output=2),
        await ordered("lighting_cabinet", "switch_off"),
        await ordered("lighting_cabinet", "switch_on", output=1),
        await ordered("lighting_cabinet", "set_switches", switch_2="off"),
    ]
    none_yet = await pool.fetch(ACTS)
    own_route = await ordered("plug", "switch_off", output=2)
    raw = {"f_port": 85, "payload": "ff28ff0800ffff", "reason": "essai"}
    for dev_eui in served.values():
        assert (await client.post(f"/v1/devices/{dev_eui}/downlinks", json=raw)).status_code == 201
    configured = await ordered("lighting_cabinet", "reboot")
    group = await client.post(
        "/v1/multicast-groups",
        json={"name": "rue", "dev_addr": "00c0ffee", "nwk_s_key": "00" * 16, "app_s_key": "11" * 16},
    )
    members = f"/v1/multicast-groups/{group.json()['id']}"
    await client.put(f"{members}/devices", json={"dev_euis": list(served.values())})
    assert (await client.post(f"{members}/messages", json=raw)).status_code == 201
    acts = [tuple(row) for row in await pool.fetch(ACTS)]

    assert refused == [422] * 4
    assert (none_yet, own_route, configured) == ([], 201, 201)
    within = timedelta(hours=11, minutes=30)
    assert acts == [("lighting_cabinet", within, by_downlink) for by_downlink in (True, True, False)]


async def test_a_cabinets_circuits_are_commanded_each_on_its_output_and_protected_ones_stay_lit(
    app, client, registry, pool: Pool
) -> None:
    profile = await registry.profile(codec="watteco.ino", device_class="C", capabilities=["switch"])
    cabinet = await registry.asset(kind="lighting_cabinet")
    await registry.device(profile, asset_id=cabinet["id"])
    rows = {}
    for output, protected in (("1", False), ("2", True), ("3", False)):
        rows[output] = await pool.fetchval(
            "INSERT INTO asset (tenant_id, kind, name, parent_id, attributes) "
            "SELECT tenant_id, 'lighting_circuit', $2, id, $3 FROM asset WHERE id = $1 RETURNING id",
            *(cabinet["id"], f"départ {output}", {"output": output, "protected": protected}),
        )
    valve = await registry.asset(kind="valve")

    async def command(asset_id: int, action: str = "off", **more: object) -> tuple[int, dict]:
        until = {"off_until": in_one_hour()} if action == "off" else {}
        answer = await client.post(PATH, json={"asset_id": asset_id, "action": action} | until | more)
        return answer.status_code, answer.json()

    protected = await command(rows["2"])
    other = await command(valve["id"])
    put_out = await command(cabinet["id"])
    sent = [row[0] for row in await pool.fetch("SELECT encode(payload, 'hex') FROM downlink ORDER BY id")]
    lit = await command(cabinet["id"], "on")
    listed = (await client.get(PATH, params={"asset_id": cabinet["id"]})).json()["items"]
    limited = {"name": "armoires", "roles": ["read", "lighting"], "asset_kinds": ["lighting_cabinet"]}
    key = (await client.post("/v1/api-keys", json=limited)).json()["key"]
    async with client_of(app, key) as blind:
        unseen = await blind.post(
            PATH, json={"asset_id": cabinet["id"], "action": "off", "off_until": in_one_hour()}
        )
    [shown] = [
        one for one in (await client.get("/v1/lighting/cabinets")).json()["items"] if one["id"] == cabinet["id"]
    ]

    assert (protected[0], "protégé" in protected[1]["detail"]) == (422, True)
    assert (other[0], "ni une armoire" in other[1]["detail"]) == (422, True)
    assert (unseen.status_code, "pas visibles" in unseen.text) == (422, True)
    assert (put_out[0], len(put_out[1]["command_ids"])) == (201, 2)
    assert sent == ["1150000600", "5150000600"]
    assert (lit[0], len(lit[1]["command_ids"])) == (201, 3)
    assert len(listed) == 5
    assert shown["command"]["id"] == lit[1]["command_ids"][-1]
    assert await pool.fetchval("SELECT count(*) FROM lighting_unknown_act") == 0
