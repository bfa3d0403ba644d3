from datetime import UTC, datetime, timedelta

from core.registry.gateways import GatewaySeen, save_gateway_states, save_unknown_gateways
from core.runtime.postgres import Pool

GATEWAY_ID = "0080e115000a9b72"


async def test_a_gateway_is_registered_changed_and_removed(client, registry) -> None:
    created = await registry.gateway(gateway_id=GATEWAY_ID, latitude=48.4, longitude=-4.1)

    changed = await client.patch(
        f"/v1/gateways/{GATEWAY_ID}", json={"name": "Kerbonne", "antenna_gain": 5.5, "boards": 2}
    )
    listed = await client.get("/v1/gateways")
    removed = await client.delete(f"/v1/gateways/{GATEWAY_ID}")

    assert (created["online"], created["last_seen_at"], created["boards"]) == (False, None, 1)
    assert changed.json() == created | {"name": "Kerbonne", "antenna_gain": 5.5, "boards": 2}
    assert listed.json()["items"] == [changed.json()]
    assert removed.status_code == 204
    assert (await client.get(f"/v1/gateways/{GATEWAY_ID}")).status_code == 404
    assert (await client.delete(f"/v1/gateways/{GATEWAY_ID}")).status_code == 404
    assert (await client.patch(f"/v1/gateways/{GATEWAY_ID}", json={})).status_code == 404


async def test_a_gateway_shows_its_last_sign_of_life(client, registry, pool: Pool) -> None:
    await registry.gateway(gateway_id=GATEWAY_ID)
    now = datetime.now(UTC)
    path = f"/v1/gateways/{GATEWAY_ID}"
    octets = bytes.fromhex(GATEWAY_ID)

    await save_gateway_states(
        pool, [GatewaySeen(octets, "semtech_udp", "192.0.2.7:1700", now - timedelta(hours=1), {"rxok": 3})]
    )
    silent = (await client.get(path)).json()
    await save_gateway_states(pool, [GatewaySeen(octets, "semtech_udp", "192.0.2.7:1700", now, {"rxok": 4})])
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


async def test_a_gateway_is_registered_once_whoever_asks(registry, other_client) -> None:
    await registry.gateway(gateway_id=GATEWAY_ID)

    again = await other_client.post("/v1/gateways", json={"gateway_id": GATEWAY_ID, "name": "la mienne"})

    assert again.status_code == 409
    assert again.json()["detail"] == "une passerelle avec cet identifiant est déjà enregistrée"
