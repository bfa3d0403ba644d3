"""Lighting of a month by commune: what was counted, against what programs should have burnt."""

from datetime import date, timedelta

import pytest

from core.model.lighting import FROM_DUSK_TO_DAWN, LampPlace, burnt
from core.runtime.postgres import Pool
from tests.api.metering import DAY, HOUR, Metering, daily, local

LANDERNEAU = {"latitude": 48.45, "longitude": -4.25}


@pytest.fixture
def metering(pool: Pool, registry, tenancy) -> Metering:
    return Metering(pool, registry, tenancy.id)


async def cabinet(metering: Metering, commune: str, watts: float | None) -> int:
    attributes = {} if watts is None else {"rated_power_w": watts}
    made = await metering.registry.asset(
        kind="lighting_cabinet", commune=commune, attributes=attributes, **LANDERNEAU
    )
    return made["id"]


async def test_a_commune_says_what_was_counted_lit_saved_and_of_how_many_cabinets(
    client, other_client, metering: Metering
) -> None:
    both = await cabinet(metering, "Landerneau", 1000)
    unrated = await cabinet(metering, "Landerneau", None)
    await cabinet(metering, "Brest", 500)
    # Three kWh a day of the first, two of the second, in June 2026.
    for asset, a_day in ((both, 3000), (unrated, 2000)):
        index = await metering.index(asset, "active_energy_import", meter=asset, interval_s=86_400)
        await metering.write(index, daily(date(2026, 5, 31), 31, lambda _, a_day=a_day: a_day))
    # Lamps of the first are on from 22:00 to 23:00 and from 3:00 to 5:00 each night of the first ten days, and
    # dark from midnight to three: by the sun they should burn from half past ten to a quarter past six.
    state = await metering.index(both, "switch_state", meter=both)
    lit, at = {}, local(2026, 6, 1)
    while at < local(2026, 6, 11):
        lit[at] = float((at + 2 * HOUR).hour in (22, 23, 3, 4))
        at += HOUR
    await metering.write(state, lit)

    query = {"month": "2026-06", "eur_per_kwh": 0.2}
    page = (await client.get("/v1/indicators/lighting", params=query)).json()
    theirs = (await other_client.get("/v1/indicators/lighting", params=query)).json()

    brest, landerneau = page["items"]
    assert (brest["commune"], brest["kwh"], brest["saved_kwh"], brest["lit_hours"]) == ("Brest", None, None, None)
    assert (landerneau["cabinets"], landerneau["metered"], landerneau["kwh"]) == (2, 2, pytest.approx(150))
    # What one kilowatt draws from dusk to dawn in thirty nights, by the simulation of programs: mornings of a
    # month and nights of a month differ by a minute.
    year = burnt(FROM_DUSK_TO_DAWN, LampPlace(48.45, -4.25), date(2026, 6, 1), 30)
    assert landerneau["compared"] == 1
    assert landerneau["reference_kwh"] == pytest.approx(year.full_hours, abs=0.2)
    assert landerneau["saved_kwh"] == pytest.approx(landerneau["reference_kwh"] - 90)
    assert landerneau["saved_eur"] == pytest.approx(0.2 * landerneau["saved_kwh"])
    # Ten days of 24 hours: an hour without a reading is unknown. Four hours a night, ten nights.
    assert (landerneau["known_hours"], landerneau["hours"]) == (10 * 24, 2 * 720)
    assert landerneau["lit_hours"] == pytest.approx(40)
    # Hours that should burn from end to end: 23, 0, 1, 2, 3, 4 and 5 o'clock; lit of them 23, 3 and 4.
    assert landerneau["availability"] == pytest.approx(3 / 7, abs=0.01)
    assert page["reference"] == "du coucher au lever du soleil"
    assert "programme de référence" in page["formula"]
    assert theirs["items"] == []


async def test_an_unknown_reference_is_rejected(client) -> None:
    answer = await client.get("/v1/indicators/lighting", params={"reference_id": 4711})

    assert answer.status_code == 422
    assert "programme 4711 introuvable" in answer.json()["detail"]


async def test_faults_are_alerts_of_lamps_that_were_opened_in_the_month(
    client, metering: Metering, observations, pool: Pool, tenancy
) -> None:
    asset = await cabinet(metering, "Landerneau", 1000)
    rule = await pool.fetchval(
        "SELECT name FROM alert_rule WHERE tenant_id = $1 AND kind = 'boolean' AND quantity = 'breaker_tripped'",
        tenancy.id,
    )
    alert = await observations.alert(tenancy.id, asset, rule)
    await pool.execute("UPDATE alert SET opened_at = $2 WHERE id = $1", alert, local(2026, 6, 30) + 23 * HOUR)

    june, july = [
        (await client.get("/v1/indicators/lighting", params={"month": month})).json()["items"]
        for month in ("2026-06", "2026-07")
    ]

    assert (june[0]["faults"], july[0]["faults"]) == (1, 0)
    assert timedelta(days=1) == DAY
