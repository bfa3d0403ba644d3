"""An EUI that is registered elsewhere is contested; the operator decides; neither side learns who the other is."""

from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from core.model.ownership import REGISTERED_ELSEWHERE
from core.runtime.postgres import Pool
from tests.api.conftest import Registry, Tenancy, client_of, make_tenancy, person_client

EUI = "70b3d57ed00a0001"


def new_device(profile: dict[str, Any]) -> dict[str, Any]:
    return {
        "dev_eui": EUI,
        "join_eui": "70b3d57ed0001000",
        "name": "Sonde de Metz",
        "device_profile_id": profile["id"],
        "app_key": "00" * 16,
    }


@pytest.fixture
async def operator(app: FastAPI, pool: Pool):
    async with client_of(app, (await make_tenancy(pool, "exploitant")).key) as client:
        yield client


async def contest(client: httpx.AsyncClient, kind: str, eui: str = EUI) -> httpx.Response:
    return await client.post("/v1/eui-claims", json={"kind": kind, "eui": eui, "reason": "étiquette de SDEF"})


async def decide(operator: httpx.AsyncClient, claim: int, decision: str) -> httpx.Response:
    body = {"decision": decision, "reason": "vu sur place"}
    return await operator.post(f"/v1/eui-claims/{claim}/decision", json=body)


async def states(*clients: httpx.AsyncClient) -> list[tuple[str, str]]:
    pages = [(await client.get("/v1/eui-claims")).json()["items"] for client in clients]
    return [(item["side"], item["state"]) for page in pages for item in page]


async def test_a_contested_gateway_is_kept_then_moved_and_its_sides_do_not_learn_of_each_other(
    client, other_client, other_registry: Registry, operator, tenancy: Tenancy, other_tenancy: Tenancy, pool: Pool
) -> None:
    await other_registry.gateway(gateway_id=EUI, name="Mairie d'Autre")
    taken = await client.post("/v1/gateways", json={"gateway_id": EUI, "name": "La nôtre"})
    claim = (await contest(client, "gateway")).json()
    waiting = await states(client, other_client)
    pending = (await operator.get("/v1/eui-claims/pending")).json()["items"]
    kept = await decide(operator, claim["id"], "keep")
    after_keeping = await states(client, other_client)
    still = await client.post("/v1/gateways", json={"gateway_id": EUI, "name": "La nôtre"})
    second = (await contest(client, "gateway")).json()
    moved = await decide(operator, second["id"], "move")
    too_late = await decide(operator, second["id"], "keep")
    of_holder = await other_client.post("/v1/gateways", json={"gateway_id": EUI, "name": "x"})
    mine = await client.post("/v1/gateways", json={"gateway_id": EUI, "name": "La nôtre"})

    assert (taken.status_code, taken.json()["detail"]) == (409, REGISTERED_ELSEWHERE)
    assert claim["explanation"] == "l'opérateur va décider"
    assert waiting == [("contester", "open"), ("holder", "open")]
    assert [(one["contester"], one["holder"], one["eui"]) for one in pending] == [("sdef", "autre", EUI)]
    assert (kept.status_code, moved.status_code, too_late.status_code) == (200, 200, 404)
    assert after_keeping == [("contester", "kept"), ("holder", "kept")]
    assert still.json() == taken.json()
    assert (of_holder.status_code, of_holder.json()["detail"]) == (409, REGISTERED_ELSEWHERE)
    assert (mine.status_code, mine.json()["name"]) == (201, "La nôtre")
    assert (await other_client.get(f"/v1/gateways/{EUI}")).status_code == 404
    assert (await states(other_client))[1] == ("holder", "moved")
    for side, other, other_id in (
        (client, "autre", other_tenancy.id),
        (other_client, "sdef", tenancy.id),
    ):
        told = (await side.get("/v1/eui-claims")).text + (await side.get("/v1/audit")).text
        assert other not in told.lower()
        assert f'"tenant_id":{other_id}' not in told
    actions = await pool.fetch("SELECT tenant_id, action FROM audit WHERE entity = 'gateway' ORDER BY id")
    assert [tuple(line) for line in actions] == [
        (other_tenancy.id, "create"),
        (other_tenancy.id, "contested"),
        (tenancy.id, "keep"),
        (other_tenancy.id, "keep"),
        (other_tenancy.id, "contested"),
        (tenancy.id, "move"),
        (other_tenancy.id, "move"),
        (tenancy.id, "create"),
    ]
    assert await pool.fetchval("SELECT count(*) FROM audit WHERE entity = 'eui_claim' AND action = 'decide'") == 2


async def test_a_contested_device_leaves_its_history_where_it_was_measured_and_no_key(
    client, other_client, registry: Registry, other_registry: Registry, operator, observations, pool: Pool
) -> None:
    asset = await other_registry.asset()
    theirs = await other_registry.device(dev_eui=EUI, asset_id=asset["id"], name="Sonde d'Autre")
    datastream = await observations.datastream(EUI, asset["id"], "fill_level", "%")
    await other_client.post(f"/v1/devices/{EUI}/downlinks", json={"f_port": 1, "payload": "00"})
    body = new_device(await registry.profile())
    imported = {
        "devices": [{name: body[name] for name in ("dev_eui", "join_eui", "device_profile_id", "app_key")}]
    }
    taken = await client.post("/v1/devices", json=body)
    refused = [
        (await client.post("/v1/device-imports", json=imported | {"dry_run": dry_run})).json()["devices"][0]
        for dry_run in (True, False)
    ]
    claim = (await contest(client, "device")).json()["id"]
    await pool.execute("UPDATE downlink SET state = 'sending'")
    busy = await decide(operator, claim, "move")
    await pool.execute("UPDATE downlink SET state = 'sent'")
    moved = await decide(operator, claim, "move")
    again = await other_client.post("/v1/device-imports", json=imported)
    mine = await client.post("/v1/devices", json=body)

    assert (taken.status_code, taken.json()["detail"]) == (409, REGISTERED_ELSEWHERE)
    assert [(one["outcome"], one["detail"]) for one in refused] == [("refused", REGISTERED_ELSEWHERE)] * 2
    assert (busy.status_code, moved.status_code, mine.status_code) == (409, 200, 201)
    assert again.json()["devices"][0]["outcome"] == "refused"
    assert (await client.get(f"/v1/devices/{EUI}")).json()["name"] == "Sonde de Metz"
    former = (await other_client.get("/v1/devices")).json()["items"]
    assert [(one["name"], one["enabled"], one["asset_id"]) for one in former] == [
        (f"Sonde d'Autre (ancien EUI {EUI})", False, None)
    ]
    assert former[0]["dev_eui"] != theirs["dev_eui"]
    assert (await other_client.get(f"/v1/datastreams/{datastream}")).status_code == 200
    assert (await client.get(f"/v1/datastreams/{datastream}")).status_code == 404
    kept = await pool.fetchrow("SELECT app_key_wrapped, kek_id FROM device WHERE name LIKE 'Sonde d%'")
    assert kept is not None
    assert tuple(kept) == (None, None)


async def test_a_claim_is_made_of_what_is_held_elsewhere_once_and_can_be_withdrawn(
    client, other_client, registry: Registry, other_registry: Registry, operator
) -> None:
    await other_registry.gateway(gateway_id=EUI)
    own = (await registry.gateway())["gateway_id"]
    rejected = [await contest(client, "gateway", own), await contest(client, "device")]
    claim = (await contest(client, "gateway")).json()["id"]
    twice = await contest(client, "gateway")
    of_holder = await other_client.delete(f"/v1/eui-claims/{claim}")
    withdrawn = await client.delete(f"/v1/eui-claims/{claim}")
    decided = await decide(operator, claim, "move")

    assert [answer.status_code for answer in (*rejected, twice, of_holder)] == [409] * 4
    assert (withdrawn.status_code, decided.status_code) == (204, 404)
    assert await states(client, other_client) == [("contester", "withdrawn"), ("holder", "withdrawn")]


async def test_who_decides_has_just_proved_who_they_are(
    app: FastAPI, client, other_registry: Registry, tenancy: Tenancy, pool: Pool
) -> None:
    await other_registry.gateway(gateway_id=EUI)
    claim = (await contest(client, "gateway")).json()["id"]
    async with await person_client(app, pool, tenancy.id, "operator") as person:
        await pool.execute("UPDATE person_session SET proved_at = now() - interval '11 minutes'")
        stale = await decide(person, claim, "move")

    assert (stale.status_code, stale.json()["errors"][0]["code"]) == (403, "proof_required")
