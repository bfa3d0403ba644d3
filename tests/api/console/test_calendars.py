"""Opening hours in the console."""

from api.console.calendars.views import read_hours
from tests.api.console.conftest import hidden


def test_hours_are_read_as_people_write_them() -> None:
    assert read_hours("7h30-12h, 13:30 – 18:00") == [["07:30", "12:00"], ["13:30", "18:00"]]
    assert read_hours(" ") == []
    assert read_hours("le matin") is None


async def test_a_calendar_is_made_changed_by_two_people_and_removed(enter, tenancy, other_tenancy, client) -> None:
    browser, stranger = await enter(tenancy.id, "service_manager"), await enter(other_tenancy.id, "reader")
    form = await browser.get("/calendriers/nouveau")
    token = {"csrf": hidden(form, "csrf")}
    typed = {"name": "Écoles", "day0": "7h30-18h30", "school_zone": "B", "closures": "2027-08-01 au 2027-08-16"}

    wrong = await browser.post("/calendriers/nouveau", data=token | typed | {"day0": "tôt", "closures": "été"})
    made = await browser.post("/calendriers/nouveau", data=token | typed)
    taken = await browser.post("/calendriers/nouveau", data=token | typed)

    assert wrong.status_code == 422
    assert "Des plages, par exemple" in wrong.text
    assert 'value="tôt"' in wrong.text
    assert (made.status_code, taken.status_code) == (303, 422)
    school = next(
        one for one in (await client.get("/v1/alert-calendars")).json()["items"] if one["name"] == "Écoles"
    )
    assert school["weekly"] == [[["07:30", "18:30"]], [], [], [], [], [], []]
    assert school["closures"] == [["2027-08-01", "2027-08-16"]]
    address = f"/calendriers/{school['id']}"
    version = {"version": hidden(await browser.get(address), "version")}
    first = await browser.post(address, data=token | version | {"day1": "8:00-12:00"})
    second = await browser.post(address, data=token | version | {"day1": "9:00-12:00"})
    assert (first.status_code, second.status_code) == (303, 412)
    assert 'value="9:00-12:00"' in second.text
    assert (await client.get(f"/v1/alert-calendars/{school['id']}")).json()["weekly"][1] == [["08:00", "12:00"]]
    assert (await stranger.get(address)).status_code == 404
    assert (await browser.post(f"{address}/suppression", data=token)).status_code == 303
    assert (await browser.get(address)).status_code == 404
    assert "heures d&#39;ouverture" in (await browser.get("/calendriers")).text
