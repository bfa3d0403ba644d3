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
