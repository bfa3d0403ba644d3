"""What is written about a gateway, by whom, and the alerts about it."""

from core.runtime.postgres import Pool
from tests.api.console.conftest import hidden


async def test_a_gateways_form_registers_corrects_and_removes_it_and_overwrites_nobody(
    enter, tenancy, other_tenancy, client
) -> None:
    browser = await enter(tenancy.id, "service_manager")
    eui = "0080e115000a9b72"
    token = {"csrf": hidden(await browser.get("/passerelles/nouvelle"), "csrf")}
    half = {"gateway_id": "0080E115000A9B72", "name": "Château d’eau <1> 🗼", "latitude": "48,4499", "boards": "1"}

    refused = await browser.post("/passerelles/nouvelle", data=token | half)
    made = await browser.post("/passerelles/nouvelle", data=token | half | {"longitude": "-4.2516"})
    again = await browser.post("/passerelles/nouvelle", data=token | half | {"longitude": "-4.2516"})
    page = await browser.get(made.headers["location"])
    path = f"/passerelles/{eui}/fiche"
    read = await browser.get(path)
    typed = token | {"version": hidden(read, "version"), "name": "Mairie", "boards": "1"}
    typed |= {"latitude": "48,45", "longitude": "-4,25", "antenna_gain": "2,5", "max_eirp": "20"}
    too_loud = await browser.post(path, data=typed | {"max_eirp": "99"})
    assert (await client.patch(f"/v1/gateways/{eui}", json={"name": "Autre main"})).status_code == 200
    stale = await browser.post(path, data=typed)
    kept = (await client.get(f"/v1/gateways/{eui}")).json()
    saved = await browser.post(path, data=typed | {"version": hidden(stale, "version")})
    shown = (await client.get(f"/v1/gateways/{eui}")).json()
    unlimited = {"version": hidden(await browser.get(path), "version"), "max_eirp": ""}

    assert (refused.status_code, 'value="48,4499"' in refused.text) == (422, True)
    assert "ni l’une ni l’autre" in refused.text
    assert made.status_code == 303, made.text
    assert (again.status_code, "déjà enregistrée" in again.text) == (409, True)
    assert "Château d’eau &lt;1&gt; 🗼" in page.text
    assert f'href="{path}"' in page.text
    assert (too_loud.status_code, 'value="99"' in too_loud.text) == (422, True)
    assert (stale.status_code, "Autre main" in stale.text, 'value="2,5"' in stale.text) == (412, True, True)
    assert (kept["name"], kept["antenna_gain"]) == ("Autre main", 0)
    assert saved.status_code == 303, saved.text
    assert [shown[one] for one in ("name", "latitude", "longitude", "antenna_gain", "max_eirp", "boards")] == [
        *("Mairie", 48.45, -4.25, 2.5, 20, 1)
    ]
    assert (await browser.post(path, data=typed | unlimited)).status_code == 303
    assert (await client.get(f"/v1/gateways/{eui}")).json()["max_eirp"] is None
    unplaced = {"version": hidden(await browser.get(path), "version"), "latitude": "", "longitude": ""}
    assert (await browser.post(path, data=typed | unplaced)).status_code == 303
    erased = (await client.get(f"/v1/gateways/{eui}")).json()
    assert (erased["latitude"], erased["longitude"], erased["name"]) == (None, None, "Mairie")

    agent, stranger = await enter(tenancy.id, "field_agent"), await enter(other_tenancy.id, "service_manager")
    for other, status in ((agent, 403), (stranger, 404)):
        theirs = {"csrf": hidden(await other.get("/compte"), "csrf")}
        assert (await other.post(path, data=typed | theirs)).status_code == status
        gone = await other.post(f"/passerelles/{eui}/retrait", data=theirs | {"sure": "1"})
        assert gone.status_code == status
    assert f'href="{path}"' not in (await agent.get(f"/passerelles/{eui}")).text
    unsure = await browser.post(f"/passerelles/{eui}/retrait", data=token)
    removed = await browser.post(f"/passerelles/{eui}/retrait", data=token | {"sure": "1"})
    assert (unsure.status_code, removed.status_code) == (422, 303)
    assert (await client.get(f"/v1/gateways/{eui}")).status_code == 404


async def test_a_gateway_and_its_alerts_lead_to_each_other(enter, registry, tenancy, client, pool: Pool) -> None:
    silent, other = await registry.gateway(name="Château d’eau"), await registry.gateway(name="Mairie")
    alert = await pool.fetchval(
        "INSERT INTO alert (tenant_id, rule_id, gateway_id, severity, message, condition, opened_at) "
        "SELECT $1, r.id, g.id, 'major', 'ne répond plus', 'firing', now() FROM alert_rule r, gateway g "
        "WHERE r.tenant_id = $1 AND r.kind = 'gateway' AND g.name = 'Château d’eau' LIMIT 1 RETURNING id",
        tenancy.id,
    )
    browser = await enter(tenancy.id, "reader")
    path = f"/passerelles/{silent['gateway_id']}"
    every = f"/alertes?etat=all&passerelle={silent['gateway_id']}"

    page, listed = await browser.get(path), await browser.get(every)
    shown = await browser.get(f"/alertes/{alert}")
    others = await browser.get(f"/alertes?passerelle={other['gateway_id']}")
    nobody = await browser.get(f"/alertes?passerelle={'ab' * 8}")
    (answered,) = (await client.get("/v1/alerts", params={"gateway_eui": silent["gateway_id"]})).json()["items"]

    assert f'href="/alertes/{alert}"' in page.text
    assert f'href="{every.replace("&", "&amp;")}"' in page.text
    for one in (listed, shown):
        assert f'<a href="{path}">Château d’eau</a>' in one.text
    assert (others.status_code, "Aucune alerte ne répond" in others.text) == (200, True)
    assert nobody.status_code == 404
    assert (answered["gateway"], answered["gateway_eui"]) == ("Château d’eau", silent["gateway_id"])
