"""Campaigns in the console: prepared by one person, approved by another, and everything lit with the password."""

from datetime import UTC, datetime, timedelta

from core.runtime.postgres import Pool
from tests.api.console.conftest import hidden


async def test_one_person_prepares_a_campaign_and_another_approves_it(
    enter, tenancy, registry, pool: Pool
) -> None:
    cabinet = await registry.cabinet(name="Armoire <b>du port</b>")
    author, other, reader = [await enter(tenancy.id, role) for role in ("service_manager", "operator", "reader")]
    form = await author.get("/campagnes/nouvelle")
    given = {
        "csrf": hidden(form, "csrf"), "name": "Feu d’artifice", "action": "off", "reason": "14 juillet",
        "off_until": (datetime.now(UTC) + timedelta(hours=3)).strftime("%Y-%m-%dT%H:%M"), "commune": "Landerneau",
    }  # fmt: skip

    nowhere = await author.post("/campagnes/nouvelle", data=given | {"commune": "Nulle part"})
    made = await author.post("/campagnes/nouvelle", data=given)
    page = await author.get(made.headers["location"])
    by_author = await author.post(f"{made.headers['location']}/approbation", data={"csrf": hidden(page, "csrf")})
    seen_by_other = await other.get(made.headers["location"])
    approved = await other.post(
        f"{made.headers['location']}/approbation", data={"csrf": hidden(seen_by_other, "csrf")}
    )
    figures = await reader.get(f"{made.headers['location']}/avancement", params={"etat": "draft"})
    same = await reader.get(f"{made.headers['location']}/avancement", params={"etat": "approved"})
    detail = await reader.get(f"{made.headers['location']}/detail")
    listed = await reader.get("/campagnes")
    refused = await reader.get("/campagnes/nouvelle")

    assert (nowhere.status_code, "aucun circuit" in nowhere.text, "Feu d’artifice" in nowhere.text) == (
        422,
        True,
        True,
    )
    assert made.status_code == 303
    assert "Armoire &lt;b&gt;du port&lt;/b&gt;" in page.text
    assert (by_author.status_code, "autre personne" in by_author.text) == (409, True)
    assert approved.status_code == 303
    assert ("approuvée, part" in listed.text, "Préparer une campagne" in listed.text) == (True, False)
    assert refused.status_code == 403
    # Who looks at the draft is shown the whole page once it is approved; then budget and circuits by themselves.
    assert f"{made.headers['location']}/avancement?etat=draft" in page.text
    assert (figures.headers.get("HX-Refresh"), same.headers.get("HX-Refresh")) == ("true", None)
    assert ("Armoire &lt;b&gt;du port" in detail.text, "Ce qui reste à envoyer" in detail.text) == (True, True)
    assert f'hx-get="{made.headers["location"]}/detail"' in detail.text
    assert "<html" not in detail.text
    assert await pool.fetchval("SELECT approver_id <> author_id FROM lighting_campaign")
    assert await pool.fetchval("SELECT asset_id FROM lighting_campaign_target") == cabinet["id"]


async def test_everything_is_lit_after_a_preview_and_the_password(enter, tenancy, registry, pool: Pool) -> None:
    await registry.cabinet()
    person = await enter(tenancy.id, "service_manager")
    form = await person.get("/tout-allumer")
    given = {"csrf": hidden(form, "csrf"), "reason": "accident", "commune": ""}
    await pool.execute("UPDATE person_session SET proved_at = now() - interval '1 hour'")

    without = await person.post("/tout-allumer", data=given | {"confirm": "yes"})
    asked = await pool.fetchval("SELECT count(*) FROM lighting_campaign")
    await pool.execute("UPDATE person_session SET proved_at = now()")
    shown = await person.post("/tout-allumer", data=given)
    done = await person.post("/tout-allumer", data=given | {"confirm": "yes"})
    page = await person.get(done.headers["location"])

    assert (without.status_code, 'name="proof"' in without.text, asked) == (403, True, 0)
    assert ("Oui, tout allumer maintenant" in shown.text, "1 circuits" in shown.text) == (True, True)
    assert "Tout allumer : toutes les communes" in page.text
    assert await pool.fetchval("SELECT is_emergency AND state = 'approved' FROM lighting_campaign")
