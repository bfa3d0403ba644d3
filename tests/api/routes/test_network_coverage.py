"""Coverage over the API, from days made of uplinks that were written by hand."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import httpx

from core.runtime.postgres import Pool
from indicators.network import store
from lorawan.regions import EU868
from tests.api.conftest import Observations, Registry, Tenancy

PARIS = ZoneInfo("Europe/Paris")
YESTERDAY = datetime.now(PARIS).date() - timedelta(days=1)
NOON = datetime.combine(YESTERDAY, datetime.min.time(), PARIS) + timedelta(hours=12)
UPLINK = """
WITH u AS (
    INSERT INTO observation.uplink (device_id, time, uplink_id, session_id, f_cnt, f_port, payload, received_at,
                                    status, radio)
    VALUES ($1, $2, gen_random_uuid(), 1, $3, 85, decode(repeat('00', 10), 'hex'), $2, 'empty',
            '{"spreading_factor": 7, "bandwidth": 125000}') RETURNING *)
INSERT INTO observation.reception
SELECT u.device_id, u.time, u.uplink_id, g, 0, -100, $5 FROM u, unnest($4::int[]) g
"""
OUTAGE = "INSERT INTO outage (what, gateway_id, began_at, ended_at) VALUES ('gateway', $1, $2, $3)"
TRANSMIT = """
INSERT INTO transmission (gateway_id, starts_at, frequency, airtime_us, priority) VALUES ($1, $2, 868100000, $3, 0)
"""


async def refresh(pool: Pool, times: int = 1) -> int:
    made = 0
    for _ in range(times):
        async with pool.acquire() as connection, connection.transaction():
            made = await store.refresh(connection, YESTERDAY, PARIS, EU868)
    return made


async def test_a_white_zone_a_weak_one_and_what_a_gateway_alone_carries(
    client: httpx.AsyncClient,
    other_client: httpx.AsyncClient,
    registry: Registry,
    observations: Observations,
    tenancy: Tenancy,
    pool: Pool,
) -> None:
    first, second = await registry.gateway(name="Mairie"), await registry.gateway(name="Château d’eau")
    ids = {
        gateway["name"]: await pool.fetchval(
            "SELECT id FROM gateway WHERE gateway_id = $1", bytes.fromhex(gateway["gateway_id"])
        )
        for gateway in (first, second)
    }
    both = [ids["Mairie"], ids["Château d’eau"]]
    # FCnt received, of 0 to 39 sent one a minute; by which gateways; with which SNR (SF7 needs -7.5 dB).
    fleet = {
        "Couvert": (range(40), both, 2.5),
        "Faible": (range(40), both[:1], -4.0),
        "Blanc": (range(0, 40, 3), both[1:], -7.5),
        "Inconnu": (range(5), both, 0.0),
    }
    assets: dict[str, int] = {}
    for name, (f_cnts, gateways, snr) in fleet.items():
        asset = await registry.asset(name=name, latitude=48.45, longitude=-4.25, commune="Landerneau")
        assets[name] = asset["id"]
        device = await registry.device(asset_id=asset["id"])
        id_ = await observations.device_id(device["dev_eui"])
        await pool.execute(
            "UPDATE assignment SET during = tstzrange($2, NULL) WHERE device_id = $1",
            id_,
            NOON - timedelta(days=9),
        )
        rows = [(id_, NOON + timedelta(minutes=f_cnt), f_cnt, gateways, snr) for f_cnt in f_cnts]
        await pool.executemany(UPLINK, rows)
    spare = await registry.asset(name="Sans capteur", commune="Landerneau")
    mute = await registry.asset(name="Muet", commune="Landerneau")
    await registry.device(asset_id=mute["id"])
    gateway = bytes.fromhex(first["gateway_id"])
    await pool.execute(TRANSMIT, gateway, NOON, 18_000_000)

    assert await refresh(pool, times=2) == 4
    rows = (await client.get("/v1/network/coverage")).json()["items"]
    found = {row["name"]: row for row in rows}
    assert spare["name"] not in found
    assert {name: row["state"] for name, row in found.items()} == {
        "Couvert": "covered", "Faible": "weak", "Blanc": "white", "Inconnu": "unknown", "Muet": "unknown",
    }  # fmt: skip
    covered, white = found["Couvert"], found["Blanc"]
    assert (covered["sent"], covered["loss_percent"], covered["mean_margin"], covered["redundancy"]) == (
        40,
        0,
        10,
        2,
    )
    # 14 of the 40 from 0 to 39.
    assert (white["sent"], round(white["loss_percent"], 6), white["least_margin"]) == (40, 65.0, 0)
    assert (white["best_gateway"], white["days"], white["until"]) == (
        "Château d’eau",
        1,
        str(datetime.now(PARIS).date()),
    )
    assert (found["Muet"]["days"], found["Muet"]["loss_percent"], found["Muet"]["best_gateway"]) == (0, None, None)
    zones = await client.get("/v1/network/coverage?state=white", headers={"Accept": "application/geo+json"})
    assert [one["properties"]["name"] for one in zones.json()["features"]] == ["Blanc"]
    paged = (await client.get("/v1/network/coverage?limit=2")).json()
    rest = (await client.get("/v1/network/coverage", params={"cursor": paged["next"]})).json()
    assert [row["id"] for row in [*paged["items"], *rest["items"]]] == [row["id"] for row in rows]

    [commune] = (await client.get("/v1/network/communes?target=60")).json()["items"]
    assert (commune["name"], commune["known"], commune["unknown"], commune["white"]) == ("Landerneau", 3, 2, 1)
    assert (round(commune["percent"], 3), commune["is_reached"]) == (66.667, True)
    layer = await client.get("/v1/network/commune-layer")
    assert layer.headers["content-type"] == "application/geo+json"
    assert layer.json()["features"][0]["properties"]["known"] == 3

    lost = (await client.get(f"/v1/gateways/{first['gateway_id']}/dependents")).json()["items"]
    assert [(one["name"], one["alone"], one["percent"], one["is_dark"]) for one in lost] == [
        ("Faible", 40, 100, True)
    ]
    air = (await client.get(f"/v1/gateways/{first['gateway_id']}/air-time")).json()["items"]
    assert [(day["transmissions"], day["air_time_us"], day["busiest_percent"]) for day in air] == [
        (1, 18_000_000, 50)
    ]
    for path in ("network/coverage", "network/communes"):
        assert (await other_client.get(f"/v1/{path}")).json()["items"] == []
    assert (await other_client.get(f"/v1/gateways/{first['gateway_id']}/dependents")).status_code == 404

    # The gateway that hears the white one was away while minutes 3 to 35 passed: all but a few are excused.
    away = NOON + timedelta(minutes=3), NOON + timedelta(minutes=35)
    await pool.execute(OUTAGE, ids["Château d’eau"], *away)
    await refresh(pool)
    again = {row["name"]: row for row in (await client.get("/v1/network/coverage")).json()["items"]}
    assert again["Blanc"]["sent"] < white["sent"]
    assert again["Couvert"] == covered
