"""Offers are read before they are accepted, and closed again; an EUI that is registered elsewhere is asked for."""

from core.runtime.postgres import Pool
from tests.api.console.conftest import hidden

AGE = "UPDATE person_session SET proved_at = now() - interval '1 hour'"


async def test_an_offer_says_what_it_will_open_is_accepted_and_revoked(
    enter, pool: Pool, registry, tenancy, other_tenancy
) -> None:
    asset = await registry.asset(name="Borne <b>12</b> 🗑️", kind="glass_container")
    home = await registry.asset(name="Rue des Lilas 3", kind="dwelling")
    giver, receiver = await enter(tenancy.id, "service_manager"), await enter(other_tenancy.id, "service_manager")
    token = {"csrf": hidden(await giver.get("/partage"), "csrf")}
    asked = {"tenant": "autre", "what": "asset_kind", "asset_kind": "glass_container", "role": "reader"}

    search = await giver.get("/partage/nouveau?nom=lilas")
    chosen = await giver.get(f"/partage/nouveau?equipement={home['id']}")
    named = await giver.post(
        "/partage/nouveau", data=token | {"tenant": "autre", "what": "asset", "asset_id": str(home["id"])}
    )
    wrong = await giver.post("/partage/nouveau", data=token | asked | {"valid_to": "hier"})
    for odd in ("²", "9" * 5000, "-1"):
        answer = await giver.post("/partage/nouveau", data=token | asked | {"what": "asset", "asset_id": odd})
        assert answer.status_code == 422, odd
    preview = await giver.post("/partage/nouveau", data=token | asked | {"step": "check"})
    nothing = await pool.fetchval("SELECT count(*) FROM access_grant")
    made = await giver.post("/partage/nouveau", data=token | asked | {"step": "offer"})

    assert f"/partage/nouveau?equipement={home['id']}" in search.text
    assert 'name="asset_kind"' not in chosen.text
    assert "donnée personnelle" in named.text
    assert wrong.status_code == 422
    assert 'value="autre"' in wrong.text
    assert "tous vos équipements de type «\u00a0Borne à verre\u00a0»" in preview.text
    assert "sauf les données personnelles" in preview.text
    assert (nothing, made.status_code) == (0, 303)
    grant = made.headers["location"]
    answer = {"csrf": hidden(await receiver.get("/partage"), "csrf"), "act": "accept"}
    shown = await receiver.get(grant)
    assert "Accepté, le partage s’ouvre aussitôt" in shown.text
    assert "SDEF" in (await receiver.get("/partage")).text
    await pool.execute(AGE)
    unproved = await receiver.post(grant, data=answer)
    assert unproved.status_code == 403
    assert 'name="proof"' in unproved.text
    await pool.execute("UPDATE person_session SET proved_at = now()")
    assert (await receiver.post(grant, data=answer)).status_code == 303
    assert "Borne &lt;b&gt;12" in (await receiver.get("/equipements")).text
    reader = await enter(other_tenancy.id, "reader")
    assert "<button" not in (await reader.get(grant)).text.partition("<main")[2].partition("<footer")[0]
    assert (await reader.post(grant, data=answer)).status_code == 403

    revoked = await giver.post(grant, data=token | {"act": "revoke", "sure": "1"})
    assert revoked.status_code == 303
    assert "Borne" not in (await receiver.get("/equipements")).text

    transfer = {"asset_id": str(asset["id"]), "tenant": "autre", "history": "stays", "confirm": "Borne"}
    refused = await giver.post("/partage/transferts/nouveau", data=token | transfer)
    assert "répétez le nom exact" in refused.text
    offered = await giver.post("/partage/transferts/nouveau", data=token | transfer | {"confirm": asset["name"]})
    assert offered.status_code == 303
    page = offered.headers["location"]
    assert "les mesures recommencent à zéro" in (await receiver.get(page)).text
    assert (await receiver.post(page, data=answer)).status_code == 303
    assert "acceptée" in (await giver.get(page)).text
    assert f'href="{page}"' in (await giver.get("/partage")).text


async def test_an_eui_registered_elsewhere_is_asked_for_and_the_operator_decides(
    enter, registry, tenancy, other_tenancy, pool: Pool
) -> None:
    gateway = await registry.gateway()
    contester, operator = await enter(other_tenancy.id, "service_manager"), await enter(tenancy.id, "operator")
    token = {"csrf": hidden(await contester.get("/partage"), "csrf")}
    asked = {"kind": "gateway", "eui": gateway["gateway_id"], "reason": "photo au dossier"}

    unknown = await contester.post("/partage/identifiants/nouveau", data=token | asked | {"eui": "ab" * 8})
    first = await contester.post("/partage/identifiants/nouveau", data=token | asked)
    twice = await contester.post("/partage/identifiants/nouveau", data=token | asked)
    pending = await operator.get("/partage")
    claim = await pool.fetchval("SELECT max(id) FROM eui_claim")
    decided = await operator.post(
        f"/partage/identifiants/{claim}/decision",
        data={"csrf": hidden(pending, "csrf"), "decision": "move", "reason": "vu sur place"},
    )

    assert (unknown.status_code, first.status_code, twice.status_code) == (409, 303, 409)
    assert 'value="photo au dossier"' in unknown.text
    assert "vous contestez déjà cet EUI" in twice.text
    assert "photo au dossier" in pending.text
    assert decided.status_code == 303
    assert "attribué à qui l’a contesté" in (await contester.get("/partage")).text
