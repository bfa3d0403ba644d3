from datetime import UTC, datetime, timedelta

from core.runtime.postgres import Pool
from registry.gateway_supervision import AddressSeen, HourOfGateway, save_address_changes, save_hours
from registry.gateways import GatewaySeen, save_gateway_states, save_unknown_gateways

GATEWAY_ID = "0080e115000a9b72"
OCTETS = bytes.fromhex(GATEWAY_ID)


async def seen(pool: Pool, address: str, at: datetime, **stats: int) -> None:
    async with pool.acquire() as connection, connection.transaction():
        await save_gateway_states(connection, [GatewaySeen(OCTETS, "semtech_udp", address, at, stats)])


async def test_a_gateway_is_registered_changed_and_removed(client, registry) -> None:
    created = await registry.gateway(gateway_id=GATEWAY_ID, latitude=48.4, longitude=-4.1)

    changed = await client.patch(
        f"/v1/gateways/{GATEWAY_ID}", json={"name": "Kerbonne", "antenna_gain": 2.3, "boards": 2}
    )
    said = await client.patch(f"/v1/gateways/{GATEWAY_ID}", json={"gain_subtracted_by": "gateway", "max_eirp": 27})
    listed = await client.get("/v1/gateways")
    removed = await client.delete(f"/v1/gateways/{GATEWAY_ID}")

    assert (created["online"], created["last_seen_at"], created["boards"]) == (False, None, 1)
    assert changed.json() == created | {"name": "Kerbonne", "antenna_gain": 2.3, "boards": 2}
    assert (created["gain_subtracted_by"], created["max_eirp"]) == (None, None)
    assert said.json() == changed.json() | {"gain_subtracted_by": "gateway", "max_eirp": 27}
    assert listed.json()["items"] == [said.json()]
    assert removed.status_code == 204
    assert (await client.get(f"/v1/gateways/{GATEWAY_ID}")).status_code == 404
    assert (await client.delete(f"/v1/gateways/{GATEWAY_ID}")).status_code == 404
    assert (await client.patch(f"/v1/gateways/{GATEWAY_ID}", json={})).status_code == 404


async def test_a_gateway_shows_its_last_sign_of_life(client, registry, pool: Pool) -> None:
    await registry.gateway(gateway_id=GATEWAY_ID)
    now = datetime.now(UTC)
    path = f"/v1/gateways/{GATEWAY_ID}"

    await seen(pool, "192.0.2.7", now - timedelta(hours=1), rxok=3)
    silent = (await client.get(path)).json()
    await seen(pool, "192.0.2.7", now, rxok=4)
    heard = (await client.get(path)).json()

    assert (silent["online"], silent["stats"]) == (False, {"rxok": 3})
    assert (heard["online"], heard["frontend"], heard["stats"]) == (True, "semtech_udp", {"rxok": 4})


async def test_an_unknown_gateway_is_known_once_it_is_registered(client, registry, pool: Pool) -> None:
    seen = GatewaySeen(bytes.fromhex(GATEWAY_ID), "semtech_udp", "192.0.2.7:1700", datetime.now(UTC), {})
    await save_unknown_gateways(pool, [seen])

    before = (await client.get("/v1/gateways/unknown")).json()["items"]
    await registry.gateway(gateway_id=GATEWAY_ID)
    after = (await client.get("/v1/gateways/unknown")).json()["items"]

    assert [gateway["gateway_id"] for gateway in before] == [GATEWAY_ID]
    assert after == []


async def test_a_gateway_is_registered_once_by_whichever_tenant(client, registry, other_client) -> None:
    await registry.gateway(gateway_id=GATEWAY_ID)

    again = await other_client.post("/v1/gateways", json={"gateway_id": GATEWAY_ID, "name": "la mienne"})
    own = await client.post("/v1/gateways", json={"gateway_id": GATEWAY_ID, "name": "encore"})

    assert (again.status_code, own.status_code) == (409, 409)
    assert again.json()["detail"] == "déjà enregistré ailleurs, adressez-vous à l'opérateur"
    assert own.json()["detail"] == "une passerelle avec cet identifiant est déjà enregistrée"


async def test_an_unknown_gateway_is_listed_with_the_reason_and_claimed(client, pool: Pool) -> None:
    await save_unknown_gateways(pool, [GatewaySeen(OCTETS, "semtech_udp", "192.0.2.7", datetime.now(UTC), {})])
    path = f"/v1/gateways/unknown/{GATEWAY_ID}/claim"

    (listed,) = (await client.get("/v1/gateways/unknown")).json()["items"]
    claimed = await client.post(path, json={"name": "Mairie", "antenna_gain": 3})
    again = await client.post(path, json={"name": "Mairie"})

    assert (listed["gateway_id"], listed["reason"]) == (GATEWAY_ID, "not_registered")
    assert claimed.status_code == 201
    assert (claimed.json()["gateway_id"], claimed.json()["antenna_gain"]) == (GATEWAY_ID, 3)
    assert (await client.get("/v1/gateways")).json()["items"] == [claimed.json()]
    assert again.status_code == 404


async def test_a_gateway_that_speaks_from_elsewhere_leaves_a_change(client, registry, pool: Pool) -> None:
    await registry.gateway(gateway_id=GATEWAY_ID)
    start = datetime.now(UTC) - timedelta(minutes=10)
    for minute, address in enumerate(["192.0.2.7", "192.0.2.7", "198.51.100.4", "192.0.2.7", "198.51.100.4"]):
        await seen(pool, address, start + timedelta(minutes=minute))

    changes = (await client.get("/v1/gateways/address-changes")).json()["items"]
    gateway = (await client.get(f"/v1/gateways/{GATEWAY_ID}")).json()

    assert [(change["former"], change["address"], change["refused"], change["times"]) for change in changes] == [
        ("192.0.2.7", "198.51.100.4", False, 2),
        ("198.51.100.4", "192.0.2.7", False, 1),
    ]
    assert gateway["supervision"]["address_changes"] == changes


async def test_a_gateways_work_is_one_object(client, registry, pool: Pool) -> None:
    await registry.gateway(gateway_id=GATEWAY_ID)
    now = datetime.now(UTC)
    for hours_ago, round_trip_ms in ((30, 900.0), (2, 41.5), (1, None)):
        hour = HourOfGateway(OCTETS, now - timedelta(hours=hours_ago), 10, 2, 3, 4, 5, round_trip_ms)
        await save_hours(pool, [hour])
    await pool.executemany(
        "INSERT INTO transmission (gateway_id, starts_at, frequency, airtime_us, priority, status) "
        "VALUES ($1, now() - $2::interval, $3, $4, 1, $5)",
        [
            (OCTETS, timedelta(minutes=1), 869_525_000, 1_800_000, "OK"),
            (OCTETS, timedelta(minutes=2), 869_525_000, 1_800_000, "NO_ACK"),
            (OCTETS, timedelta(minutes=2), 869_525_000, 1_800_000, "TOO_LATE"),  # Not transmitted.
            (OCTETS, timedelta(minutes=61), 869_525_000, 1_800_000, "OK"),  # Before the hour.
            (OCTETS, timedelta(minutes=3), 868_100_000, 360_000, None),
            (OCTETS, timedelta(hours=25), 868_100_000, 360_000, "OK"),  # Before the day.
        ],
    )

    supervision = (await client.get(f"/v1/gateways/{GATEWAY_ID}")).json()["supervision"]

    assert supervision["activity"] == {
        "uplinks": 20,
        "duplicates": 4,
        "crc_errors": 6,
        "rejected": 8,
        "limited": 10,
    }
    assert supervision["round_trip_ms"] == 41.5
    assert supervision["downlinks"] == {"OK": 2, "NO_ACK": 1, "TOO_LATE": 1, "UNKNOWN": 1}
    used = {band["low"]: (band["used_s"], band["used"], band["left_s"]) for band in supervision["duty_cycle"]}
    assert used[869_400_000] == (3.6, 0.01, 356.4)
    assert used[868_000_000] == (0.36, 0.01, 35.64)
    assert used[863_000_000][0] == 0


async def test_nothing_of_anothers_gateway_is_seen(client, other_registry, pool: Pool, api_pool: Pool) -> None:
    await other_registry.gateway(gateway_id=GATEWAY_ID)
    now = datetime.now(UTC)
    await save_hours(pool, [HourOfGateway(OCTETS, now, 1, 1, 1, 1, 1, 1.0)])
    await save_address_changes(pool, [AddressSeen(OCTETS, "semtech_udp", "a", "b", True, 1, now)])
    await pool.execute(
        "INSERT INTO transmission (gateway_id, starts_at, frequency, airtime_us, priority) "
        "VALUES ($1, $2, 1, 1, 1)",
        OCTETS,
        now,
    )

    changes = (await client.get("/v1/gateways/address-changes")).json()["items"]

    assert changes == []
    assert (await client.get(f"/v1/gateways/{GATEWAY_ID}")).status_code == 404
    for table in ("gateway_hour", "gateway_address_change", "transmission"):
        assert await api_pool.fetchval(f"SELECT count(*) FROM {table}") == 0


async def test_coverage_says_who_is_heard_how_well_and_how_much_by_day(
    client, other_client, registry, observations, pool: Pool
) -> None:
    gateway, other = await registry.gateway(), await registry.gateway()
    near, far, elsewhere = [await registry.device() for _ in range(3)]
    now = datetime.now(UTC)
    for minutes in (1, 2):
        await observations.uplink(
            far["dev_eui"], now - timedelta(minutes=minutes), gateways=[other["gateway_id"], gateway["gateway_id"]]
        )
    await observations.uplink(near["dev_eui"], now, gateways=[gateway["gateway_id"]])
    await observations.uplink(elsewhere["dev_eui"], now, gateways=[other["gateway_id"]])
    await observations.uplink(elsewhere["dev_eui"], now - timedelta(days=2), gateways=[gateway["gateway_id"]])
    await pool.execute(
        "INSERT INTO gateway_hour (gateway_id, hour, uplinks, crc_errors) "
        "SELECT id, date_trunc('hour', now()) - n * interval '24 h', 40, 2 FROM gateway, generate_series(0, 40) n "
        "WHERE gateway_id = $1",
        bytes.fromhex(gateway["gateway_id"]),
    )

    shown = (await client.get(f"/v1/gateways/{gateway['gateway_id']}/coverage")).json()

    heard = [(one["dev_eui"], one["receptions"], one["rssi"]) for one in shown["devices"]]
    assert heard == [(far["dev_eui"], 2, -81.0), (near["dev_eui"], 1, -80.0)]
    # Of thirty days; where a clock is put back, two of these hours are of one.
    assert sum(day["uplinks"] for day in shown["days"]) == 20 * sum(day["crc_errors"] for day in shown["days"])
    assert sum(day["uplinks"] for day in shown["days"]) == 30 * 40
    assert shown["days"][0]["day"] > shown["days"][1]["day"]
    assert (await other_client.get(f"/v1/gateways/{gateway['gateway_id']}/coverage")).status_code == 404
