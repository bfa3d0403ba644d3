"""One filter by commune, quarter, tag and place: on every list, on the map, and in an address that can be sent."""

import re

import pytest

from api.console.where import Where
from core.runtime.http.errors import Problem

HERE, FAR = {"latitude": 48.45, "longitude": -4.25}, {"latitude": 48.48, "longitude": -4.25}
# By what somebody asks; the first of two assets is meant each time.
ASKED = (
    {"commune": "Landerneau"},
    {"quartier": "Le Port"},
    {"etiquette": "ecole"},
    {"zone": "-4.3,48.4,-4.2,48.46"},
    {"autour": "48,4501 ; -4,2501", "rayon": "200"},
)


async def test_every_list_and_the_map_are_filtered_alike(
    enter, registry, observations, tenancy, client, pool
) -> None:
    profile = await registry.profile()
    for name, more in (
        ("Borne <ici>", HERE | {"commune": "Landerneau", "quarter": "Le Port", "tags": ["ecole"]}),
        ("Borne <loin>", FAR | {"commune": "Brest", "quarter": "Recouvrance", "tags": ["voirie"]}),
    ):
        asset = await registry.asset(name=name, **more)
        await registry.device(profile, name=f"capteur de {name}", asset_id=asset["id"])
        await observations.alert(tenancy.id, asset["id"])
        await client.post("/v1/work-orders", json={"title": f"vider {name}", "asset_ids": [asset["id"]]})
    await pool.execute("UPDATE assignment SET during = tstzrange(now() - interval '10 days', NULL)")
    browser = await enter(tenancy.id, "reader")

    for asked in ASKED:
        for page in ("/equipements", "/carte", "/alertes", "/interventions", "/sante"):
            shown = await browser.get(page, params=asked)
            assert shown.status_code == 200, shown.text
            assert ("Borne &lt;ici&gt;" in shown.text, "Borne &lt;loin&gt;" in shown.text) == (True, False), (
                page,
                asked,
            )
        points = (await browser.get("/carte/points", params=asked)).json()
        assert points["name"] == ["Borne <ici>"], asked
        table = (await browser.get("/sante/export", params=asked)).text
        assert ("<ici>" in table, "<loin>" in table) == (True, False), asked
    everything = {name: value for one in ASKED for name, value in one.items()} | {"q": "borne"}
    shown = (await browser.get("/carte", params=everything)).text
    (points_at,) = re.findall(r'data-points="([^"]*)"', shown)
    assert (await browser.get(points_at.replace("&amp;", "&"))).json()["name"] == ["Borne <ici>"]
    assert 'details class="more" open' in shown
    assert "Dans la zone de la carte" in shown
    (everywhere,) = re.findall(r'href="([^"]*)">Partout', shown)
    assert "zone=" not in everywhere
    assert "q=borne" in everywhere
    for wrong in ({"autour": "ici"}, {"autour": "95, 0"}, {"zone": "1,2"}):
        assert (await browser.get("/equipements", params=wrong)).status_code == 422
    asset_page = (await browser.get(f"/equipements/{asset['id']}")).text
    assert 'href="/equipements?etiquette=voirie"' in asset_page
    assert 'href="/equipements?quartier=Recouvrance"' in asset_page


@pytest.mark.parametrize("text", ["48.45,-4.25", "48.45, -4.25", "48,45 -4,25", "48,45;-4,25", " 48.45  -4.25 "])
def test_a_point_is_read_as_people_write_it(text: str) -> None:
    circle = Where(autour=text, rayon="1000").circle()

    assert circle is not None
    assert (circle.latitude, circle.longitude, circle.radius) == (48.45, -4.25, 1000)


def test_a_point_that_is_none_says_how_it_is_written() -> None:
    with pytest.raises(Problem, match=r"48\.4499"):
        Where(autour="48.45").circle()
