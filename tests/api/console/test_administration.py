"""People, keys, tenants: who is in charge changes them, and nobody gives more than they have."""

import re
from datetime import UTC, datetime, timedelta

import pytest

from core.runtime.postgres import Pool
from registry.passwords import Passwords
from registry.people import enter_person
from tests.api.console.conftest import hidden

PASSWORD = "quatre mots pris au hasard"
AGE = "UPDATE person_session SET proved_at = now() - interval '1 hour'"


@pytest.fixture
async def colleague(pool: Pool, tenancy) -> int:
    async with pool.acquire() as connection:
        person_id = await enter_person(connection, tenancy.id, "paul@ville.example", "Paul", "", "field_agent")
    assert person_id is not None
    return person_id


async def test_somebody_is_invited_by_a_link_shown_once_given_a_role_and_withdrawn(
    enter, pool: Pool, tenancy, other_tenancy, colleague, client
) -> None:
    manager = await enter(tenancy.id, "service_manager")
    people = await manager.get("/personnes")
    token = {"csrf": hidden(people, "csrf")}

    for text in ("Paul", "agent de terrain", "jamais", "Ce que peut chaque rôle"):
        assert text in people.text
    assert 'value="operator"' not in people.text  # Nobody gives more than they have.
    asked = {"name": "Zoé 🌊 <b>", "email": "zoe@ville.example", "role": "reader"}
    wrong = await manager.post("/personnes", data=token | asked | {"email": "zoe"})
    above = await manager.post("/personnes", data=token | asked | {"role": "operator"})
    invited = await manager.post("/personnes", data=token | asked)
    after = await manager.get("/personnes")

    assert (wrong.status_code, above.status_code) == (422, 403)
    assert "adresse de courrier attendue" in wrong.text
    assert "Zoé 🌊 &lt;b&gt;" in wrong.text  # What was typed comes back.
    link = re.search(r"/invitation#([\w-]+)", invited.text)
    assert link is not None
    assert link[1] not in after.text
    assert "zoe@ville.example" in after.text
    withdrawn = re.search(r"/personnes/invitations/\d+", after.text)
    assert withdrawn is not None
    assert (await manager.post(withdrawn[0], data=token)).status_code == 303
    assert "zoe@ville.example" not in (await manager.get("/personnes")).text

    page = f"/personnes/{colleague}"
    shown = {**token, "version": hidden(await manager.get(page), "version"), "role": "auditor"}
    given = await manager.post(f"{page}/role", data=shown)
    stale = await manager.post(f"{page}/role", data=shown | {"role": "reader"})
    reset = await manager.post(f"{page}/mot-de-passe", data=token)
    unsure = await manager.post(f"{page}/retrait", data=token)

    assert (given.status_code, stale.status_code, unsure.status_code) == (303, 412, 422)
    assert "Quelqu’un a changé ce rôle entre-temps" in stale.text
    assert await pool.fetchval("SELECT count(*) FROM audit WHERE details->>'why' = 'If-Match'") == 1
    assert "/reset#" in reset.text
    assert "auditeur" in (await manager.get(page)).text
    stranger = await enter(other_tenancy.id, "service_manager")
    foreign = {"csrf": hidden(await stranger.get("/personnes"), "csrf")}
    assert (await stranger.get(page)).status_code == 404
    for act in ("role", "sessions", "mot-de-passe", "retrait"):
        answer = await stranger.post(f"{page}/{act}", data=foreign | {"role": "reader", "sure": "1"})
        assert answer.status_code == 404, act
    assert (await manager.post(f"{page}/retrait", data=token | {"sure": "1"})).status_code == 303
    assert (await manager.get(page)).status_code == 404


async def test_what_is_grave_asks_for_the_password_again_and_keeps_what_was_typed(
    enter, pool: Pool, tenancy, colleague
) -> None:
    manager = await enter(tenancy.id, "service_manager")
    token = {"csrf": hidden(await manager.get("/personnes"), "csrf")}
    await pool.execute(AGE)

    asked = {"name": "Zoé", "email": "zoe@ville.example", "role": "reader"}
    invited = await manager.post("/personnes", data=token | asked)
    page_of_colleague = await manager.get(f"/personnes/{colleague}")
    reader = token | {"role": "reader", "version": hidden(page_of_colleague, "version")}
    role = await manager.post(f"/personnes/{colleague}/role", data=reader)
    wrong = await manager.post("/personnes", data=token | asked | {"proof": "pas le bon"})
    removed = await manager.post("/compte/second-facteur", data=token | {"act": "remove"})

    assert (invited.status_code, role.status_code, wrong.status_code, removed.status_code) == (403, 403, 401, 403)
    for page in (invited, role):
        assert 'name="proof"' in page.text
        assert "donnez votre mot de passe" in page.text
    assert 'value="zoe@ville.example"' in invited.text
    assert "pas le bon" not in wrong.text
    assert await pool.fetchval("SELECT count(*) FROM invitation") == 0
    await pool.execute("UPDATE person SET password_hash = $1", await Passwords().hash_of(PASSWORD))
    proved = await manager.post("/personnes", data=token | asked | {"proof": PASSWORD})
    after = await manager.post(f"/personnes/{colleague}/role", data=reader)
    assert (proved.status_code, after.status_code) == (200, 303)


async def test_a_key_is_created_used_changed_and_revoked(enter, tenancy, other_tenancy, client_of_key) -> None:
    manager = await enter(tenancy.id, "service_manager")
    token = {"csrf": hidden(await manager.get("/cles"), "csrf")}
    tomorrow = f"{datetime.now(UTC) + timedelta(days=1):%Y-%m-%d}"
    asked = {"name": "Tournées", "roles": "read", "addresses": "192.0.2.0/24 10.0.0.0/8", "expires_at": tomorrow}

    wrong = await manager.post("/cles", data=token | asked | {"addresses": "ici"})
    above = await manager.post("/cles", data=token | asked | {"roles": "operate"})
    created = await manager.post("/cles", data=token | asked | {"addresses": "127.0.0.0/8"})
    key = re.search(r"terr_([0-9a-f]+)_[\w-]+", created.text)
    assert key is not None
    page = f"/cles/{key[1]}"
    shown = await manager.get(page)
    version = {"version": hidden(shown, "version")}
    async with client_of_key(key[0]) as theirs:
        assert (await theirs.get("/v1/assets")).status_code == 200
    again = await manager.get(page)  # Its use is no change.
    changed = await manager.post(page, data=token | version | {"name": "SIG"})
    stale = await manager.post(page, data=token | version | {"name": "Autre"})
    after = await manager.get(page)
    unsure = await manager.post(f"{page}/revocation", data=token)
    stranger = await enter(other_tenancy.id, "service_manager")
    foreign = {"csrf": hidden(await stranger.get("/cles"), "csrf"), "sure": "1", "name": "x"}

    assert (wrong.status_code, above.status_code, created.status_code) == (422, 403, 200)
    assert "réseau attendu" in wrong.text
    assert hidden(again, "version") == version["version"]
    assert (changed.status_code, stale.status_code, unsure.status_code) == (303, 412, 422)
    assert 'value="SIG"' in after.text
    assert 'value="Autre"' in stale.text
    assert key[0].split("_", 2)[2] not in after.text
    for answer in (
        await stranger.get(page),
        await stranger.post(page, data=foreign),
        await stranger.post(f"{page}/revocation", data=foreign),
    ):
        assert answer.status_code == 404
    assert (await manager.post(f"{page}/revocation", data=token | {"sure": "1"})).status_code == 303
    async with client_of_key(key[0]) as theirs:
        assert (await theirs.get("/v1/assets")).status_code == 401


async def test_the_operator_creates_a_tenant_and_sets_what_it_may_have(enter, pool: Pool, tenancy) -> None:
    operator = await enter(tenancy.id, "operator")
    token = {"csrf": hidden(await operator.get("/collectivites"), "csrf")}
    asked = {"name": "Ville de Landerneau", "slug": "landerneau", "department": "29"}

    created = await operator.post("/collectivites", data=token | asked)
    twice = await operator.post("/collectivites", data=token | asked)
    new = await pool.fetchval("SELECT id FROM tenant WHERE slug = 'landerneau'")
    page = f"/collectivites/{new}"
    answers = [
        await operator.post(f"{page}/quotas", data=token | {"devices": "7", "gateways": ""}),
        await operator.post(f"{page}/syndicat", data=token | {"tenant_id": str(tenancy.id)}),
        await operator.post(f"{page}/adresses", data=token | {"webhook_allow_list": "10.12.0.0/16 si.local"}),
        await operator.post(f"/collectivites/{tenancy.id}/departement", data=token | {"department": "57"}),
    ]
    wrong = await operator.post(f"{page}/quotas", data=token | {"devices": "beaucoup"})
    shown = await operator.get(page)
    invited = await operator.post(
        "/personnes",
        data=token | {"tenant": "landerneau", "name": "Anne", "email": "anne@ville.example", "role": "reader"},
    )

    assert "terr_" in created.text
    assert (twice.status_code, wrong.status_code, invited.status_code) == (409, 422, 200)
    assert "une collectivité porte déjà cet identifiant court" in twice.text
    assert [answer.status_code for answer in answers] == [303] * 4
    assert 'name="devices"' in shown.text
    assert "10.12.0.0/16 si.local" in shown.text
    assert await pool.fetchval("SELECT member_of FROM tenant WHERE id = $1", new) == tenancy.id
    assert await pool.fetchval("SELECT tenant_id FROM invitation WHERE email = 'anne@ville.example'") == new
    manager = await enter(tenancy.id, "service_manager")
    assert "Créer une collectivité" not in (await manager.get("/collectivites")).text


async def test_a_tenant_is_renamed_by_itself_and_closed_by_the_operator_who_confirms_it(
    enter, pool: Pool, tenancy, other_tenancy, other_client
) -> None:
    manager, operator = await enter(tenancy.id, "service_manager"), await enter(tenancy.id, "operator")
    token = {"csrf": hidden(await manager.get("/personnes"), "csrf")}
    own, other = f"/collectivites/{tenancy.id}", f"/collectivites/{other_tenancy.id}"

    empty = await manager.post(f"{own}/nom", data=token | {"name": ""})
    renamed = await manager.post(f"{own}/nom", data=token | {"name": "Ville <neuve>"})
    assert (empty.status_code, renamed.status_code) == (422, 303)
    assert "Ville &lt;neuve&gt;" in (await manager.get(own)).text
    assert "Fermer cette collectivité" not in (await operator.get(own)).text

    page = await operator.get(other)
    asked = {"csrf": hidden(page, "csrf"), "closed": "1"}
    assert "plus personne n’y entre" in page.text
    unsure = await operator.post(f"{other}/fermeture", data=asked)
    await pool.execute(AGE)
    unproved = await operator.post(f"{other}/fermeture", data=asked | {"sure": "1"})
    assert (unsure.status_code, unproved.status_code) == (422, 403)
    assert 'name="proof"' in unproved.text
    await pool.execute("UPDATE person_session SET proved_at = now()")
    closed = await operator.post(f"{other}/fermeture", data=asked | {"sure": "1"})
    assert closed.status_code == 303
    assert "Fermée" in (await operator.get(other)).text
    assert await pool.fetchval("SELECT closed_at IS NOT NULL FROM tenant WHERE id = $1", other_tenancy.id)
    assert (await operator.post(f"{other}/fermeture", data={"csrf": asked["csrf"]})).status_code == 303
    assert await pool.fetchval("SELECT closed_at IS NULL FROM tenant WHERE id = $1", other_tenancy.id)
    foreign = await manager.post(f"{other}/fermeture", data=token | {"closed": "1", "sure": "1"})
    assert foreign.status_code == 403


async def test_a_key_has_the_sites_whose_pages_may_call_it(enter, tenancy, client) -> None:
    manager = await enter(tenancy.id, "service_manager")
    token = {"csrf": hidden(await manager.get("/cles"), "csrf")}
    given = token | {"name": "carte", "roles": "read"}

    wrong = await manager.post("/cles", data=given | {"origins": "http://carte.ville.example"})
    made = await manager.post("/cles", data=given | {"origins": "https://carte.ville.example https://a.example"})

    assert (wrong.status_code, made.status_code) == (422, 200)
    (key,) = [one for one in (await client.get("/v1/api-keys")).json()["items"] if one["name"] == "carte"]
    assert key["origins"] == ["https://a.example", "https://carte.ville.example"]
    assert "<code>https://carte.ville.example</code>" in (await manager.get(f"/cles/{key['id']}")).text


async def test_a_cmms_has_a_secret_for_work_orders_alone_that_is_changed_suspended_and_removed(
    enter, tenancy, other_tenancy, client
) -> None:
    manager, reader = await enter(tenancy.id, "service_manager"), await enter(tenancy.id, "reader")
    token = {"csrf": hidden(await manager.get("/partenaires"), "csrf")}

    wrong = await manager.post("/partenaires", data=token | {"name": "G", "purpose": "other"})
    made = await manager.post("/partenaires", data=token | {"name": "GMAO <b>", "purpose": "work_orders"})
    (source,) = (await client.get("/v1/event-sources")).json()["items"]
    page = f"/partenaires/{source['id']}"
    assert (wrong.status_code, made.status_code, source["purpose"]) == (422, 200, "work_orders")
    assert "whsec_" in made.text
    assert f"/v1/work-order-reports/{source['id']}</code>" in made.text
    assert "GMAO &lt;b&gt;" in (await reader.get("/partenaires")).text
    assert "whsec_" not in (shown := (await reader.get(page)).text)
    assert "Changer son secret" not in shown

    unsure = await manager.post(page, data=token | {"act": "rotate"})
    rotated = await manager.post(page, data=token | {"act": "rotate", "sure": "1"})
    assert (unsure.status_code, rotated.status_code, "whsec_" in rotated.text) == (422, 200, True)
    for act, enabled in (("suspend", False), ("resume", True)):
        assert (await manager.post(page, data=token | {"act": act})).status_code == 303
        assert (await client.get(f"/v1/event-sources/{source['id']}")).json()["enabled"] is enabled
    stranger = await enter(other_tenancy.id, "service_manager")
    assert (await stranger.get(page)).status_code == 404
    assert (await manager.post(page, data=token | {"act": "remove"})).status_code == 422
    assert (await manager.post(page, data=token | {"act": "remove", "sure": "1"})).status_code == 303
    assert (await client.get("/v1/event-sources")).json()["items"] == []
