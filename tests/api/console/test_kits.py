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
