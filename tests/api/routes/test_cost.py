"""Costs over the API: shared, issued once, read by those who pay; nothing of the ledger is ever changed."""

import asyncpg
import httpx
import pytest

from core.runtime.postgres import Pool
from tests.api.conftest import Tenancy

GATEWAYS = [{"basis": "gateways"}]
ITEMS = (
    {"name": "Achat", "method": "rate", "amount_cents": 750_000, "shares": GATEWAYS, "counted": "added"},
    {"name": "Cœur de réseau", "method": "pro_rata", "amount_cents": 28_000_000, "shares": GATEWAYS, "per": 200},
    {"name": "Abonnement", "method": "rate", "amount_cents": 50_000, "shares": GATEWAYS},
    {"name": "Maintenance", "method": "key", "amount_cents": 500_000, "shares": GATEWAYS},
)


async def post(client: httpx.AsyncClient, path: str, body: dict, status: int = 201) -> dict:
    answer = await client.post(f"/v1/cost-{path}", json=body)
    assert answer.status_code == status, answer.text
    return answer.json()


async def test_a_year_is_drafted_issued_and_read_by_the_member_that_pays(
    client: httpx.AsyncClient,
    other_client: httpx.AsyncClient,
    tenancy: Tenancy,
    other_tenancy: Tenancy,
    pool: Pool,
    database,
) -> None:
    await pool.execute("UPDATE tenant SET member_of = $1 WHERE id = $2", tenancy.id, other_tenancy.id)
    periods = [{"since": "2026-01-01", "inhabitants": 9_000}]
    member = await post(
        client, "contributors", {"name": "Autre", "member": other_tenancy.slug, "periods": periods}
    )
    alone = await post(client, "contributors", {"name": "Commune", "periods": periods})
    for item in ITEMS:
        await post(client, "items", item | {"first_year": 2026})
    made = await post(
        client,
        "entries",
        {"contributor_id": member["id"], "basis": "gateways", "day": "2026-01-01", "quantity": 21},
    )
    draft = (await client.get("/v1/cost-statements/draft?year=2026")).json()
    assert [gap["message"] for gap in draft["gaps"]] == ["Commune : rien au registre en passerelles"]
    refused = await client.post("/v1/cost-statements", json={"year": 2026})
    assert (refused.status_code, "rien au registre" in refused.text) == (422, True)

    correction = {"contributor_id": member["id"], "basis": "gateways", "day": "2026-01-01", "quantity": -9}
    correction |= {"corrects": made["id"]}
    assert "une correction dit son motif" in str(await post(client, "entries", correction, 422))
    await post(client, "entries", correction | {"reason": "neuf sont à la commune"})
    await post(
        client, "entries", {"contributor_id": alone["id"], "basis": "gateways", "day": "2026-01-01", "quantity": 8}
    )
    elsewhere = correction | {"contributor_id": alone["id"], "reason": "r"}
    assert "n'est pas de ce contributeur" in str(await post(client, "entries", elsewhere, 422))
    draft = (await client.get("/v1/cost-statements/draft?year=2026")).json()
    by_item = {line["item"]: line["item_cents"] for line in draft["lines"]}
    expected = {"Achat": 15_000_000, "Cœur de réseau": 2_800_000, "Abonnement": 1_000_000, "Maintenance": 500_000}
    assert by_item == expected
    assert (draft["total_cents"], draft["left_cents"], draft["gaps"], draft["problems"]) == (
        19_300_000,
        25_200_000,
        [],
        [],
    )
    assert {one["contributor"]: one["cents"] for one in draft["owed"]} == {
        "Autre": 11_580_000,
        "Commune": 7_720_000,
    }

    issued = await post(client, "statements", {"year": 2026})
    assert (issued["version"], issued["issuer"], len(issued["lines"])) == (1, "SDEF", 8)
    again = await post(client, "statements", {"year": 2026, "remark": "relevé de décembre"})
    assert (again["version"], again["lines"] == issued["lines"]) == (2, True)
    path = f"/v1/cost-statements/{issued['id']}"
    theirs = (await other_client.get(path)).json()
    assert {line["contributor"] for line in theirs["lines"]} == {"Autre"}
    assert sum(line["cents"] for line in theirs["lines"]) == 11_580_000
    assert "× 12 passerelles" in theirs["lines"][0]["formula"]
    for hidden in ("contributors", "items", "entries"):
        assert (await other_client.get(f"/v1/cost-{hidden}")).json()["items"] == []
    table = await other_client.get(f"{path}/lines.csv")
    assert table.headers["content-type"].startswith("text/csv")
    assert table.text.count("\r\n") == 5
    for asking, address in ((client, path), (other_client, path), (client, f"{path}/statement.pdf")):
        assert (await asking.get(address)).status_code == 200
    paper = await other_client.get(f"{path}/statement.pdf")
    assert (paper.headers["content-type"], paper.content[:5]) == ("application/pdf", b"%PDF-")

    # Nothing of it changes, by whatever way: services and the schema's owner are refused as well.
    for statement in (
        "UPDATE cost_entry SET quantity = 0",
        "DELETE FROM cost_entry",
        "TRUNCATE cost_entry CASCADE",
        "UPDATE cost_statement SET total_cents = 0",
        "DELETE FROM cost_statement_line",
        "UPDATE cost_statement_line SET cents = cents + 1",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await pool.execute(statement)
    with pytest.raises(asyncpg.CheckViolationError, match="does not add up"):
        await pool.execute(
            "INSERT INTO cost_statement (tenant_id, issuer, year, version, total_cents, issued_by)"
            " VALUES ($1, 'x', 2026, 9, 1, 'x')",
            tenancy.id,
        )
    gone = await client.delete(f"/v1/cost-contributors/{alone['id']}")
    assert (gone.status_code, "terminez sa période" in gone.text) == (409, True)


async def test_what_cannot_be_is_refused_in_french_and_nothing_of_it_stays(
    client: httpx.AsyncClient, other_tenancy: Tenancy, pool: Pool
) -> None:
    overlap = [{"since": "2026-01-01", "inhabitants": 1}, {"since": "2026-06-01", "inhabitants": 1}]
    negative = [{"since": "2026-01-01", "inhabitants": -1}]
    once = [{"since": "2026-01-01", "inhabitants": 1}]
    shares = [{"basis": "inhabitants", "share": 4000}, {"basis": "assets", "share": 4000}]
    key = {"name": "Clé", "first_year": 2026, "method": "key", "amount_cents": 100}
    for path, body, said in (
        ("contributors", {"name": "A", "periods": overlap}, "se chevauchent"),
        ("contributors", {"name": "A", "periods": negative}, "0 au moins attendu"),
        ("contributors", {"name": "A", "periods": []}, "periods"),
        ("contributors", {"name": "A", "periods": once, "member": other_tenancy.slug}, "ni un de vos membres"),
        ("items", key | {"shares": shares}, "80 % au lieu de 100 %"),
        ("items", key | {"shares": [{"basis": "equal"}], "subsidy_percent": 130}, "subsidy_percent"),
        ("entries", {"contributor_id": 1, "basis": "assets", "day": "2026-01-01", "quantity": 1}, "introuvable"),
        ("statements", {"year": 2026}, "aucun poste en 2026"),
    ):
        answer = await client.post(f"/v1/cost-{path}", json=body)
        assert (answer.status_code, said in answer.text) == (422, True), answer.text
    rows = "(SELECT count(*) FROM cost_contributor) + (SELECT count(*) FROM cost_item)"
    assert await pool.fetchval(f"SELECT {rows}") == 0

    item = key | {"shares": [{"basis": "equal"}]}
    await post(client, "items", item | {"last_year": 2027})
    twice = await client.post("/v1/cost-items", json=item | {"first_year": 2027})
    assert twice.status_code == 409
    await post(client, "items", item | {"first_year": 2028})
    problem = (await client.get("/v1/cost-statements/draft?year=2026")).json()["problems"]
    assert [one["reason"] for one in problem] == ["nobody"]


async def test_a_contributor_changes_its_periods_and_an_issued_statement_stays(client: httpx.AsyncClient) -> None:
    known = await post(
        client, "contributors", {"name": "A", "periods": [{"since": "2026-01-01", "inhabitants": 5}]}
    )
    item = await post(
        client,
        "items",
        {"name": "Clé", "first_year": 2026, "method": "key", "amount_cents": 100, "shares": [{"basis": "equal"}]},
    )
    issued = await post(client, "statements", {"year": 2026})
    later = {"name": "B", "periods": [{"since": "2026-01-01", "until": "2026-07-02", "inhabitants": 6}]}
    changed = await client.put(f"/v1/cost-contributors/{known['id']}", json=later)
    gone = await client.delete(f"/v1/cost-items/{item['id']}")

    assert (changed.status_code, changed.json()["periods"]) == (200, later["periods"])
    assert gone.status_code == 204
    kept = (await client.get(f"/v1/cost-statements/{issued['id']}")).json()
    assert [(line["contributor"], line["cents"]) for line in kept["lines"]] == [("A", 100)]
    assert (await client.get("/v1/cost-statements/draft?year=2026")).json()["lines"] == []
