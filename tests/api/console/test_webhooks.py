"""Webhooks of measurements in the console: made, followed, stopped, restarted and removed."""

from datetime import UTC, datetime, timedelta

from alerting.measurement_batches import dispatch_measurements
from core.runtime.postgres import Pool, open_pool
from tests.api.console.conftest import hidden
from tests.api.routes.test_measurement_webhooks import address, make_stream, store


async def test_a_webhook_is_made_followed_stopped_restarted_and_removed(
    enter, tenancy, client, registry, observations, database, pool: Pool
) -> None:
    stream = await make_stream(registry, observations)
    manager = await enter(tenancy.id, "service_manager")
    reader = await enter(tenancy.id, "reader")
    empty = await manager.get("/webhooks")
    csrf = hidden(await manager.get("/destinataires/nouveau"), "csrf")
    typed = {"csrf": csrf, "form": "standard", "url": "https://a.example/m", "purpose": "measurements"}
    made = await manager.post("/destinataires/nouveau", data=typed)
    endpoint = await address(client, pool)
    page = await manager.get("/webhooks")
    form = {"csrf": hidden(page, "csrf"), "endpoint_id": str(endpoint["id"]), "description": "Tableau de bord"}
    wrong = await manager.post("/webhooks", data=form | {"batch_most": "5000"})
    sent = await manager.post("/webhooks", data=form | {"quantity": "fill_level", "batch_seconds": "1"})
    here = sent.headers["location"]

    await store(pool, (stream, timedelta(minutes=1), 5))
    async with open_pool(database.url_of("alerting"), "alerting", size=2) as alerting:
        await pool.execute("UPDATE measurement_webhook SET next_at = now()")
        assert await dispatch_measurements(alerting, datetime.now(UTC)) == 1
    shown = await manager.get(here)
    stopped = await manager.post(here, data={"csrf": form["csrf"], "act": "stop"})
    again = await manager.post(here, data={"csrf": form["csrf"], "act": "stop"})
    seen = await reader.get("/webhooks")
    read = await reader.get(here)
    await manager.post("/langue", data={"langue": "en"})
    english = await manager.get(here)
    restarted = await manager.post(here, data={"csrf": form["csrf"], "act": "restart", "from": "now"})
    removed = await manager.post(here, data={"csrf": form["csrf"], "act": "delete"})
    nothing = await manager.post(here, data={"csrf": form["csrf"], "act": "delete"})

    assert "Ajoutez d’abord l’adresse" in empty.text
    assert "whsec_" in made.text
    assert "https://a.example/m" in page.text
    assert (wrong.status_code, "5000" in wrong.text) == (422, True)
    assert here.startswith("/webhooks/1")
    assert ("attend son récepteur" in shown.text, "Tableau de bord" in shown.text) == (True, True)
    assert [one.status_code for one in (sent, stopped, again, restarted, removed, nothing)] == [
        303, 303, 409, 303, 303, 404,
    ]  # fmt: skip
    assert "arrêté par quelqu’un" in seen.text
    assert ("Relancer" in read.text, "Nouveau webhook" in seen.text) == (False, False)
    assert "stopped by somebody" in english.text
