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
