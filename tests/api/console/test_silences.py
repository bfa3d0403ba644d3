"""Silences and works in the console, begun from an alert or by their own form."""

import re
from datetime import UTC, datetime, timedelta

from api.console.silences.views import end_of
from core.model.region import PARIS
from tests.api.console.conftest import hidden


def test_a_silence_until_the_morning_ends_at_eight_local_time_tomorrow() -> None:
    evening = datetime(2026, 3, 28, 22, 30, tzinfo=UTC)  # The clocks go forward in the night.

    assert end_of("demain", evening, PARIS) == datetime(2026, 3, 29, 6, tzinfo=UTC)
    assert end_of("8h", evening, PARIS) == evening + timedelta(hours=8)
    assert end_of("toujours", evening, PARIS) is None


async def test_an_alert_is_muted_in_one_form_and_the_silence_is_ended_early(
    enter, registry, observations, tenancy, other_tenancy, client, other_client, pool
) -> None:
    asset = await registry.asset(name="Borne <7>", street="quai Léon", commune="Landerneau")
    alert = await observations.alert(tenancy.id, asset["id"])
    caused = await observations.alert(tenancy.id, (await registry.asset(name="Lampe 3"))["id"])
    await pool.execute(
        "UPDATE alert SET muted_by = $2 WHERE id = $1", caused, f"expliquée par l'alerte n° {alert}"
    )
    await pool.execute("UPDATE alert SET message = 'lampe muette' WHERE id = $1", caused)
    browser, agent = await enter(tenancy.id, "service_manager"), await enter(tenancy.id, "field_agent")
    stranger = await enter(other_tenancy.id, "service_manager")

    page = await browser.get(f"/alertes/{alert}")
    token = {"csrf": hidden(page, "csrf")}
    muted = await browser.post(
        f"/alertes/{alert}/silence", data=token | {"portee": "ici", "motif": "travaux sur place", "duree": "8h"}
    )
    works = await browser.post(
        f"/alertes/{alert}/silence", data=token | {"portee": "travaux", "precision": "câble", "duree": "demain"}
    )
    vague = await browser.post(f"/alertes/{alert}/silence", data=token | {"portee": "ici", "motif": "x"})

    assert "Bac plein" in page.text
    assert "Borne &lt;7&gt;</a>, quai Léon, Landerneau" in page.text
    assert "lampe muette" in page.text.partition("Ce qu’elle explique")[2]
    assert (muted.status_code, works.status_code, vague.status_code) == (303, 303, 422)
    (silence,) = (await client.get("/v1/silences")).json()["items"]
    (window,) = (await client.get("/v1/maintenance-windows")).json()["items"]
    assert (silence["asset_id"], silence["reason"]) == (asset["id"], "travaux sur place")
    assert silence["rule_id"] is not None
    assert datetime.fromisoformat(silence["ends_at"]) - datetime.now(UTC) > timedelta(hours=7.9)
    assert (window["asset_id"], window["reason"]) == (asset["id"], "câble")
    assert "Ne plus prévenir" not in (await agent.get(f"/alertes/{alert}")).text
    agents = {"csrf": hidden(await agent.get(f"/alertes/{alert}"), "csrf")}
    refused = await agent.post(f"/alertes/{alert}/silence", data=agents | {"portee": "ici", "duree": "8h"})
    assert refused.status_code == 403
    strangers = {"csrf": hidden(await stranger.get("/compte"), "csrf")}
    for address in (f"/alertes/{alert}/silence", f"/silences/{silence['id']}/fin"):
        foreign = await stranger.post(address, data=strangers | {"portee": "ici", "motif": "x", "duree": "1h"})
        assert foreign.status_code == 404

    listed = await browser.get("/silences")
    assert "travaux sur place" in listed.text
    assert "câble" in listed.text
    for address in re.findall(r'action="(/silences/[^"]*/fin)"', listed.text):
        assert (await browser.post(address, data=token)).status_code == 303
    assert "Rien n’est tu" in (await browser.get("/silences")).text
    assert "câble" in (await browser.get("/silences?termines=oui")).text
    assert (await other_client.get("/v1/silences?ended=true")).json()["items"] == []


async def test_a_silence_is_made_by_its_form_and_what_does_not_fit_comes_back(
    enter, registry, tenancy, client
) -> None:
    named = [await registry.asset(name=name, street="rue Haute") for name in ("Bac 1", "Bac 12")]
    browser = await enter(tenancy.id, "service_manager")
    form = await browser.get(f"/silences/nouveau?equipement={named[0]['id']}&travaux=oui")
    token = {"csrf": hidden(form, "csrf"), "reason": "fête <de quartier>", "ends_at": "2030-06-21T22:00"}

    vague = await browser.post("/silences/nouveau", data=token)
    several = await browser.post("/silences/nouveau", data=token | {"travaux": "oui", "equipement": "bac"})
    unknown = await browser.post("/silences/nouveau", data=token | {"equipement": "nulle part"})
    past = await browser.post(
        "/silences/nouveau", data=token | {"equipement": "bac 1", "ends_at": "2020-06-21T22:00"}
    )
    made = await browser.post("/silences/nouveau", data=token | {"commune": "Landerneau"})
    works = await browser.post("/silences/nouveau", data=token | {"travaux": "oui", "equipement": "bac 1"})

    assert "Bac 1</a>, et ce qui en dépend" in form.text
    assert [page.status_code for page in (vague, several, unknown, past)] == [422] * 4
    assert "fête &lt;de quartier&gt;" in vague.text
    assert several.text.count('type="radio" name="asset_id"') == 2
    assert "Aucun équipement ne s’appelle ainsi" in unknown.text
    assert "la fin est dans le passé" in past.text
    assert (made.status_code, works.status_code) == (303, 303)
    (silence,) = (await client.get("/v1/silences")).json()["items"]
    (window,) = (await client.get("/v1/maintenance-windows")).json()["items"]
    assert (silence["commune"], silence["ends_at"]) == ("Landerneau", "2030-06-21T20:00:00Z")
    assert window["asset_id"] == named[0]["id"]
