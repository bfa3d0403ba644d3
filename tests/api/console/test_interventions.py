"""Work orders in the console: opened from an alert in two forms, begun, done with a photo, and on to the next."""

from core.runtime.postgres import Pool
from tests.api.console.conftest import hidden
from tests.api.photos import ONE_PIXEL, jpeg


async def test_a_work_order_is_opened_from_an_alert_and_done_on_a_telephone(
    enter, registry, observations, tenancy, other_tenancy, client, pool: Pool
) -> None:
    asset = await registry.asset(name="Borne <7>", street="quai Léon", commune="Landerneau")
    alert = await observations.alert(tenancy.id, asset["id"])
    other = (await client.post("/v1/work-orders", json={"title": "Ensuite", "priority": "urgent"})).json()
    agent, reader = await enter(tenancy.id, "field_agent"), await enter(tenancy.id, "reader")
    stranger = await enter(other_tenancy.id, "service_manager")

    shown = await agent.get(f"/alertes/{alert}")
    form = await agent.get(f"/interventions/nouvelle?alerte={alert}")
    token = {"csrf": hidden(form, "csrf")}
    sent = token | {
        "alerte": str(alert),
        "title": "Vider <vite>",
        "priority": "high",
        "due_at": "2020-01-01T08:00",
    }
    empty = await agent.post("/interventions/nouvelle", data=sent | {"title": "", "description": "clé <9>"})
    made = await agent.post("/interventions/nouvelle", data=sent)

    assert f'href="/interventions/nouvelle?alerte={alert}"' in shown.text
    assert 'value="plein"' in form.text
    assert (empty.status_code, "clé &lt;9&gt;" in empty.text, made.status_code) == (422, True, 303)
    address = made.headers["location"]
    page = await agent.get(address)
    assert "Vider &lt;vite&gt;" in page.text
    assert "Borne &lt;7&gt;</a>, quai Léon, Landerneau" in page.text
    assert "En retard" in page.text
    assert f'href="/interventions/{other["id"]}"' in page.text  # The next one.

    assert (await agent.post(address, data=token | {"act": "start"})).status_code == 303
    photo = {"photo": ("photo.jpg", jpeg(exif=b"MM\0*GPS"), "image/jpeg")}
    unsaid = await agent.post(address, data=token | {"act": "done"})
    no_photo = await agent.post(
        address,
        data=token | {"act": "done", "resolution": "vidé <là>"},
        files={"photo": ("a.jpg", b"GIF", "image/jpeg")},
    )
    done = await agent.post(address, data=token | {"act": "done", "resolution": "vidé\r\n<là>"}, files=photo)
    assert (unsaid.status_code, no_photo.status_code, "vidé &lt;là&gt;" in no_photo.text) == (422, 422, True)
    assert done.status_code == 303, done.text
    assert await pool.fetchval("SELECT content FROM work_order_photo") == ONE_PIXEL
    order = (await client.get(f"/v1/work-orders/{address.rpartition('/')[2]}")).json()
    assert (order["state"], order["resolution"]) == ("done", "vidé\n<là>")
    assert (await client.get(f"/v1/alerts/{alert}")).json()["workflow"] == "resolved"
    after = await agent.get(address)
    assert "La suivante" in after.text
    assert "Rouvrir" in after.text

    listed = await reader.get("/interventions")
    assert "Ensuite" in listed.text
    assert "Vider" not in listed.text
    assert "Vider &lt;vite&gt;" in (await reader.get(f"/interventions?etat=all&equipement={asset['id']}")).text
    assert "Ensuite" not in (await agent.get("/interventions?a_moi=oui&retard=oui")).text
    assert "Que faire" not in (await reader.get(address)).text
    readers = {"csrf": hidden(await reader.get("/compte"), "csrf")}
    assert (await reader.post(address, data=readers | {"act": "reopen"})).status_code == 403
    assert (await stranger.get(address)).status_code == 404
    change = token | {"act": "change", "title": "Ensuite <2>", "priority": "low", "description": ""}
    changed = await agent.post(f"/interventions/{other['id']}", data=change)
    assert changed.status_code == 303
    assert (await client.get(f"/v1/work-orders/{other['id']}")).json()["title"] == "Ensuite <2>"
