"""The audit in words, filtered, and the same lines as a file."""

from tests.api.console.conftest import hidden


async def test_who_did_what_is_filtered_compared_in_words_and_exported(
    enter, client, registry, tenancy, other_tenancy
) -> None:
    asset = await registry.asset(name="Borne 🗑️ <script>", kind="glass_container")
    await client.patch(f"/v1/assets/{asset['id']}", json={"name": "Borne 12"})
    manager = await enter(tenancy.id, "service_manager")
    token = {"csrf": hidden(await manager.get("/compte"), "csrf")}
    assert (await manager.post(f"/alertes/{10**9}", data=token | {"act": "acknowledge"})).status_code == 404
    reader = await enter(tenancy.id, "reader")
    assert (await reader.get("/journal")).status_code == 403

    everything = await manager.get("/journal")
    changes = await manager.get(f"/journal?sur=asset&lequel={asset['id']}&quoi=update")
    rejected = await manager.get("/journal?quoi=reject&sur=login")
    nothing = await manager.get("/journal?qui=personne%20999")
    past = await manager.get("/journal?au=2020-01-01")
    wrong = await manager.get("/journal?du=hier")
    for day in ("0001-01-01", "9999-12-31", "2026-02-30"):
        assert (await manager.get(f"/journal?du={day}&au={day}")).status_code == 422, day
    file = await manager.get(f"/journal/export?sur=asset&lequel={asset['id']}")
    stranger = await enter(other_tenancy.id, "service_manager")

    for text in ("clé de sdef", "a créé", "équipement", "Borne 🗑️ &lt;script&gt;"):
        assert text in everything.text
    assert "a changé" in changes.text
    for text in ("Borne 🗑️ &lt;script&gt;", "Borne 12"):
        assert text in changes.text
    assert f"/journal/export?quoi=update&amp;sur=asset&amp;lequel={asset['id']}" in changes.text
    assert "Jeanne Le Goff" in rejected.text
    assert "il faut le droit" in rejected.text
    for page in (nothing, past):
        assert "Aucune ligne ne répond à ce filtre" in page.text
    assert (wrong.status_code, file.status_code) == (422, 200)
    assert 'value="hier"' in wrong.text
    assert [line.split(",")[3] for line in file.text.splitlines()] == ["action", "update", "create"]
    assert "Borne" not in (await stranger.get("/journal")).text
