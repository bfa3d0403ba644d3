"""Monthly reports through the API: what they say, what they do not know, what is kept, and who sees it."""

import base64
from datetime import UTC, date, datetime, timedelta

import pytest

from core.runtime.postgres import Pool
from tests.api.conftest import client_of, person_client
from tests.api.landerneau import Landerneau, figures, make_landerneau, write_late
from tests.api.metering import DAY, Metering, daily, local
from tests.api.pictures import png

JULY = {"commune": "Landerneau", "month": "2026-07"}


@pytest.fixture
def metering(pool: Pool, registry, tenancy) -> Metering:
    return Metering(pool, registry, tenancy.id)


@pytest.fixture
async def landerneau(metering: Metering, registry, observations, pool: Pool) -> Landerneau:
    return await make_landerneau(metering, registry, observations, pool)


async def test_a_preview_says_the_month_beside_last_month_and_last_year(client, landerneau) -> None:
    answer = await client.get("/v1/reports/preview", params=JULY)

    assert answer.status_code == 200, answer.text
    found = figures(answer.json())
    electricity = found["buildings.electricity"]
    # By hand: 31 days of 12 kWh, June's 30 of 10, July 2025's 31 of 10.
    assert electricity["this"]["value"] == pytest.approx(372)
    assert electricity["last_month"]["value"] == pytest.approx(300)
    assert electricity["last_year"]["value"] == pytest.approx(310)
    assert electricity["change_year_percent"] == pytest.approx(20)
    assert electricity["this"]["text"] == "372 kWh"
    # Full from the 9th at 0:00 to the 11th at 0:00; known until twelve hours after 1:00 of the 11th.
    assert found["waste.days_above"]["this"]["value"] == pytest.approx(2)
    assert found["waste.days_unknown"]["this"]["value"] == pytest.approx(31 - 10 - 13 / 24, abs=1e-3)
    assert found["waste.emptyings"]["this"]["value"] == 1
    # Nothing was measured then: unknown, and not zero.
    assert found["waste.days_above"]["last_year"]["value"] is None
    assert found["waste.days_above"]["last_year"]["text"] == "inconnu (rien n’a été mesuré)"
    assert found["buildings.degree_days"]["this"]["unknown"] == "no_station"
    assert found["buildings.water"]["this"] == {
        "value": None, "known": None, "of": None, "unknown": "nothing_there", "text": "–",
    }  # fmt: skip
    assert answer.json()["title"] == "Rapport de juillet 2026 : Landerneau"
    assert answer.json()["highlights"] == ["Bâtiments et eau, électricité : 372 kWh, +20 % sur un an"]
    [chart] = [
        one for section in answer.json()["sections"] for one in section["charts"] if "buildings" in one["id"]
    ]
    assert (chart["months"][0], chart["months"][-1]) == ("2025-07", "2026-07")
    assert chart["values"][0] == pytest.approx(310)


async def test_tonnes_are_of_bins_whose_volume_is_stated(client, landerneau) -> None:
    before = figures((await client.get("/v1/reports/preview", params=JULY)).json())["waste.tonnes"]["this"]
    changed = await client.patch(f"/v1/assets/{landerneau.bin_asset}", json={"attributes": {"volume_l": 2_000}})
    after = figures((await client.get("/v1/reports/preview", params=JULY)).json())["waste.tonnes"]["this"]

    assert changed.status_code == 200, changed.text
    assert (before["value"], before["known"], before["of"], before["unknown"]) == (None, 0, 1, "not_measured")
    # By hand: 2 m3, from 80 % to 5 %, at 0.33 t/m3, and nothing was weighed.
    assert after["value"] == pytest.approx(2 * 0.75 * 0.33)
    assert (after["known"], after["of"]) == (1, 1)


async def test_a_version_is_kept_and_late_data_makes_the_next_one(
    client, landerneau, metering, observations, pool
) -> None:
    first = await client.post("/v1/reports", json=JULY)
    again = await client.post("/v1/reports", json=JULY)
    await write_late(pool, observations, landerneau.bin)
    second = await client.post("/v1/reports", json=JULY)

    assert (first.status_code, again.status_code, second.status_code) == (201, 409, 201), first.text
    assert (first.json()["version"], first.json()["changes"]) == (1, [])
    changed = {one["id"]: one for one in second.json()["changes"]}
    assert (second.json()["version"], set(changed)) == (2, {"waste.days_above", "waste.days_unknown"})
    # From 0:00 on six hours, and twelve after the last one.
    assert changed["waste.days_above"]["after"]["value"] == pytest.approx(2 + 18 / 24)
    assert changed["waste.days_above"]["text"] == "Jours à 75 % ou plus : 2,8 j au lieu de 2,0 j"
    listed = (await client.get("/v1/reports")).json()["items"]
    every = (await client.get("/v1/reports", params={"every_version": True})).json()["items"]
    versions = (await client.get(f"/v1/reports/{first.json()['id']}/versions")).json()["items"]
    assert [one["version"] for one in listed] == [2]
    assert [one["version"] for one in every] == [one["version"] for one in versions] == [2, 1]
    kept = (await client.get(f"/v1/reports/{first.json()['id']}")).json()
    assert figures(kept)["waste.days_above"]["this"]["value"] == pytest.approx(2)
    assert kept["is_latest"] is False


async def test_after_retention_has_dropped_readings_the_month_says_the_same(
    client, landerneau, pool: Pool
) -> None:
    before = (await client.get("/v1/reports/preview", params=JULY)).json()
    await pool.execute("DELETE FROM observation.measurement")

    assert (await client.get("/v1/reports/preview", params=JULY)).json() == before


async def test_pdf_and_csv_are_of_the_same_figures(client, landerneau) -> None:
    made = (await client.post("/v1/reports", json=JULY)).json()
    pdf = await client.get(f"/v1/reports/{made['id']}/report.pdf")
    csv = await client.get(f"/v1/reports/{made['id']}/report.csv")
    preview = await client.get("/v1/reports/preview/report.pdf", params=JULY)

    assert pdf.headers["content-type"] == preview.headers["content-type"] == "application/pdf"
    assert pdf.content.startswith(b"%PDF-")
    assert len(pdf.content) == made["octets"]
    assert b"/Subtype /Image" not in pdf.content  # Charts are lines and rectangles.
    assert "rapport-2026-07-landerneau-v1.pdf" in pdf.headers["content-disposition"]
    lines = csv.content.decode("utf-8-sig").splitlines()
    assert lines[0].startswith("rubrique;indicateur;libelle;valeur")
    assert "Bâtiments et eau;buildings.electricity;Électricité;372;kWh;1;1;;300;310;+20" in lines
    assert any(line.startswith("Déchets;waste.days_above;Jours à 75 % ou plus;2,0;j;1;1;;;;") for line in lines)


async def test_what_is_missing_is_unknown_and_never_zero(client, landerneau, metering, pool: Pool) -> None:
    """A second meter that speaks in no July, and one that was silent for ten days of it."""
    never = await metering.building()
    index = await metering.index(never, "active_energy_import", interval_s=86_400)
    await metering.write(index, daily(date(2026, 5, 31), 20, lambda _: 10_000))
    silent = await metering.building()
    other = await metering.index(silent, "active_energy_import", interval_s=86_400)
    readings = daily(date(2026, 5, 31), 90, lambda _: 10_000)
    await metering.write(
        other, {at: value for at, value in readings.items() if not 5 < (at - local(2026, 7, 1)).days < 20}
    )

    found = figures((await client.get("/v1/reports/preview", params=JULY)).json())

    electricity = found["buildings.electricity"]
    assert (electricity["this"]["known"], electricity["this"]["of"]) == (1, 3)
    assert electricity["this"]["value"] == pytest.approx(372)
    assert electricity["this"]["text"] == "372 kWh (1 sur 3)"
    assert electricity["change_year_percent"] is None


@pytest.mark.parametrize(
    ("field", "asked"),
    [
        ("query.commune", {"commune": "Nulle-Part"}),
        ("query.month", {"commune": "Landerneau", "month": "2999-01"}),
        ("query.month", {"commune": "Landerneau", "month": "1999-12"}),
        ("query.month", {"commune": "Landerneau", "month": "2026-13"}),
        ("query.service", {"commune": "Landerneau", "service": "parking"}),
    ],
)
async def test_a_report_that_cannot_be_is_refused_in_french(client, landerneau, field, asked) -> None:
    answer = await client.get("/v1/reports/preview", params=asked)

    assert answer.status_code == 422
    assert [one["field"] for one in answer.json()["errors"]] == [field]


async def test_a_report_of_one_service_has_its_figures_and_no_others(client, landerneau) -> None:
    answer = await client.get("/v1/reports/preview", params=JULY | {"service": "waste"})

    assert [one["id"] for one in answer.json()["sections"]] == ["waste", "alerts"]
    assert answer.json()["title"] == "Rapport de juillet 2026 : Landerneau, déchets"


async def test_what_is_measured_of_homes_is_in_no_figure(client, landerneau, metering, pool: Pool) -> None:
    before = (await client.get("/v1/reports/preview", params=JULY)).json()
    home = await metering.building()
    index = await metering.index(home, "active_energy_import", interval_s=86_400)
    await metering.write(index, daily(date(2026, 5, 31), 90, lambda _: 50_000))
    await pool.execute("UPDATE asset SET privacy_class = 2 WHERE id = $1", home)
    await pool.execute("UPDATE datastream SET privacy_class = 2 WHERE id = $1", index)

    after = (await client.get("/v1/reports/preview", params=JULY)).json()

    assert figures(after) == figures(before)


async def test_reports_are_a_tenants_own_and_its_syndicates(
    app, client, other_client, landerneau, pool: Pool, tenancy, other_tenancy
) -> None:
    made = (await client.post("/v1/reports", json=JULY)).json()
    path = f"/v1/reports/{made['id']}"
    before = [(await other_client.get(f"{path}{part}")).status_code for part in ("", "/versions", "/report.pdf")]
    stranger = await other_client.get("/v1/reports/preview", params=JULY)
    await pool.execute("UPDATE tenant SET member_of = $2 WHERE id = $1", tenancy.id, other_tenancy.id)
    after = await other_client.get(f"{path}/report.pdf")
    others = (await other_client.get("/v1/reports")).json()["items"]

    assert before == [404, 404, 404]
    assert stranger.status_code == 422
    assert after.status_code == 200
    assert [one["id"] for one in others] == [made["id"]]
    async with await person_client(app, pool, tenancy.id, "reader") as reader:
        assert (await reader.get(path)).status_code == 200
        assert (await reader.post("/v1/reports", json=JULY)).status_code == 403


async def test_a_key_that_is_limited_to_kinds_sees_and_makes_no_report(app, client, landerneau) -> None:
    made = (await client.post("/v1/reports", json=JULY)).json()
    key = await client.post(
        "/v1/api-keys", json={"name": "verre", "roles": ["read"], "asset_kinds": ["glass_container"]}
    )
    assert key.status_code == 201, key.text
    async with client_of(app, key.json()["key"]) as limited:
        for path in (f"/v1/reports/{made['id']}", "/v1/reports", "/v1/reports/preview?commune=Landerneau"):
            assert (await limited.get(path)).status_code == 403


async def test_nobody_changes_what_was_made(client, landerneau, pool: Pool) -> None:
    made = (await client.post("/v1/reports", json=JULY)).json()
    now = datetime.now(UTC)

    for statement in (
        "UPDATE report SET figures = '{}'", "DELETE FROM report", "TRUNCATE report CASCADE",
        "UPDATE report SET version = 7, sent_at = now()",
    ):  # fmt: skip
        with pytest.raises(Exception, match=r"a report stays as it was made|permission denied"):
            await pool.execute(statement)
    await pool.execute("UPDATE report SET sent_at = $1", now)
    with pytest.raises(Exception, match="a report stays as it was made"):
        await pool.execute("UPDATE report SET sent_at = $1", now + timedelta(days=1))
    assert (await client.get(f"/v1/reports/{made['id']}")).json()["sent_at"] is not None


async def test_name_language_and_logo_are_a_tenants(client, landerneau) -> None:
    changed = await client.put("/v1/report-identity", json={"name": "Pays de Landerneau", "language": "en"})
    logo = await client.put("/v1/report-identity/logo", json={"content": base64.b64encode(png()).decode()})
    shown = await client.get("/v1/report-identity/logo")
    content = (await client.get("/v1/reports/preview", params=JULY)).json()
    pdf = await client.get("/v1/reports/preview/report.pdf", params=JULY)
    gone = await client.delete("/v1/report-identity/logo")

    assert changed.status_code == 200, changed.text
    assert (logo.status_code, logo.json()["has_logo"], shown.content) == (200, True, png())
    assert content["title"] == "Report of July 2026: Landerneau"
    assert figures(content)["waste.days_above"]["last_year"]["text"] == "unknown (nothing was measured)"
    assert b"/Subtype /Image" in pdf.content
    assert gone.json() == {"name": "Pays de Landerneau", "language": "en", "has_logo": False}
    assert (await client.get("/v1/report-identity/logo")).status_code == 404


@pytest.mark.parametrize("octets", [b"GIF89a", b"\x89PNG\r\n\x1a\n", png()[:40], png(2500, 1)])
async def test_what_is_no_logo_is_refused(client, octets) -> None:
    answer = await client.put("/v1/report-identity/logo", json={"content": base64.b64encode(octets).decode()})

    assert answer.status_code == 422
    assert "PNG" in answer.json()["detail"]


async def test_a_team_receives_reports_and_is_named_once(client, other_client) -> None:
    team = (await client.post("/v1/teams", json={"name": "Élus"})).json()
    made = await client.post("/v1/report-recipients", json={"team_id": team["id"], "commune": "Landerneau"})
    twice = await client.post("/v1/report-recipients", json={"team_id": team["id"], "commune": "Landerneau"})
    theirs = await other_client.post("/v1/report-recipients", json={"team_id": team["id"]})

    assert (made.status_code, twice.status_code, theirs.status_code) == (201, 409, 422), made.text
    assert [one["team"] for one in (await client.get("/v1/report-recipients")).json()["items"]] == ["Élus"]
    assert (await other_client.get("/v1/report-recipients")).json()["items"] == []
    assert (await other_client.delete(f"/v1/report-recipients/{made.json()['id']}")).status_code == 404
    assert (await client.delete(f"/v1/report-recipients/{made.json()['id']}")).status_code == 204
    assert timedelta(days=1) == DAY
