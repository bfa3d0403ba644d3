"""Costs in the console: entered as people write amounts, opened to their formula, issued once."""

from datetime import UTC, datetime

from tests.api.console.conftest import hidden

YEAR = datetime.now(UTC).year


async def test_a_year_is_entered_opened_to_its_formulas_and_issued(enter, tenancy, other_tenancy) -> None:
    manager, reader = await enter(tenancy.id, "service_manager"), await enter(tenancy.id, "reader")
    stranger = await enter(other_tenancy.id, "service_manager")
    empty = await manager.get("/couts")
    assert "Rien à répartir encore" in empty.text
    token = {"csrf": hidden(await manager.get("/couts/contributeurs"), "csrf")}
    for name, inhabitants in (("Landerneau <1>", "16000"), ("Loperhet", "900")):
        added = await manager.post(
            "/couts/contributeurs",
            data=token | {"name": name, "since": f"{YEAR}-01-01", "inhabitants": inhabitants},
        )
        assert added.status_code == 303, added.text
    item = token | {"name": "Réseau", "first_year": str(YEAR), "method": "key", "counted": "average"}
    item |= {"amount": "43 000,50 €", "share_inhabitants": "40", "share_gateways": "59,5"}
    item |= {"flat_below": "1500", "flat": "500"}
    short = await manager.post("/couts/postes", data=item)
    assert (short.status_code, "99,5 % au lieu de 100" in short.text) == (422, True)
    assert 'value="43 000,50 €"' in short.text
    odd = await manager.post("/couts/postes", data=item | {"amount": "1,234"})
    assert (odd.status_code, "deux décimales au plus" in odd.text) == (422, True)
    made = await manager.post("/couts/postes", data=item | {"share_gateways": "60"})
    assert made.status_code == 303, made.text
    assert "40 % habitants, 60 % passerelles" in (await reader.get("/couts/postes")).text

    before = await manager.get("/couts")
    assert "Loperhet : rien au registre en passerelles" in before.text
    assert "Émettre le décompte" not in before.text
    refused = await manager.post("/couts", data=token | {"year": str(YEAR)})
    assert (refused.status_code, "ne peut pas être émis" in refused.text) == (422, True)
    ledger = (await manager.get("/couts/registre")).text
    ids = [part.partition('"')[0] for part in ledger.split('<option value="')[1:3]]
    for contributor, quantity in zip(ids, ("4", "0"), strict=True):
        entry = {"contributor_id": contributor, "basis": "gateways", "day": f"{YEAR}-01-01", "quantity": quantity}
        assert (await manager.post("/couts/registre", data=token | entry)).status_code == 303
    forgotten = await manager.post("/couts/registre", data=token | entry | {"corrects": "1"})
    assert (forgotten.status_code, "dit son motif" in forgotten.text) == (422, True)

    page = await manager.get("/couts")
    assert "Landerneau &lt;1&gt;</strong> : 42\u202f500,50\u202f€" in page.text
    assert "forfait : 500,00\u202f€" in page.text
    assert "Émettre le décompte" not in (await reader.get("/couts")).text
    issued = await manager.post("/couts", data=token | {"year": str(YEAR), "remark": "voté <juin>"})
    assert issued.status_code == 303
    shown = await reader.get(issued.headers["location"])
    assert "43\u202f000,50\u202f€" in shown.text
    assert "voté &lt;juin&gt;" in shown.text
    assert (await stranger.get(issued.headers["location"])).status_code == 404
    assert (await reader.post("/couts", data=token | {"year": str(YEAR)})).status_code == 403
    reader.cookies.set("langue", "en", domain="localhost.local")
    assert "What each contributor pays of the network" in (await reader.get("/couts")).text
