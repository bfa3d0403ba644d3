"""Programs of lamps in the console."""

from api.console.programs.form import values_of_program
from tests.api.console.conftest import hidden

FULL = {
    "default": {"on": {"event": "sunset", "offset": 10}, "off": "06:30", "night_cut": ["23:30", "05:00"]},
    "rules": [
        {"schedule": {"lit": False}, "from": "12-20", "to": "01-05", "weekdays": [5, 6]},
        {"schedule": {"dimming": [["22:00", 50]]}, "holidays": "public", "dates": ["2027-07-14"]},
    ],
    "coefficient": 0.9,
}
TYPED = {
    "name": "Coupure", "on": "coucher + 10", "off": "6h30", "cut_from": "23h30", "cut_to": "05:00",
    "r0.day5": "1", "r0.day6": "1", "r0.from": "20/12", "r0.to": "05/01", "r0.unlit": "non",
    "r1.holidays": "public", "r1.dates": "14/07/2027", "r1.dimming": "22:00 50 %", "coefficient": "90",
}  # fmt: skip


def test_what_a_program_holds_is_shown_as_people_type_it() -> None:
    values = {name: value for name, value in values_of_program("Coupure", FULL).items() if value}

    assert values == {**TYPED, "off": "06:30", "cut_from": "23:30", "r1.on": "coucher", "r1.off": "lever"}


async def test_a_program_is_typed_simulated_written_by_two_people_and_assigned_after_a_question(
    enter, tenancy, other_tenancy, client, registry
) -> None:
    browser, reader = await enter(tenancy.id, "service_manager"), await enter(tenancy.id, "reader")
    stranger = await enter(other_tenancy.id, "service_manager")
    cabinet = await registry.asset(
        kind="lighting_cabinet", name="<script>Rue", commune="Landerneau", latitude=48.45, longitude=-4.25
    )
    token = {"csrf": hidden(await browser.get("/programmes/nouveau"), "csrf")}

    wrong = await browser.post("/programmes/nouveau", data=token | TYPED | {"cut_from": "25:00", "act": "save"})
    vague = await browser.post("/programmes/nouveau", data=token | TYPED | {"on": "tôt", "act": "save"})
    tried = await browser.post("/programmes/nouveau", data=token | TYPED | {"act": "simulate", "price": "0,25"})
    none = (await client.get("/v1/lighting-programs")).json()["items"]
    made = await browser.post("/programmes/nouveau", data=token | TYPED | {"act": "save"})
    program = (await client.get("/v1/lighting-programs")).json()["items"][0]
    address = made.headers["location"]
    page = await browser.get(address)
    version = {"version": hidden(page, "version")}
    first = await browser.post(address, data=token | version | TYPED | {"cut_from": "23:00", "act": "save"})
    second = await browser.post(address, data=token | version | TYPED | {"cut_from": "22:00", "act": "save"})
    how = {"how": "place", "commune": "Landerneau"}
    asked = await browser.post(f"{address}/affectation", data=token | how)
    not_yet = (await client.get("/v1/lighting-programs/assignments")).json()["items"]
    done = await browser.post(f"{address}/affectation", data=token | how | {"confirm": "yes"})
    nowhere = await browser.post(f"{address}/affectation", data=token | {"how": "place"})
    followers = (await client.get("/v1/lighting-programs/assignments")).json()["items"]
    shown, listed = await browser.get(address), await browser.get("/programmes")
    of_cabinet = await browser.get(f"/eclairage/{cabinet['id']}")
    refused = await reader.post(f"{address}/affectation", data=token | how | {"confirm": "yes"})

    assert (wrong.status_code, vague.status_code) == (422, 422)
    assert "25:00" in wrong.text
    assert 'value="25:00"' in wrong.text
    assert "Écrivez coucher" in vague.text
    assert tried.status_code == 200
    assert "rien n’est enregistré" in tried.text
    assert '<svg class="night"' in tried.text
    assert '<svg class="year"' in tried.text
    assert "style=" not in tried.text
    assert none == []
    assert (made.status_code, program["program"]) == (303, FULL)
    assert (first.status_code, second.status_code) == (303, 412)
    assert 'value="22:00"' in second.text
    assert "<strong>1</strong>" in asked.text
    assert not_yet == []
    assert (done.status_code, nowhere.status_code) == (303, 422)
    assert [(one["asset_id"], one["version"]) for one in followers] == [(cabinet["id"], 2)]
    assert "&lt;script&gt;Rue" in shown.text
    assert "Coupure" in listed.text
    assert address in of_cabinet.text
    assert refused.status_code == 403
    assert "<form" not in (await reader.get(address)).text.split("<main", 1)[1].split("</main")[0]
    assert (await stranger.get(address)).status_code == 404


async def test_a_syndicat_sets_the_bounds_of_a_member_and_of_two_people_the_second_overwrites_nothing(
    enter, tenancy, other_tenancy, client, pool
) -> None:
    await pool.execute("UPDATE tenant SET member_of = $1 WHERE id = $2", tenancy.id, other_tenancy.id)
    browser, reader = await enter(tenancy.id, "service_manager"), await enter(tenancy.id, "reader")
    member = await enter(other_tenancy.id, "service_manager")
    address, route = f"/programmes/bornes/{other_tenancy.id}", f"/v1/lighting/bounds/{other_tenancy.id}"
    listed, page = await browser.get("/programmes"), await browser.get(address)
    token = {"csrf": hidden(page, "csrf"), "version": hidden(page, "version")}
    tags = ["carrefour", "école"]
    typed = {
        "earliest_cut": "23h",
        "latest_return": "5h30",
        "least_level": "30",
        "protected_tags": ", ".join(tags),
    }

    none = await client.get(route)
    wrong = await browser.post(address, data=token | typed | {"earliest_cut": "25:00", "least_level": "101"})
    beyond = await browser.post(address, data=token | typed | {"least_level": "101"})
    first = await browser.post(address, data=token | typed)
    second = await browser.post(address, data=token | typed | {"earliest_cut": "21:00"})
    kept = await client.get(route)
    stale = await client.put(route, json={"earliest_cut": "22:00"}, headers={"If-Match": '"autre"'})
    seen = await member.get("/programmes")
    again = await browser.get(address)
    lifted = await browser.post(
        address, data={"csrf": hidden(again, "csrf"), "version": hidden(again, "version"), "least_level": ""}
    )

    assert f'href="{address}"' in listed.text
    assert (none.status_code, wrong.status_code, beyond.status_code) == (404, 422, 422)
    assert "Un nombre entier de 1 à 100" in beyond.text
    assert 'value="25:00"' in wrong.text
    assert first.headers["location"] == "/programmes"
    assert (second.status_code, stale.status_code) == (412, 412)
    assert 'value="21:00"' in second.text
    set_ = {"earliest_cut": "23:00", "latest_return": "05:30", "least_level": 30, "protected_tags": tags}
    assert {name: kept.json()[name] for name in set_} == set_
    assert "pas d’extinction avant 23:00" in seen.text
    assert "protégées : carrefour, école" in seen.text
    assert 'value="23:00"' in again.text
    assert (lifted.status_code, (await client.get(route)).status_code) == (303, 404)
    assert (await reader.get(address)).status_code == 403
    assert "bornes/" not in (await reader.get("/programmes")).text
    assert (await member.get(f"/programmes/bornes/{tenancy.id}")).status_code == 404
