"""A kit in the console: pasted from a spreadsheet, made whole or not at all, accepted with its record."""

import secrets

from core.runtime.postgres import Pool
from tests.api.console.conftest import hidden


async def test_a_kit_is_pasted_made_whole_and_accepted(
    enter, registry, tenancy, other_tenancy, client, pool: Pool
) -> None:
    profile = await registry.profile()
    lines = [
        {"key": key, "device_profile_id": profile["id"], "asset_kind": "room", "asset_name": f"{{site}} <{key}>"}
        for key in ("a", "b")
    ]
    kit = (await client.post("/v1/kits", json={"name": "École <1>", "items": lines})).json()
    manager, reader = await enter(tenancy.id, "service_manager"), await enter(tenancy.id, "reader")
    stranger = await enter(other_tenancy.id, "service_manager")
    address = f"/kits/{kit['id']}"

    page = await manager.get(address)
    token = {"csrf": hidden(page, "csrf"), "site": "Ferry <x>", "latitude": "48,45", "longitude": "-4.2"}
    first, second = secrets.token_hex(8), secrets.token_hex(8)
    twice = await manager.post(address, data=token | {"lines": f"a;{first}\nb;{first}"})
    made = await manager.post(address, data=token | {"lines": f"a\t{first.upper()}\r\nb;{second};;\r\n;;;"})

    assert "a;;;\nb;;;" in page.text
    assert (twice.status_code, "donné deux fois" in twice.text, "Ferry &lt;x&gt;" in twice.text) == (
        422,
        True,
        True,
    )
    assert made.status_code == 303, made.text
    record = made.headers["location"]
    shown = await reader.get(record)
    assert "Ferry &lt;x&gt; &lt;a&gt;" in shown.text
    assert "<strong>0 / 2</strong>" in shown.text
    assert "Prononcer la recette" not in shown.text
    early = await manager.post(record, data=token)
    accepted = await manager.post(record, data=token | {"reservations": "b à rapprocher"})
    assert (early.status_code, accepted.status_code) == (422, 303)
    assert "b à rapprocher" in (await reader.get(record)).text
    assert (await stranger.get(record)).status_code == 404
    listed = await reader.get("/kits")
    assert "École &lt;1&gt;" in listed.text
    assert "recette prononcée" in listed.text
    assert await pool.fetchval("SELECT count(*) FROM device") == 2


async def test_a_template_is_described_changed_and_retired_without_the_api(
    enter, registry, tenancy, other_tenancy, client
) -> None:
    profile = await registry.profile(name="Sonde <CO2>")
    rule = {"name": "air", "kind": "threshold", "quantity": "co2", "fire_op": ">=", "fire_value": 1000}
    rule |= {"clear_op": "<=", "clear_value": 800, "severity": "warning", "message": "{asset} : aérer"}
    await client.post("/v1/alert-rules", json=rule)
    manager = await enter(tenancy.id, "service_manager")
    page = await manager.get("/kits/nouveau")
    token = {"csrf": hidden(page, "csrf")}
    line = "a;Sonde <CO2>;room;{site}, salle"
    sent = token | {"name": "École <1>", "lines": line, "rules": "air"}
    wrong = {
        "il faut ligne;profil": sent | {"lines": "a;room"},
        "aucun profil ne s’appelle rien": sent | {"lines": "a;rien;room;b"},
        "est deux fois dans le kit": sent | {"lines": f"{line}\n{line}"},
    }
    for said, data in wrong.items():
        answer = await manager.post("/kits/nouveau", data=data)
        assert (answer.status_code, said in answer.text) == (422, True), answer.text

    made = await manager.post("/kits/nouveau", data=sent)
    first = (await client.get("/v1/kits")).json()["items"][0]
    assert (made.status_code, made.headers["location"]) == (303, f"/kits/{first['id']}")
    assert (
        first["items"][0] | {"asset_name": "{site}, salle", "device_profile_id": profile["id"]}
        == first["items"][0]
    )
    assert [one["fire_value"] for one in first["rules"]] == [1000]
    form = await manager.get(f"/kits/{first['id']}/version")
    assert "a;Sonde &lt;CO2&gt;;room;{site}, salle</textarea>" in form.text
    assert 'value="air" checked' in form.text
    more = {"lines": f"{line}\nb;{profile['id']};door;{{site}}, porte"}
    assert (await manager.post(f"/kits/{first['id']}/version", data=token | more)).status_code == 303
    second = (await client.get("/v1/kits")).json()["items"][0]
    assert (second["version"], len(second["items"]), second["rules"]) == (2, 2, [])

    address = f"/kits/{second['id']}/retrait"
    await manager.post(address, data=token)
    assert (await client.get("/v1/kits")).json()["items"] != []  # The box was not ticked.
    await manager.post(address, data=token | {"sure": "1"})
    assert (await client.get("/v1/kits")).json()["items"] == []
    assert [one["id"] for one in (await client.get("/v1/kits?retired=true")).json()["items"]] == [second["id"]]
    assert "Mettre en service" not in (await manager.get(f"/kits/{first['id']}")).text
    site = {"site": "S", "devices": [{"item": "a", "dev_eui": "ab" * 8}]}
    for path, body in (("commissionings", site), ("versions", {"items": first["items"]})):
        assert (await client.post(f"/v1/kits/{first['id']}/{path}", json=body)).status_code == 409
    await manager.post(address, data=token | {"act": "restore"})
    assert len((await client.get("/v1/kits")).json()["items"]) == 1
    stranger = await enter(other_tenancy.id, "service_manager")
    foreign = {"csrf": hidden(await stranger.get("/kits/nouveau"), "csrf"), "sure": "1"}
    assert (await stranger.post(address, data=foreign)).status_code == 404
