"""MQTT accesses in the console: a reader opens one, sees its password once, renews it and removes it."""

from core.runtime.postgres import Pool
from tests.api.console.conftest import hidden

PAGE = "/acces-mqtt"


async def test_a_reader_opens_follows_renews_and_removes_an_access(enter, tenancy, pool: Pool) -> None:
    reader, manager = [await enter(tenancy.id, role) for role in ("reader", "service_manager")]
    empty = await reader.get(PAGE)
    csrf = {"csrf": hidden(empty, "csrf")}
    unnamed = await reader.post(PAGE, data=csrf | {"name": ""})
    created = await reader.post(PAGE, data=csrf | {"name": "Node-RED <b>"})
    [access] = await pool.fetch("SELECT id, application_id FROM application")
    here = f"{PAGE}/{access['id']}"
    await pool.execute(
        "INSERT INTO application_state (application_id, tenant_id, published, withheld, last_published_at, "
        "last_error, last_error_at) VALUES ($1, $2, 41, 7, now(), 'courtier MQTT injoignable', now())",
        access["id"],
        tenancy.id,
    )
    shown = await reader.get(here)
    unsure = await reader.post(here, data=csrf | {"act": "renew"})
    renewed = await reader.post(here, data=csrf | {"act": "renew", "sure": "1"})
    of_manager = await manager.get(here)
    theirs = {"csrf": hidden(of_manager, "csrf"), "act": "renew", "sure": "1"}
    not_theirs = await manager.post(here, data=theirs)
    await reader.post("/langue", data=csrf | {"langue": "en"})
    english = await reader.get(here)
    await pool.execute("UPDATE person SET disabled_at = now() WHERE email = 'p0@ville.example'")
    ended = await manager.get(PAGE)
    removed = await manager.post(here, data=theirs | {"act": "remove"})

    assert "Aucun logiciel" in empty.text
    assert unnamed.status_code == 422
    assert "ne sera plus montré" in created.text
    assert f"territoire/events/sdef/application/{access['application_id']}/device/+/event/+" in shown.text
    assert ("Node-RED &lt;b&gt;" in shown.text, "injoignable" in shown.text, ">41<" in shown.text) == (True,) * 3
    assert ("ne sera plus montré" in shown.text, "once-shown" in shown.text) == (False, False)
    assert (unsure.status_code, "Cochez la case" in unsure.text) == (422, True)
    assert ("once-shown" in renewed.text, "L’ancien compte vaut aussi" in renewed.text) == (True, True)
    assert "Changer le mot de passe" not in of_manager.text
    assert (not_theirs.status_code, "elle seule" in not_theirs.text) == (403, True)
    assert "What to subscribe to" in english.text
    assert "la personne qui l’a créé n’a plus de rôle" in ended.text
    assert removed.status_code == 303
    assert await pool.fetchval("SELECT count(*) FROM mqtt_account") == 0
