"""Bins in the console: days, emptyings, forecasts, tonnages, and readings where the network does not reach."""

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from indicators.waste.refresh import refresh_fill_days
from tests.api.console.conftest import hidden

PARIS = ZoneInfo("Europe/Paris")
HOUR = timedelta(hours=1)
PAGES = ("jours", "vidages", "previsions", "tonnages", "zones-blanches")


@pytest.fixture
async def glass(registry, observations, pool):
    """A bin of 4 m3 that was full for six hours the day before yesterday and was emptied then."""
    profile = await registry.profile(expected_interval_s=6 * 3600)
    asset = await registry.asset(
        kind="glass_container", name="Borne <1>", commune="Brest", attributes={"volume_l": 4000}
    )
    device = await registry.device(profile, asset_id=asset["id"])
    stream = await observations.datastream(device["dev_eui"], asset["id"], "fill_level", "%")
    day = datetime.now(PARIS).date() - timedelta(days=2)
    midnight = datetime.combine(day, datetime.min.time(), PARIS).astimezone(UTC)
    await observations.readings(stream, {midnight: 80.0} | {midnight + 6 * n * HOUR: 5.0 for n in range(1, 4)})
    await refresh_fill_days(pool)
    return asset["id"], stream, midnight


def plain(text: str) -> str:
    return re.sub(r"\s+", " ", text.replace("\u202f", " ").replace("\xa0", " "))


@pytest.mark.parametrize("page", PAGES)
async def test_a_page_about_bins_says_when_there_is_nothing(enter, tenancy, page) -> None:
    browser = await enter(tenancy.id, "reader")

    shown = await browser.get(f"/dechets/{page}")

    assert shown.status_code == 200
    assert 'class="empty"' in shown.text


async def test_days_emptyings_and_tonnes_are_shown_with_their_formulas(
    enter, tenancy, other_tenancy, glass, client
) -> None:
    browser, stranger = await enter(tenancy.id, "reader"), await enter(other_tenancy.id, "reader")

    for grouping in ("borne", "mois", "commune"):
        days = plain((await browser.get(f"/dechets/jours?par={grouping}")).text)
        # Six hours of the first of two days; known until six in the morning of the second.
        assert "<summary>0,25</summary>" in days, grouping
        assert "0,25 pleins + 1 dessous + 0,75 inconnus = 2" in days
    emptied = plain((await browser.get("/dechets/vidages")).text)
    assert "<summary>80 % → 5 %</summary>" in emptied
    assert "Borne &lt;1&gt;" in emptied
    for grouping in ("mois", "flux", "commune", "borne"):
        tonnes = plain((await browser.get(f"/dechets/tonnages?par={grouping}")).text)
        assert "<summary>0,99 t</summary>" in tonnes, grouping  # 4 m3 x 75 % x 0.33.
        assert "pas encore calé" in tonnes
    for page in PAGES:
        menu = (await browser.get(f"/dechets/{page}")).text
        assert re.findall(r'<a href="([^"]+)" aria-current="page">[^<]', menu) == [f"/dechets/{page}"]
        assert "Borne &lt;1&gt;" not in (await stranger.get(f"/dechets/{page}")).text


@pytest.mark.parametrize("query", ["du=2026-02-31", "du=2030-01-01", "seuil=130", "par=zut", "du=demain"])
async def test_what_cannot_be_asked_for_is_told(enter, tenancy, query) -> None:
    browser = await enter(tenancy.id, "reader")

    for page in PAGES:
        assert (await browser.get(f"/dechets/{page}?{query}")).status_code in {200, 404, 422}, page


async def test_a_ticket_is_typed_calibrates_and_is_taken_back(enter, tenancy, glass) -> None:
    driver = await enter(tenancy.id, "field_agent")
    form = {
        "csrf": hidden(await driver.get("/dechets/tonnages"), "csrf"),
        "ticket": "B-7",
        "stream": "glass",
        "weighed_at": f"{glass[2].astimezone(PARIS):%Y-%m-%d}T15:30",
        "net_kg": "1 200,5",
    }

    wrong = await driver.post("/dechets/tonnages", data=form | {"net_kg": "beaucoup"})
    done = await driver.post("/dechets/tonnages", data=form)
    shown = plain((await driver.get("/dechets/tonnages?par=flux")).text)
    again = await driver.post("/dechets/tonnages", data=form)
    number = re.search(r'name="retirer" value="(\d+)"', shown)
    gone = await driver.post("/dechets/tonnages", data={"csrf": form["csrf"], "retirer": number[1]})

    assert (wrong.status_code, done.status_code, again.status_code, gone.status_code) == (422, 303, 409, 303)
    assert "<summary>1,2 t</summary>" in shown
    assert "calé sur 1 charge pesée" in shown
    assert "déjà saisi" in again.text
    assert "B-7" not in (await driver.get("/dechets/tonnages")).text


async def test_what_is_read_where_nothing_is_received_is_entered_on_its_line(enter, tenancy, glass) -> None:
    driver, reader = await enter(tenancy.id, "field_agent"), await enter(tenancy.id, "reader")
    page = await driver.get("/dechets/zones-blanches")
    form = {"csrf": hidden(page, "csrf"), "datastream_id": str(glass[1]), "value": "62,5 %"}
    form["time"] = f"{datetime.now(PARIS):%Y-%m-%dT%H:%M}"

    wrong = await driver.post("/dechets/zones-blanches", data=form | {"value": "plein"})
    done = await driver.post("/dechets/zones-blanches", data=form)
    shown = plain((await driver.get("/dechets/zones-blanches")).text)

    assert (wrong.status_code, done.status_code) == (422, 303)
    assert "relevé à la main" in shown
    assert "Enregistrer le relevé" in shown
    assert "Enregistrer le relevé" not in (await reader.get("/dechets/zones-blanches")).text
