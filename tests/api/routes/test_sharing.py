from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from core.runtime.postgres import Pool

Grant = Callable[..., Awaitable[dict[str, Any]]]
NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)


def ids(page: httpx.Response) -> list[int]:
    return [item["id"] for item in page.json()["items"]]


@pytest.fixture
async def school(registry, observations) -> dict[str, Any]:
    """An asset of ours with a device and a reading on each of the last three days, tagged `ecoles`."""
    asset = await registry.asset(kind="room", name="Salle 1", tags=["ecoles"])
    device = await registry.device(asset_id=asset["id"])
    datastream = await observations.datastream(device["dev_eui"], asset["id"], "temperature", "Cel")
    await observations.readings(datastream, {NOW - day * DAY: 20.0 + day for day in (3, 2, 1)})
    for day in (3, 2, 1):
        await observations.uplink(device["dev_eui"], NOW - day * DAY)
    return {"asset": asset, "dev_eui": device["dev_eui"], "datastream": datastream}


@pytest.fixture
def grant(client, other_client) -> Grant:
    """Offers a grant to the other tenant, which accepts it; what that one then reads."""

    async def given(**fields: Any) -> dict[str, Any]:
        offered = await client.post("/v1/grants", json={"tenant": "autre", **fields})
        assert offered.status_code == 201, offered.text
        answer = await other_client.post(f"/v1/grants/{offered.json()['id']}/accept")
        assert answer.status_code == 200, answer.text
        return answer.json()

    return given


async def seen_days(client: httpx.AsyncClient, datastream: int) -> list[float]:
    page = await client.get(
        f"/v1/datastreams/{datastream}/measurements", params={"from": (NOW - 10 * DAY).isoformat()}
    )
    return [] if page.status_code == 404 else [item["value"] for item in page.json()["items"]]


async def test_a_grantee_sees_the_granted_instants_while_it_may_look(
    client, grant: Grant, other_client, registry, school, other_tenancy
) -> None:
    await registry.asset(kind="room", name="Salle 2")
    assert await seen_days(other_client, school["datastream"]) == []
    data = {"data_from": (NOW - 2 * DAY).isoformat(), "data_to": (NOW - DAY).isoformat()}

    given = await grant(tag="ecoles", **data)

    assert given["holds"]
    assert given["giver"] == "sdef"
    assert await seen_days(other_client, school["datastream"]) == [22.0]
    assert ids(await other_client.get("/v1/assets")) == [school["asset"]["id"]]
    latest = (await other_client.get("/v1/measurements/latest")).json()["items"]
    assert latest == []  # It lies after the granted instants.
    await client.delete(f"/v1/grants/{given['id']}")
    assert await seen_days(other_client, school["datastream"]) == []
    assert ids(await other_client.get("/v1/assets")) == []


@pytest.mark.parametrize(
    ("valid_from", "valid_to", "sees"),
    [(-DAY, None, True), (DAY, None, False), (-2 * DAY, -DAY, False), (-DAY, DAY, True)],
)
async def test_a_grant_opens_nothing_before_and_after_its_time(
    client, grant: Grant, other_client, other_tenancy, school, valid_from, valid_to, sees
) -> None:
    given = await grant(
        asset_id=school["asset"]["id"],
        valid_from=(NOW + valid_from).isoformat(),
        valid_to=None if valid_to is None else (NOW + valid_to).isoformat(),
    )

    assert given["holds"] is sees
    assert (len(await seen_days(other_client, school["datastream"])) == 3) is sees
    received = await other_client.get("/v1/grants", params={"direction": "received"})
    assert ids(received) == [given["id"]]
    assert ids(await other_client.get("/v1/grants", params={"direction": "given"})) == []


async def test_what_is_shared_is_read_and_not_changed(
    client, grant: Grant, other_client, other_registry, other_tenancy, school, observations, pool: Pool
) -> None:
    await grant(everything=True, role="operator")
    asset, dev_eui = school["asset"]["id"], school["dev_eui"]
    device = (await other_client.get(f"/v1/devices/{dev_eui}")).json()
    own = await other_registry.device()
    lines = await pool.fetchval("SELECT count(*) FROM audit")

    answers = [
        await other_client.patch(f"/v1/assets/{asset}", json={"name": "x"}),
        await other_client.put(f"/v1/assets/{asset}/device", json={"dev_eui": own["dev_eui"]}),
        await other_client.delete(f"/v1/assets/{asset}/device"),
        await other_client.post(
            f"/v1/assets/{asset}/transfer", json={"tenant": "autre", "history": "stays", "confirm": "Salle 1"}
        ),
        await other_client.get(f"/v1/assets/{asset}/visibility"),
        await other_client.patch(f"/v1/devices/{dev_eui}", json={"name": "x"}),
        await other_client.delete(f"/v1/devices/{dev_eui}"),
        await other_client.post(f"/v1/devices/{dev_eui}/downlinks", json={"f_port": 1, "payload": "00"}),
        await other_client.post("/v1/grants", json={"tenant": "sdef", "asset_id": asset}),
    ]

    assert [answer.status_code for answer in answers] == [403] * len(answers)
    assert "lecture seule" in answers[0].json()["detail"]
    assert "app_key" not in str(device)
    assert await pool.fetchval("SELECT count(*) FROM audit WHERE action <> 'reject'") == lines
    uplinks = (await other_client.get(f"/v1/devices/{dev_eui}/uplinks")).json()["items"]
    assert uplinks == []  # The device serves the asset since a moment ago only.


async def test_what_is_seen_of_others_serves_nothing_of_ones_own(
    client, other_client, registry, other_registry, tenancy, other_tenancy, pool: Pool
) -> None:
    """A device of a commune is not assigned by its syndicat, nor does a profile of the commune make a device."""
    theirs = await registry.device(asset_id=(await registry.asset())["id"])
    own = await other_registry.asset()
    own_device = await other_registry.device()
    await client.put(f"/v1/tenants/{tenancy.id}/member-of", json={"tenant_id": other_tenancy.id})
    seen = await other_client.get(f"/v1/devices/{theirs['dev_eui']}")
    profile = theirs["device_profile_id"]
    new = {
        "dev_eui": "70b3d57ed0ffff01",
        "join_eui": "70b3d57ed0000001",
        "name": "n",
        "device_profile_id": profile,
        "activation": "OTAA",
        "app_key": "00112233445566778899aabbccddeeff",
    }
    lines = await pool.fetchval("SELECT count(*) FROM audit")

    answers = [
        await other_client.put(f"/v1/assets/{own['id']}/device", json={"dev_eui": theirs["dev_eui"]}),
        await other_client.post("/v1/devices", json=new),
        await other_client.patch(f"/v1/devices/{own_device['dev_eui']}", json={"device_profile_id": profile}),
    ]

    assert seen.status_code == 200
    assert [answer.status_code for answer in answers] == [404, 404, 404]
    assert await pool.fetchval("SELECT count(*) FROM audit WHERE action <> 'reject'") == lines
    serving = (await client.get(f"/v1/devices/{theirs['dev_eui']}")).json()
    assert serving["asset_id"] == theirs["asset_id"]


async def test_personal_data_is_shared_by_name_only(
    client, grant: Grant, other_client, other_tenancy, registry
) -> None:
    private = await registry.asset(kind="dwelling", privacy_class=2, tags=["eau"])
    for covered in ({"tag": "eau"}, {"asset_kind": "dwelling"}, {"everything": True}):
        await grant(**covered)
    before = ids(await other_client.get("/v1/assets"))

    await grant(asset_id=private["id"])

    assert before == []
    assert ids(await other_client.get("/v1/assets")) == [private["id"]]


@pytest.mark.parametrize("covered", [{"tag": "portail"}, {"asset_kind": "lighting_cabinet"}, {"everything": True}])
async def test_personal_data_that_is_shared_by_name_is_not_operated_by_a_wider_grant(
    client, grant: Grant, other_client, other_tenancy, registry, covered
) -> None:
    personal = await registry.cabinet(privacy_class=2, tags=["portail"])
    street = await registry.cabinet(privacy_class=1, tags=["portail"])
    await grant(asset_id=personal["id"], role="reader")
    await grant(**covered, role="operator")

    async def switch_on(cabinet: dict[str, Any]) -> int:
        order = {"asset_id": cabinet["id"], "action": "on"}
        return (await other_client.post("/v1/lighting/commands", json=order)).status_code

    by_the_wider = await switch_on(street), await switch_on(personal)
    await grant(asset_id=personal["id"], role="operator")
    by_name = await switch_on(personal)

    assert by_the_wider == (201, 403)
    assert by_name == 201


async def test_an_operator_acts_in_the_owners_name_and_both_read_it_in_their_audit(
    client, grant: Grant, other_client, registry, other_tenancy, tenancy, observations, pool: Pool
) -> None:
    cabinet = await registry.cabinet()
    alert = await observations.alert(tenancy.id, cabinet["id"])
    order = {"asset_id": cabinet["id"], "action": "on"}
    reader = await grant(asset_id=cabinet["id"], role="reader")
    as_reader = [
        await other_client.post("/v1/lighting/commands", json=order),
        await other_client.post(f"/v1/alerts/{alert}/acknowledge"),
    ]
    await client.delete(f"/v1/grants/{reader['id']}")
    await grant(asset_id=cabinet["id"], role="operator")

    command = await other_client.post("/v1/lighting/commands", json=order)
    acknowledged = await other_client.post(f"/v1/alerts/{alert}/acknowledge")

    assert [answer.status_code for answer in as_reader] == [403, 403]
    assert (command.status_code, acknowledged.status_code) == (201, 200)
    assert command.json()["requested_by"] == "clé de autre (autre)"
    assert ids(await client.get("/v1/lighting/commands")) == [command.json()["id"]]
    assert (await client.get(f"/v1/alerts/{alert}")).json()["workflow"] == "acknowledged"
    noted = await pool.fetch(
        "SELECT tenant_id, action, entity FROM audit WHERE entity IN ('lighting_command', 'alert') ORDER BY id"
    )
    assert [tuple(line) for line in noted] == [
        (tenancy.id, "create", "lighting_command"),
        (other_tenancy.id, "create", "lighting_command"),
        (tenancy.id, "acknowledge", "alert"),
        (other_tenancy.id, "acknowledge", "alert"),
    ]


async def test_a_syndicat_sees_its_communes_and_a_commune_itself(
    client, other_client, registry, other_registry, tenancy, other_tenancy
) -> None:
    asset = await registry.asset()
    theirs = await other_registry.asset()
    gateway = await registry.gateway()

    joined = await client.put(f"/v1/tenants/{tenancy.id}/member-of", json={"tenant_id": other_tenancy.id})

    assert joined.json()["member_of"] == other_tenancy.id
    assert ids(await other_client.get("/v1/assets")) == [asset["id"], theirs["id"]]
    assert ids(await other_client.get("/v1/assets", params={"tenant_id": tenancy.id})) == [asset["id"]]
    assert ids(await client.get("/v1/assets")) == [asset["id"]]
    gateways = (await other_client.get("/v1/gateways")).json()["items"]
    assert [item["gateway_id"] for item in gateways] == [gateway["gateway_id"]]
    patched = await other_client.patch(f"/v1/assets/{asset['id']}", json={"name": "x"})
    assert patched.status_code == 403
    seen = (await client.get(f"/v1/assets/{asset['id']}/visibility")).json()
    assert [above["slug"] for above in seen["above"]] == ["autre"]
    circle = await client.put(f"/v1/tenants/{other_tenancy.id}/member-of", json={"tenant_id": tenancy.id})
    assert circle.status_code == 422
    assert "elle-même" in circle.json()["detail"]
    left = await client.put(f"/v1/tenants/{tenancy.id}/member-of", json={"tenant_id": None})
    assert left.json()["member_of"] is None
    assert ids(await other_client.get("/v1/assets")) == [theirs["id"]]


async def test_the_owner_reads_who_sees_an_asset(client, grant: Grant, other_tenancy, school) -> None:
    by_tag = await grant(tag="ecoles")
    later = await grant(everything=True, valid_from=(NOW + DAY).isoformat())
    await grant(asset_kind="cabinet")
    revoked = await grant(asset_id=school["asset"]["id"])
    await client.delete(f"/v1/grants/{revoked['id']}")

    seen = (await client.get(f"/v1/assets/{school['asset']['id']}/visibility")).json()

    assert [(one["id"], one["holds"]) for one in seen["grants"]] == [(by_tag["id"], True), (later["id"], False)]


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({}, 422),
        ({"tag": "a", "everything": True}, 422),
        ({"everything": True, "tenant": "sdef"}, 422),
        ({"asset_id": 999}, 404),
        ({"everything": True, "role": "owner"}, 422),
        ({"everything": True, "valid_to": "2020-01-01T00:00:00Z"}, 422),
        ({"everything": True, "data_from": "2026-01-02T00:00:00Z", "data_to": "2026-01-01T00:00:00Z"}, 422),
    ],
)
async def test_a_grant_that_makes_no_sense_is_rejected(client, other_tenancy, fields, status) -> None:
    answer = await client.post("/v1/grants", json={"tenant": "autre", **fields})

    assert answer.status_code == status


async def transfer(client: httpx.AsyncClient, school: dict[str, Any], history: str, confirm: str = "Salle 1"):
    body = {"tenant": "autre", "history": history, "confirm": confirm}
    return await client.post(f"/v1/assets/{school['asset']['id']}/transfer", json=body)


@pytest.fixture
def move(client, other_client, school) -> Callable[[str], Awaitable[httpx.Response]]:
    """Offers the asset, and answers with what its acceptance does."""

    async def moved(history: str) -> httpx.Response:
        offered = await transfer(client, school, history)
        assert offered.status_code == 201, offered.text
        return await other_client.post(f"/v1/transfers/{offered.json()['id']}/accept")

    return moved


async def backdate(pool: Pool, school: dict[str, Any]) -> None:
    """As if the device had served the asset for ten days."""
    await pool.execute("UPDATE assignment SET during = tstzrange(now() - interval '10 days', NULL)")


async def days_of_uplinks(client: httpx.AsyncClient, dev_eui: str) -> int:
    page = await client.get(f"/v1/devices/{dev_eui}/uplinks")
    return 0 if page.status_code == 404 else len(page.json()["items"])


async def test_an_asset_goes_to_another_tenant_with_its_history(
    client, move, grant: Grant, other_client, other_tenancy, tenancy, school, observations, pool: Pool
) -> None:
    await backdate(pool, school)
    await grant(asset_id=school["asset"]["id"])
    await pool.execute("UPDATE device_profile SET rx1_delay = 5, adr = false, adr_max_tx_power = 3")
    version = await pool.fetchval("SELECT max(version) FROM registry_change")

    moved = (await move("goes_along")).json()

    assert [moved[name] for name in ("asset_id", "state", "history", "kept_as")] == [
        school["asset"]["id"],
        "accepted",
        "goes_along",
        None,
    ]
    assert ids(await client.get("/v1/assets")) == []
    assert await seen_days(client, school["datastream"]) == []
    assert await seen_days(other_client, school["datastream"]) == [23.0, 22.0, 21.0]
    asset = (await other_client.get(f"/v1/assets/{school['asset']['id']}")).json()
    assert asset["tenant_id"] == other_tenancy.id
    assert [device["dev_eui"] for device in asset["devices"]] == [school["dev_eui"]]
    assert await days_of_uplinks(other_client, school["dev_eui"]) == 3
    assert await days_of_uplinks(client, school["dev_eui"]) == 0
    told = await pool.fetch("SELECT DISTINCT entity FROM registry_change WHERE version > $1", version)
    assert {"asset", "device"} <= {row["entity"] for row in told}
    lines = await pool.fetch(
        "SELECT tenant_id, action FROM audit WHERE action IN ('transfer', 'receive') ORDER BY id"
    )
    assert [tuple(line) for line in lines] == [(tenancy.id, "transfer"), (other_tenancy.id, "receive")]
    profile = (await other_client.get(f"/v1/devices/{school['dev_eui']}")).json()["device_profile_id"]
    theirs = (await other_client.get(f"/v1/device-profiles/{profile}")).json()
    assert (theirs["tenant_id"], theirs["rx1_delay"], theirs["adr"], theirs["adr_max_tx_power"]) == (
        other_tenancy.id,
        5,
        False,
        3,
    )
    patched = await other_client.patch(f"/v1/devices/{school['dev_eui']}", json={"name": "à nous"})
    assert patched.status_code == 200


async def test_an_asset_goes_to_another_tenant_and_its_history_stays(
    client, move, other_client, other_tenancy, tenancy, school, observations, pool: Pool
) -> None:
    await backdate(pool, school)

    moved = await move("stays")

    assert moved.json()["kept_as"] is None  # It is the giver's.
    memory = (await client.get(f"/v1/transfers/{moved.json()['id']}")).json()["kept_as"]
    assert ids(await client.get("/v1/assets")) == [memory]
    assert (await client.get(f"/v1/assets/{memory}")).json()["devices"] == []
    assert await seen_days(client, school["datastream"]) == [23.0, 22.0, 21.0]
    assert await seen_days(other_client, school["datastream"]) == []
    again = await observations.datastream(school["dev_eui"], school["asset"]["id"], "temperature", "Cel")
    assert again != school["datastream"]
    assert ids(await other_client.get("/v1/datastreams")) == [again]
    assert await days_of_uplinks(other_client, school["dev_eui"]) == 0
    assert await days_of_uplinks(client, school["dev_eui"]) == 3
    await observations.uplink(school["dev_eui"], datetime.now(UTC))
    assert await days_of_uplinks(other_client, school["dev_eui"]) == 1
    assert await days_of_uplinks(client, school["dev_eui"]) == 3


async def test_a_datastream_that_is_made_by_who_has_not_received_belongs_to_the_new_owner(
    client, move, other_client, other_tenancy, tenancy, school, pool: Pool
) -> None:
    await move("goes_along")

    owner = await pool.fetchval(
        "INSERT INTO datastream (tenant_id, asset_id, device_id, quantity, unit) "
        "SELECT $1, $2, id, 'co2', '[ppm]' FROM device WHERE dev_eui = $3 RETURNING tenant_id",
        tenancy.id,
        school["asset"]["id"],
        bytes.fromhex(school["dev_eui"]),
    )

    assert owner == other_tenancy.id


async def test_a_transfer_is_confirmed_and_waits_for_what_is_under_way(
    client, other_client, other_registry, other_tenancy, school, pool: Pool
) -> None:
    unconfirmed = await transfer(client, school, "stays", confirm="Salle 2")
    path = f"/v1/devices/{school['dev_eui']}/downlinks"
    await client.post(path, json={"f_port": 1, "payload": "00"})
    offered = await transfer(client, school, "stays")
    accept = f"/v1/transfers/{offered.json()['id']}/accept"
    commanded = await other_client.post(accept)
    await pool.execute("UPDATE downlink SET state = 'cancelled'")
    await other_registry.asset(kind="room", name="Salle 1")
    taken = await other_client.post(accept)

    assert unconfirmed.json()["errors"][0]["field"] == "body.confirm"
    assert commanded.status_code == 409
    assert "en cours" in commanded.json()["detail"]
    assert taken.status_code == 409
    assert ids(await client.get("/v1/assets")) == [school["asset"]["id"]]


async def test_a_grant_or_transfer_takes_effect_when_its_receiver_accepts_it(
    client, other_client, other_tenancy, school, pool: Pool
) -> None:
    offer = {"tenant": "autre", "asset_id": school["asset"]["id"]}
    offered = [(await client.post("/v1/grants", json=offer)).json()["id"] for _ in range(4)]
    moving = (await transfer(client, school, "stays")).json()["id"]
    second = await transfer(client, school, "stays")
    seen = [(one["state"], one["holds"], one["giver"]) for one in await items(other_client, "grants")]
    before = await seen_days(other_client, school["datastream"])
    by_giver = [
        await client.post(f"/v1/{path}/accept") for path in (f"grants/{offered[0]}", f"transfers/{moving}")
    ]
    await client.delete(f"/v1/grants/{offered[1]}")
    await pool.execute("UPDATE access_grant SET offer_ends_at = now() WHERE id = $1", offered[2])
    answers = [await other_client.post(f"/v1/grants/{one}/accept") for one in offered[:3]]
    refused = await other_client.post(f"/v1/grants/{offered[3]}/reject")
    again = await other_client.post(f"/v1/grants/{offered[3]}/accept")
    told = [(one["state"], one["grantee_name"]) for one in await items(client, "grants")]
    after = await seen_days(other_client, school["datastream"])
    await client.delete(f"/v1/transfers/{moving}")
    too_late = await other_client.post(f"/v1/transfers/{moving}/accept")
    declined = (await transfer(client, school, "stays")).json()["id"]
    await other_client.post(f"/v1/transfers/{declined}/reject")

    assert seen == [("offered", False, "sdef")] * 4
    assert (len(before), len(after)) == (0, 3)
    assert (second.status_code, [answer.status_code for answer in by_giver]) == (409, [409, 409])
    assert [answer.status_code for answer in answers] == [200, 409, 409]
    assert (refused.json()["state"], again.status_code) == ("rejected", 409)
    assert told == [("accepted", "AUTRE"), ("withdrawn", None), ("expired", None), ("rejected", None)]
    assert too_late.status_code == 409
    assert [one["state"] for one in await items(client, "transfers")] == ["withdrawn", "rejected"]
    assert [one["state"] for one in await items(other_client, "transfers")] == ["withdrawn", "rejected"]
    assert ids(await client.get("/v1/assets")) == [school["asset"]["id"]]
    noted = await pool.fetch("SELECT DISTINCT action, entity FROM audit WHERE entity IN ('grant', 'transfer')")
    assert {tuple(line) for line in noted} >= {
        ("accept", "grant"),
        ("reject", "grant"),
        ("reject", "transfer"),
        ("withdraw", "transfer"),
    }


async def test_an_offer_does_not_tell_which_tenants_there_are(client, other_tenancy, school, pool: Pool) -> None:
    """To a name that nobody has, the answers are the same until it expires."""

    async def answers_to(slug: str) -> list[Any]:
        grant = await client.post("/v1/grants", json={"tenant": slug, "everything": True})
        body = {"tenant": slug, "history": "stays", "confirm": "Salle 1"}
        moving = await client.post(f"/v1/assets/{school['asset']['id']}/transfer", json=body)
        answers = [
            grant,
            moving,
            await client.post(f"/v1/grants/{grant.json()['id']}/accept"),
            await client.get(f"/v1/transfers/{moving.json()['id']}"),
            await client.delete(f"/v1/transfers/{moving.json()['id']}"),
        ]
        numbers = {"id", "created_at", "offer_ends_at", "valid_from"}
        return [
            (one.status_code, {k: v for k, v in (one.json() if one.content else {}).items() if k not in numbers})
            for one in answers
        ]

    known, unknown = await answers_to("autre"), await answers_to("metz")

    assert str(known).replace("autre", "metz") == str(unknown)


async def items(client: httpx.AsyncClient, what: str) -> list[dict[str, Any]]:
    return (await client.get(f"/v1/{what}")).json()["items"]
