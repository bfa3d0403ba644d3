"""Coverage in the console: white zones, communes, and what would be lost with a gateway."""

from datetime import UTC, datetime, timedelta

DAY = """
INSERT INTO observation.network_day
SELECT d.id, $2, s.asset_id, 40, $3, $3, $3, 400, 2, 1, ARRAY[g.id], ARRAY[$3::int], ARRAY[$3::int], '{1}'
FROM device d JOIN assignment s ON s.device_id = d.id, gateway g WHERE d.dev_eui = $1
"""


async def test_a_white_zone_and_what_hangs_on_one_gateway_are_shown_with_their_formula(
    enter, registry, tenancy, other_tenancy, pool
) -> None:
    reader, stranger = await enter(tenancy.id, "reader"), await enter(other_tenancy.id, "reader")
    assert "la couverture se lit le lendemain" in (await reader.get("/couverture")).text
    gateway = await registry.gateway(name="Mairie <1>")
    yesterday = datetime.now(UTC).date() - timedelta(days=2)
    for name, received in (("Bac <blanc>", 10), ("Bac couvert", 40)):
        asset = await registry.asset(name=name, commune="Rennes")
        device = await registry.device(asset_id=asset["id"])
        await pool.execute(DAY, bytes.fromhex(device["dev_eui"]), yesterday, received)

    page = (await reader.get("/couverture?objectif=60")).text
    assert "Bac &lt;blanc&gt;" in page
    assert "Bac couvert" not in page
    assert "<summary>75 %</summary>" in page.replace("\xa0", " ")
    assert "÷ 40 émis d’après leurs numéros" in page
    assert "50 %" in page.replace("\xa0", " ")
    lost = (await reader.get(f"/couverture?passerelle={gateway['gateway_id']}&etat=covered")).text
    assert "Ce qui serait perdu avec Mairie &lt;1&gt;" in lost
    assert "40 / 40" in lost
    hidden = await stranger.get(f"/couverture?passerelle={gateway['gateway_id']}")
    assert (hidden.status_code, "Rennes" in hidden.text) == (200, False)
    odd = await reader.get("/couverture?jours=abc&objectif=-5&etat=x&passerelle=zz&commune=%00")
    assert odd.status_code in {200, 422}


async def test_the_map_has_each_commune_with_n_and_dates_and_lists_white_zones(
    client, enter, registry, tenancy, other_tenancy, pool
) -> None:
    reader, stranger = await enter(tenancy.id, "reader"), await enter(other_tenancy.id, "reader")
    gateway = await registry.gateway(name="Mairie")
    yesterday = datetime.now(UTC).date() - timedelta(days=2)
    for name, received, place in (("Bac <blanc>", 10, 48.1), ("Bac couvert", 40, None)):
        where = {} if place is None else {"latitude": place, "longitude": -1.7}
        asset = await registry.asset(name=name, commune="Rennes", **where)
        device = await registry.device(asset_id=asset["id"])
        await pool.execute(DAY, bytes.fromhex(device["dev_eui"]), yesterday, received)
    silent = await registry.asset(name="Bac muet", commune="Bruz", latitude=48.0, longitude=-1.7)
    await registry.device(asset_id=silent["id"])

    page = (await reader.get("/carte/couverture?objectif=60")).text
    points = (await reader.get("/carte/couverture/points")).json()
    nothing = await reader.get("/carte/couverture?commune=Nulle+part")
    theirs = await stranger.get("/carte/couverture")
    own = (await reader.get(f"/passerelles/{gateway['gateway_id']}")).text

    assert 'data-layer="/v1/network/commune-layer?days=30&amp;target=60"' in page
    # Of the two that are known one is covered; Bruz has one of which nothing is known.
    assert "sous l’objectif" in page
    assert page.count("Bac &lt;blanc&gt;") == 1
    assert "exclu · Objectif : 60 %" in page.replace("\xa0", " ")
    assert 'href="/couverture?etat=white&amp;jours=30"' in page
    assert sorted(zip(points["name"], (points["states"][n] for n in points["state"]), strict=True)) == [
        ("Bac <blanc>", "critical"),
        ("Bac muet", "silent"),
    ]
    assert "Rien ne répond à ce filtre" in nothing.text
    assert "Bac" not in theirs.text
    assert "Ce qui serait perdu avec elle" in own
    assert "Bac couvert" in own
    assert "40 / 40" in own
