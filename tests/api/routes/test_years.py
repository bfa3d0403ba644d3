"""A year by day, beside the same dates of the year before."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from api.routes.years import a_year_before, beside, days_of_year


def test_the_same_dates_are_beside_each_other_and_a_29_february_is_alone() -> None:
    leap, after = days_of_year(date(2028, 3, 1)), days_of_year(date(2028, 12, 31))
    of_leap_day = days_of_year(date(2028, 2, 29))
    following = beside(days_of_year(date(2029, 3, 1)), {date(2028, 2, 29): 5.0, date(2028, 2, 28): 4.0})

    assert (len(leap), leap[0], leap[-1]) == (366, date(2027, 3, 2), date(2028, 3, 1))
    assert (len(after), after[0]) == (366, date(2028, 1, 1))
    assert (len(of_leap_day), of_leap_day[0]) == (366, date(2027, 3, 1))
    assert len(days_of_year(date(2027, 2, 28))) == 365
    assert (a_year_before(date(2028, 2, 29)), a_year_before(date(2029, 2, 28))) == (None, date(2028, 2, 28))
    assert [one.former for one in following if one.former is not None] == [4.0]
    assert all(one.former_day != date(2028, 2, 29) for one in following)


async def test_a_day_is_the_tenants_own_gaps_are_null_and_an_index_is_what_it_went_on_by(
    client, registry, observations, tenancy
) -> None:
    await client.patch(f"/v1/tenants/{tenancy.id}", json={"department": "974"})  # Four hours before Greenwich.
    asset = await registry.asset(kind="room")
    device = await registry.device(asset_id=asset["id"])
    warm = await observations.datastream(device["dev_eui"], asset["id"], "temperature", "Cel")
    counted = await observations.datastream(device["dev_eui"], asset["id"], "people_passed", "1")
    here = ZoneInfo("Indian/Reunion")
    noon = datetime(2026, 11, 20, 12, tzinfo=here)
    before = noon.replace(year=2025)
    late = datetime(2026, 11, 18, 23, 30, tzinfo=here).astimezone(UTC)
    await observations.readings(warm, {noon: 20.0, noon + timedelta(hours=1): 22.0, before: 10.0, late: 5.0})
    soon = timedelta(minutes=10)
    await observations.readings(counted, {noon: 100, noon + soon: 130, before: 10, before + soon: 15})
    year = (await client.get(f"/v1/datastreams/{warm}/year", params={"to": "2026-11-20"})).json()
    index = (await client.get(f"/v1/datastreams/{counted}/year", params={"to": "2026-11-20"})).json()
    far = [
        (await client.get(f"/v1/datastreams/{warm}/year", params={"to": day})).status_code
        for day in ("0001-01-01", "9999-12-31", "2028-02-29", "hier")
    ]

    assert (year["timezone"], year["value_is"], len(year["items"])) == ("Indian/Reunion", "mean", 365)
    assert [(one["day"], one["value"], one["former_day"], one["former"]) for one in year["items"][-3:]] == [
        ("2026-11-18", 5.0, "2025-11-18", None),
        ("2026-11-19", None, "2025-11-19", None),
        ("2026-11-20", 21.0, "2025-11-20", 10.0),
    ]
    assert index["value_is"] == "difference"
    assert [(one["value"], one["former"]) for one in index["items"][-1:]] == [(30, 5)]
    assert far == [200, 200, 200, 422]
