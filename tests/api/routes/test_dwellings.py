"""Dwellings over HTTP: their class, who else reads what, consents, and what the owner confirms."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from alerting.engine_store import read_watched
from core.runtime.postgres import Pool
from ingest.applications import QUEUE
from ingest.rollups import roll_up
from lorawan.instants import to_us
from tests.api.document import DOCUMENT
from tests.api.test_every_route import QUERIES

NOW = datetime.now(UTC).replace(minute=30, second=0, microsecond=0)
DAY = timedelta(days=1)
# Of which no answer to anybody else may have any: a name, a device, a value, what an alert says.
NAME, VALUE, ALERT = "Logement de Mme Unetelle", 424242.5, "robinet ouvert chez Mme Unetelle"


async def put_below(client: httpx.AsyncClient, asset: dict[str, Any], parent: dict[str, Any]) -> httpx.Response:
    return await client.put(f"/v1/assets/{asset['id']}/parent", json={"parent_id": parent["id"]})


async def class_of(client: httpx.AsyncClient, asset: dict[str, Any]) -> int:
    return (await client.get(f"/v1/assets/{asset['id']}")).json()["privacy_class"]


@pytest.fixture
async def dwelling(client, registry, observations, pool: Pool, tenancy) -> dict[str, Any]:
    """A dwelling with a meter below it, its readings of three days, its uplinks and an alert."""
    home = await registry.asset(kind="dwelling", name=NAME, street="12 rue des Lilas")
    meter = await registry.asset(kind="water_meter", name=f"Compteur, {NAME}")
    await put_below(client, meter, home)
    device = await registry.device(asset_id=meter["id"], name=f"Capteur, {NAME}")
    stream = await observations.datastream(device["dev_eui"], meter["id"], "water_volume", "L")
    await observations.readings(stream, {NOW - age * DAY: VALUE for age in (3, 2, 1)})
    await observations.uplink(device["dev_eui"], NOW - DAY)
    alert = await observations.alert(tenancy.id, meter["id"])
    await pool.execute("UPDATE alert SET message = $1", ALERT)
    await roll_up(pool, force=True)
    return {
        "home": home["id"],
        "meter": meter["id"],
        "dev_eui": device["dev_eui"],
        "stream": stream,
        "alert": alert,
    }


def requests_about(dwelling: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Every route that reads, about each object of the dwelling, and every list."""
    ids = {"asset": ("meter", "home"), "datastream": ("stream",), "alert": ("alert",)}
    span = {"from": (NOW - 10 * DAY).isoformat(), "to": NOW.isoformat()}
    # The alert is opened now, after the period.
    queries = QUERIES | {
        "/v1/alerts": {},
        "/v1/measurements/daily": span,
    }
    found: list[tuple[str, dict[str, Any]]] = []
    for path, methods in DOCUMENT["paths"].items():
        if "get" not in methods or path in {"/v1/live-frames", "/v1/oidc/login", "/v1/oidc/callback"}:
            continue
        names = {parameter["name"] for parameter in methods["get"].get("parameters", ())}
        query = queries.get(path, {name: value for name, value in span.items() if name in names})
        prefix = path.split("/")[2].removesuffix("s")
        for name in ids.get(prefix, ("meter",)):
            filled = path.replace("{dev_eui}", dwelling["dev_eui"]).replace("{id}", str(dwelling[name]))
            found.append((re.sub(r"\{\w+\}", "1", filled), query))
    return found


async def marks_seen_by(client: httpx.AsyncClient, dwelling: dict[str, Any]) -> dict[str, set[str]]:
    """What of the dwelling is in any answer, by path."""
    marks = {NAME, str(VALUE), ALERT, dwelling["dev_eui"], "rue des Lilas"}
    seen: dict[str, set[str]] = {}
    for path, query in requests_about(dwelling):
        text = (await client.get(path, params=query)).text
        if found := {mark for mark in marks if mark in text.replace("/v1/devices/" + dwelling["dev_eui"], "")}:
            seen[path] = found
    return seen


async def give(client: httpx.AsyncClient, other_client: httpx.AsyncClient, covered: dict[str, Any]) -> None:
    """A grant that the other tenant has accepted."""
    offered = await client.post("/v1/grants", json={"tenant": "autre", **covered})
    assert offered.status_code == 201, offered.text
    accepted = await other_client.post(f"/v1/grants/{offered.json()['id']}/accept")
    assert accepted.status_code == 200, accepted.text


async def test_a_dwelling_leaves_by_no_path_to_a_syndicat_or_by_a_wider_grant_and_does_by_name(
    client, other_client, tenancy, other_tenancy, dwelling, pool: Pool
) -> None:
    for covered in ({"everything": True}, {"asset_kind": "dwelling"}, {"asset_kind": "water_meter"}):
        await give(client, other_client, {"role": "operator", **covered})
    answer = await client.put(f"/v1/tenants/{tenancy.id}/member-of", json={"tenant_id": other_tenancy.id})
    assert answer.status_code in {200, 204}

    by_the_others = await marks_seen_by(other_client, dwelling)
    await pool.execute(
        "INSERT INTO observation.dwelling_day "
        "VALUES ($1, 'Landerneau', 'water_volume', $2, now(), now(), 10, 120)",
        tenancy.id,
        NOW.date() - 4 * DAY,
    )
    days = await other_client.get(
        "/v1/dwelling-days", params={"quantity": "water_volume", "from": f"{(NOW - 10 * DAY).date()}"}
    )
    assert [(item["dwellings"], item["mean"]) for item in days.json()["items"]] == [(10, 120.0)]
    viewers = (await client.get(f"/v1/assets/{dwelling['meter']}/visibility")).json()
    assert (viewers["above"], viewers["grants"]) == ([], [])
    await give(client, other_client, {"asset_id": dwelling["meter"]})
    by_name = await marks_seen_by(other_client, dwelling)
    own = await marks_seen_by(client, dwelling)

    # A 404 names the sensor that was asked for, and nothing else.
    assert {path: marks for path, marks in by_the_others.items() if marks - {dwelling["dev_eui"]}} == {}
    assert str(VALUE) in by_name[f"/v1/datastreams/{dwelling['stream']}/measurements"]
    assert ALERT in by_name["/v1/alerts"]
    assert not any(path == f"/v1/assets/{dwelling['home']}" for path in by_name)  # That one was not named.
    assert str(VALUE) in own["/v1/measurements/latest"]
    assert NAME in own[f"/v1/assets/{dwelling['home']}"]


async def test_what_is_new_in_a_dwelling_or_a_households_meter_is_of_class_2_unless_what_it_is_says_otherwise(
    client, registry, observations, pool: Pool
) -> None:
    home = await registry.asset(kind="dwelling", privacy_class=0)
    room, meter, sub_meter = [
        await registry.asset(kind=kind) for kind in ("room", "water_meter", "electricity_meter")
    ]
    building = await registry.asset(kind="building", privacy_class=1)
    stated = await registry.asset(kind="gas_meter", privacy_class=0)
    measured = await registry.asset(kind="room")
    device = await registry.device(asset_id=measured["id"])
    await observations.datastream(device["dev_eui"], measured["id"], "temperature", "Cel")
    before = [home["privacy_class"], room["privacy_class"], meter["privacy_class"], stated["privacy_class"]]

    moved = await put_below(client, room, home)
    await put_below(client, sub_meter, building)
    late = await put_below(client, measured, home)
    lowered = [
        await client.patch(f"/v1/assets/{home['id']}", json={"privacy_class": 0}),
        await client.patch(f"/v1/assets/{room['id']}", json={"privacy_class": 1}),
    ]

    assert before == [2, 0, 2, 0]
    assert moved.json()["privacy_class"] == 2
    assert await class_of(client, sub_meter) == 1
    assert (late.status_code, await class_of(client, measured)) == (409, 0)
    assert "confirmez" in late.json()["detail"]
    assert [answer.status_code for answer in lowered] == [422, 422]
    # A device that serves nothing: by what it is, then by what it measures.
    linky = await registry.device(await registry.profile(codec="linky.tic"))
    cabinet = await registry.cabinet()
    serving = (await client.get(f"/v1/assets/{cabinet['id']}")).json()["devices"][0]["dev_eui"]
    streams = {
        "tic": await observations.datastream(linky["dev_eui"], None, "voltage", "V"),
        "street": await observations.datastream(serving, cabinet["id"], "active_energy_import", "W.h"),
        "stock": await observations.datastream((await registry.device())["dev_eui"], None, "water_volume", "L"),
        "bin": await observations.datastream((await registry.device())["dev_eui"], None, "distance", "mm"),
    }
    rows = await pool.fetch("SELECT id, privacy_class FROM datastream")
    classes = {row["id"]: row["privacy_class"] for row in rows}
    assert {name: classes[id_] for name, id_ in streams.items()} == {"tic": 2, "street": 0, "stock": 2, "bin": 0}


async def test_the_end_of_a_consent_hides_what_is_finer_than_days_from_everybody_and_another_one_shows_it_again(
    client, dwelling, pool: Pool
) -> None:
    home, stream = f"/v1/assets/{dwelling['home']}", f"/v1/datastreams/{dwelling['stream']}"
    span = {"from": (NOW - 10 * DAY).isoformat(), "to": NOW.isoformat()}

    async def seen() -> list[bool]:
        """Whether readings, hours, last value, frames, what rules judge and applications get, and days are."""
        await pool.execute("DELETE FROM observation.application_event")
        frame = await pool.fetchrow("SELECT device_id, uplink_id FROM observation.uplink")
        await pool.execute(QUEUE, [frame["device_id"]], [to_us(NOW)], [frame["uplink_id"].bytes])
        answers = [
            await client.get(f"{stream}/measurements", params=span),
            await client.get(f"{stream}/aggregates", params=span | {"bucket": "hour"}),
            await client.get("/v1/measurements/latest"),
            await client.get(f"/v1/devices/{dwelling['dev_eui']}/uplinks"),
            await client.get("/v1/measurements/daily", params=span),
        ]
        marks = ("424242.5", "424242.5", "424242.5", '"f_cnt":7', "424242.5")
        shown = [mark in answer.text for mark, answer in zip(marks, answers, strict=True)]
        queued = await pool.fetchval("SELECT count(*) FROM observation.application_event")
        return [queued == 1, len(await read_watched(pool, [dwelling["stream"]], datetime.now(UTC))) == 1, *shown]

    await client.post("/v1/applications", json={"name": "SI", "mqtt_url": "mqtts://si.example.fr"})

    async def consent(**fields: Any) -> httpx.Response:
        given = {"given_by": "Mme Unetelle", "given_at": (NOW - DAY).isoformat(), "document": "GED 4471"}
        return await client.post(f"{home}/consents", json=given | fields)

    nothing_stated = await seen()
    stated = await client.put(f"{home}/privacy", json={"purpose": "Fuites", "basis": "consent"})
    without = await seen()
    given = (await consent()).json()
    with_it = await seen()
    shown = (await client.get(f"{stream}/privacy")).json()
    ended = await client.post(f"/v1/consents/{given['id']}/end")
    after = await seen()
    again = await client.post(f"/v1/consents/{given['id']}/end")
    renewed = await consent(until=(NOW + 400 * DAY).isoformat())

    assert nothing_stated == with_it == await seen() == [True] * 7
    assert without == after == [False] * 6 + [True]
    assert (stated.status_code, stated.json()["fine"]) == (200, False)
    assert (shown["processing"]["purpose"], shown["fine"], shown["privacy_class"]) == ("Fuites", True, 2)
    assert (ended.status_code, again.status_code, renewed.status_code) == (200, 409, 201)
    assert (await consent(given_at=(NOW + DAY).isoformat())).status_code == 422
    assert (await client.put(f"{home}/privacy", json={"purpose": "Fuites", "basis": "envie"})).status_code == 422
    noted = {row["action"] for row in await pool.fetch("SELECT action FROM audit WHERE entity = 'consent'")}
    assert noted == {"create", "end"}


async def test_what_was_there_keeps_its_class_until_its_owner_who_is_shown_what_goes_confirms_another(
    client, other_client, registry, observations, pool: Pool
) -> None:
    meters = [await registry.asset(kind="water_meter", privacy_class=1) for _ in range(2)]
    device = await registry.device(asset_id=meters[0]["id"])
    stream = await observations.datastream(device["dev_eui"], meters[0]["id"], "water_volume", "L")
    await observations.readings(stream, {NOW - 500 * DAY: 1.0, NOW - 400 * DAY: 2.0, NOW - DAY: 3.0})
    await roll_up(pool, force=True)
    await pool.execute("UPDATE asset SET class_confirmed_at = NULL")  # As an upgrade leaves them.
    ids = [meter["id"] for meter in meters]

    listed = (await client.get("/v1/privacy/unconfirmed")).json()["items"]
    patched = await client.patch(f"/v1/assets/{ids[0]}", json={"privacy_class": 2})
    asked = {"asset_ids": ids[:1], "privacy_class": 2}
    preview = (await client.post("/v1/privacy/confirmations", json=asked)).json()
    unchanged = await class_of(client, meters[0])
    answer = await client.post("/v1/privacy/confirmations", json=asked | {"confirm": True})
    assert answer.status_code == 200, answer.text
    done = answer.json()
    public = {"asset_ids": ids[1:], "privacy_class": 1, "confirm": True}
    await client.post("/v1/privacy/confirmations", json=public)

    assert [(item["asset_id"], item["deletes"]["rows"]) for item in listed] == [(ids[0], 4), (ids[1], 0)]
    assert (patched.status_code, unchanged) == (409, 1)
    loss = {"readings": 2, "hours": 2, "days": 0, "uplinks": 0, "rows": 4}
    assert loss.items() <= preview["items"][0]["deletes"].items()
    assert preview["items"][0]["deletes"]["oldest"].startswith(f"{NOW - 500 * DAY:%Y-%m-%d}")
    assert (preview["confirmed"], done["confirmed"]) == (False, True)
    assert [await class_of(client, meter) for meter in meters] == [2, 1]
    assert (await client.get("/v1/privacy/unconfirmed")).json()["items"] == []
    assert await pool.fetchval("SELECT privacy_class FROM datastream WHERE id = $1", stream) == 2
    refused = await other_client.post("/v1/privacy/confirmations", json=asked | {"confirm": True})
    assert refused.status_code == 404
