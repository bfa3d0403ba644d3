import asyncio
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from core.runtime.postgres import Pool
from decoders.territoire.clock import CODEC
from ingest.pipeline import as_json
from lab.device.application import Message
from lab.device.lamp_clock import LampClock
from lighting.shadows import read_reports, write_desired
from lighting.sweep import advance_commands, relight
from registry.datastreams import make_datastream
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


@pytest.fixture
async def clock_cabinet(registry, pool: Pool):
    """The asset id of a cabinet with a clock, its device's, and how the simulated clock takes what was sent."""
    profile = await registry.profile(
        codec="territoire.clock", device_class="C", capabilities=["switch", "dim", "program"]
    )
    asset = await registry.asset(kind="lighting_cabinet", latitude=48.39, longitude=-4.49)
    device = await registry.device(profile, asset_id=asset["id"])
    id_ = await pool.fetchval("SELECT id FROM device WHERE dev_eui = $1", bytes.fromhex(device["dev_eui"]))
    return asset["id"], id_


async def deliver(pool: Pool, clock: LampClock, device: int, asset: int, now: datetime) -> list[str]:
    """The clock takes every message that waits, and what it answers is stored as ingest does; the messages."""
    rows = await pool.fetch(
        "UPDATE downlink SET state = 'sent', sent_at = $1 WHERE state = 'queued' AND device_id = $2 "
        "RETURNING f_port, payload, tenant_id",
        *(now, device),
    )
    at = now + timedelta(seconds=2)
    for row in rows:
        answer = clock.on_downlink(Message(row["f_port"], row["payload"]), round(at.timestamp() * 1_000_000))
        assert answer is not None
    if rows:
        decoded = CODEC.decode(answer.f_port, answer.payload, round(at.timestamp() * 1_000_000), {})
        await pool.execute(
            "INSERT INTO observation.uplink (device_id, time, uplink_id, f_port, payload, received_at, status, "
            "codec, codec_version, decoded) "
            "VALUES ($1, $2, $3, $4, $5, $2, 'decoded', 'territoire.clock', 1, $6::text::jsonb)",
            *(device, at, uuid4(), answer.f_port, answer.payload, as_json(decoded).decode()),
        )
        for one in decoded.readings:
            stream = await make_datastream(
                pool, tenant_id=rows[0]["tenant_id"], asset_id=asset, device_id=device, position="",
                channel=one.channel, quantity=one.quantity, unit="1",
            )  # fmt: skip
            await pool.execute(
                "INSERT INTO observation.measurement VALUES ($1, $2, $3, 0)", stream.id, at, one.value
            )
    return [row["payload"].hex() for row in rows]


async def test_a_cabinet_with_a_clock_is_commanded_by_overrides_that_end_by_themselves(
    client, clock_cabinet, pool: Pool
) -> None:
    asset, device = clock_cabinet
    clock, now = LampClock((1_000,), own_position=(48.39, -4.49)), datetime.now(UTC)

    async def command(action: str, at: datetime, **more: object) -> tuple[str, list[int], bytes]:
        """Its state once the clock has said its own, what the clock gives then, and the octets."""
        answer = await client.post(PATH, json={"asset_id": asset, "action": action} | more)
        assert answer.status_code == 201, answer.text
        [sent] = await deliver(pool, clock, device, asset, at)
        await advance_commands(pool, at + timedelta(seconds=1))
        # It has answered by itself, and is not asked.
        assert await deliver(pool, clock, device, asset, at + timedelta(seconds=3)) == []
        await advance_commands(pool, at + timedelta(seconds=6))
        state = (await client.get(f"{PATH}/{answer.json()['id']}")).json()["state"]
        return state, clock.levels(round(at.timestamp() * 1_000_000)), bytes.fromhex(sent)

    end = (now + timedelta(hours=2)).replace(microsecond=0)
    lit = await command("on", now)
    dimmed = await command("dim", now + timedelta(seconds=10), level=40)
    off = await command("off", now + timedelta(seconds=20), off_until=end.isoformat())

    assert (lit[:2], dimmed[:2], off[:2]) == (("applied", [100]), ("applied", [40]), ("applied", [0]))
    assert [frame[1:4].hex() for _, _, frame in (lit, dimmed, off)] == ["006490", "002890", "000018"]
    assert lit[2][0] != 0
    assert abs(int.from_bytes(lit[2][4:]) - (now + timedelta(hours=12)).timestamp()) < 60
    assert int.from_bytes(off[2][4:]) == end.timestamp()
    assert await pool.fetchval("SELECT count(*) FROM lighting_unknown_act") == 0


@pytest.mark.parametrize(
    ("program", "obeys", "outcomes"),
    [
        ({"default": {"on": "12:00", "off": "11:59"}}, True, ["asked_at_end", "lit_by_itself"]),
        ({"default": {"on": "12:00", "off": "11:59"}}, False, ["asked_at_end", "relit"]),
        ({"default": {"lit": False}}, True, ["dark_by_program"]),
    ],
)
async def test_a_clock_ends_an_off_by_itself_and_is_sent_an_on_only_if_it_does_not_say_so(
    client, clock_cabinet, pool: Pool, program, obeys, outcomes
) -> None:
    asset, device = clock_cabinet
    made = (await client.post("/v1/lighting-programs", json={"name": "P", "program": program})).json()
    given = {"program_id": made["id"], "asset_ids": [asset]}
    assert (await client.post("/v1/lighting-programs/assignments", json=given)).is_success
    clock = LampClock((1_000,), local_level=None if obeys else 0)
    # Never in the minute about noon.
    end = (datetime.now(UTC) + timedelta(hours=1)).replace(minute=30, second=0, microsecond=0)
    body = {"asset_id": asset, "action": "off", "off_until": end.isoformat()}
    assert (await client.post(PATH, json=body)).status_code == 201
    await deliver(pool, clock, device, asset, datetime.now(UTC))

    found = (await relight(pool, end)).outcomes
    await deliver(pool, clock, device, asset, end + timedelta(seconds=1))
    for minutes in (1, 3, 5):
        found += (await relight(pool, end + timedelta(minutes=minutes))).outcomes
    rows = await pool.fetch("SELECT action, relight_at IS NOT NULL FROM lighting_command ORDER BY id")
    waiting = await pool.fetchval("SELECT encode(payload, 'hex') FROM downlink WHERE state = 'queued'")

    assert found == outcomes
    if "relit" in outcomes:
        assert [tuple(row) for row in rows] == [("off", False), ("on", True)]
        assert waiting[2:8] == "006490"
        assert int(waiting[8:], 16) == (end + timedelta(hours=12)).timestamp()
    else:
        assert [tuple(row) for row in rows] == [("off", False)]
        assert waiting is None


async def test_a_clock_that_drifts_is_sent_its_program_and_proves_it_by_the_hash(
    client, registry, clock_cabinet, pool: Pool
) -> None:
    asset, device = clock_cabinet
    relay = (await registry.cabinet())["id"]
    clock, now = LampClock((1_000,), own_position=(48.39, -4.49)), datetime.now(UTC)

    async def send(id_: int) -> tuple[int, dict]:
        answer = await client.post(f"/v1/lighting/shadows/{id_}/program")
        return answer.status_code, answer.json()

    await write_desired(pool, now)
    silent, on_platform = await send(asset), await send(relay)
    await client.post(PATH, json={"asset_id": asset, "action": "on"})
    await deliver(pool, clock, device, asset, now)
    await read_reports(pool, now)
    status, sent = await send(asset)
    [payload] = await deliver(pool, clock, device, asset, now + timedelta(seconds=10))
    await read_reports(pool, now)
    [shadow] = (await client.get("/v1/lighting/shadows?holds_program=true")).json()["items"]
    held = await send(asset)

    assert (silent[0], "n'a encore rien dit" in silent[1]["detail"]) == (409, True)
    assert (on_platform[0], "dépend de la plateforme" in on_platform[1]["detail"]) == (409, True)
    assert (status, sent["asset_id"], clock.program.hex()) == (201, asset, payload)
    assert (shadow["drifts"], shadow["reported_hash"]) == (False, sent["program_hash"])
    assert held[0] == 409
    assert await pool.fetchval("SELECT count(*) FROM lighting_unknown_act") == 0
