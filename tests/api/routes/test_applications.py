from typing import Any

import pytest

from core.runtime.postgres import Pool
from registry.applications import read_enabled_applications
from registry.keys import KeyWrap
from tests.api.conftest import KEK

PARTNER: dict[str, Any] = {
    "name": "Hyperviseur",
    "mqtt_url": "mqtts://mqtt.partenaire.fr",
    "mqtt_user": "sdef",
    "secret": "S3CRET-é",
}


async def test_a_password_is_kept_wrapped_and_never_shown(client, pool: Pool) -> None:
    made = await client.post("/v1/applications", json=PARTNER)

    application = (await read_enabled_applications(pool))[0]
    assert made.status_code == 201
    assert made.json() == (await client.get(f"/v1/applications/{made.json()['id']}")).json()
    assert made.json()["all_devices"]
    assert "S3CRET" not in made.text + (await client.get("/v1/applications")).text
    assert b"S3CRET" not in (application.secret_wrapped or b"")
    assert application.secret(KeyWrap("kek-1", KEK)) == "S3CRET-é"
    assert "S3CRET" not in await pool.fetchval("SELECT string_agg(details::text, '') FROM audit")


async def test_a_partner_keeps_the_id_that_its_topics_have(client) -> None:
    known = "17c82e96-be03-4f38-aef3-f83d48582d97"

    made = await client.post("/v1/applications", json=PARTNER | {"application_id": known})
    again = await client.post("/v1/applications", json=PARTNER | {"application_id": known, "name": "Autre"})

    assert made.json()["application_id"] == known
    assert again.status_code == 409


async def test_a_connection_out_of_the_operators_network_is_the_operators_to_open(client_with) -> None:
    async with client_with("read", "manage") as client:
        assert (await client.post("/v1/applications", json=PARTNER)).status_code == 403


@pytest.mark.parametrize(
    "wrong",
    [
        {"mqtt_url": "http://broker"},
        {"topic_prefix": "sans/barre"},
        {"topic_prefix": "+/"},
        {"topic_prefix": "/"},
        {"mqtt_url": "mqtt://user:password@broker"},
        {"application_id": "1"},
        {"dev_euis": ["ff" * 8]},
        {"secret": ""},
    ],
)
async def test_what_cannot_work_is_rejected_and_leaves_nothing(client, wrong: dict[str, Any]) -> None:
    refused = await client.post("/v1/applications", json=PARTNER | wrong)

    assert refused.status_code == 422
    assert (await client.get("/v1/applications")).json()["items"] == []


async def test_the_devices_of_an_application_are_listed_and_replaced(client, registry) -> None:
    dev_euis = sorted([(await registry.device())["dev_eui"] for _ in range(3)])
    made = (await client.post("/v1/applications", json=PARTNER | {"dev_euis": dev_euis[:2]})).json()
    path = f"/v1/applications/{made['id']}/devices"

    first = (await client.get(path, params={"limit": 1})).json()
    second = (await client.get(path, params={"limit": 1, "cursor": first["next"]})).json()
    replaced = await client.put(path, json={"dev_euis": dev_euis[2:]})
    of_list = (await client.get(path)).json()
    all_of_them = await client.put(path, json={"dev_euis": None})

    assert not made["all_devices"]
    assert [page["items"][0]["dev_eui"] for page in (first, second)] == dev_euis[:2]
    assert second["next"] is None
    assert replaced.status_code == 200
    assert [item["dev_eui"] for item in of_list["items"]] == dev_euis[2:]
    assert all_of_them.json()["all_devices"]


async def test_a_suspended_application_is_kept_by_nobody_and_a_removed_one_is_gone(client, pool: Pool) -> None:
    made = (await client.post("/v1/applications", json=PARTNER)).json()
    path = f"/v1/applications/{made['id']}"

    suspended = await client.patch(path, json={"enabled": False})
    kept = await read_enabled_applications(pool)
    removed = await client.delete(path)

    assert not suspended.json()["enabled"]
    assert kept == []
    assert (removed.status_code, (await client.get(path)).status_code) == (204, 404)
