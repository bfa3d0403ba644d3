"""Rounds in the console: planned, shown, driven with one hand, taken back, cancelled."""

import json
import re
from datetime import UTC, datetime, timedelta

import pytest

from tests.api.console.conftest import hidden

HOME = "/dechets/tournees"
PLACES = {"depot": "48.39, -4.49", "outlet": "48,42 ; -4,45"}
TRUCK = {
    "trucks": "1", "truck_volume": "25", "truck_weight": "11,5", "opens_at": "06:00", "closes_at": "14:00",
    "service": "5", "unloading": "20", "speed_kmh": "30",
}  # fmt: skip


@pytest.fixture
async def bins(registry, observations) -> dict[str, int]:
    """Two that are full, one that is not, one that nobody has ever measured."""
    profile = await registry.profile(expected_interval_s=6 * 3600)
    made = {}
    for number, (name, level) in enumerate(
        (("Pleine <1>", 95.0), ("Pleine 2", 80.0), ("Vide", 10.0), ("Muette", None))
    ):
        asset = await registry.asset(
            kind="glass_container", name=name, commune="Brest", street="rue du Port",
            latitude=48.4 + number / 100, longitude=-4.48, attributes={"volume_l": 4000},
        )  # fmt: skip
        device = await registry.device(profile, asset_id=asset["id"])
        if level is not None:
            stream = await observations.datastream(device["dev_eui"], asset["id"], "fill_level", "%")
            await observations.readings(stream, {datetime.now(UTC) - timedelta(hours=1): level})
        made[name] = asset["id"]
    return made


async def planned(manager, **more: str):
    csrf = hidden(await manager.get(f"{HOME}/nouvelle"), "csrf")
    return await manager.post(f"{HOME}/nouvelle", data={"csrf": csrf} | PLACES | TRUCK | more)


async def test_a_round_shows_which_bins_and_why_before_it_is_planned(enter, tenancy, bins) -> None:
    manager, reader = await enter(tenancy.id, "service_manager"), await enter(tenancy.id, "reader")

    empty = await reader.get(HOME)
    form = (await manager.get(f"{HOME}/nouvelle")).text
    nothing = (await manager.get(f"{HOME}/nouvelle?threshold=99")).text

    assert "Aucune tournée encore" in empty.text
    assert (await reader.get(f"{HOME}/nouvelle")).status_code == 403
    assert re.findall(r'name="laisser" value="(\d+)"', form) == [str(bins["Pleine <1>"]), str(bins["Pleine 2"])]
    assert re.findall(r'name="ajouter" value="(\d+)"', form) == [str(bins["Muette"])]
    assert "pleine maintenant" in form
    assert "jamais mesuré" in form
    assert "Aucune borne n’est pleine" in nothing


async def test_a_round_is_planned_shown_and_driven_with_one_hand(enter, tenancy, other_tenancy, bins) -> None:
    manager, driver = await enter(tenancy.id, "service_manager"), await enter(tenancy.id, "field_agent")
    stranger = await enter(other_tenancy.id, "service_manager")

    made = await planned(manager, ajouter=str(bins["Muette"]))
    assert made.status_code == 303, made.text
    address = made.headers["location"]
    shown = (await manager.get(address)).text
    points = json.loads(
        re.search(r'data-points="([^"]*)"', shown)[1]
        .replace("&#34;", '"')
        .replace("&lt;", "<")
        .replace("&gt;", ">")
    )
    assert {one[5] for one in points} == {"Pleine <1>", "Pleine 2", "Muette"}
    assert "Pleine &lt;1&gt;" in shown
    assert f"/v1{address.removeprefix('/dechets').replace('tournees', 'rounds')}/round.gpx" in shown
    assert (await stranger.get(address)).status_code == 404
    driving = await driver.get(f"{address}/terrain")
    first = re.search(r'name="borne" value="(\d+)"', driving.text)[1]
    form = {"csrf": hidden(driving, "csrf"), "borne": first}

    done = await driver.post(f"{address}/terrain", data=form | {"outcome": "emptied"})
    after = (await driver.get(done.headers["location"])).text
    second = re.findall(r'name="borne" value="(\d+)"', after)[1]
    assert second != first
    back = await driver.post(f"{address}/terrain", data=form | {"reprendre": "1"})
    again = (await driver.get(back.headers["location"])).text
    assert "0 sur 3 faites" in again
    skipped = await driver.post(f"{address}/terrain", data=form | {"outcome": "skipped", "reason": "inaccessible"})
    wrong = await driver.post(f"{address}/terrain", data=form | {"outcome": "skipped", "reason": "other"})
    for stop in points:
        if str(bins[stop[5]]) != first:
            last = await driver.post(
                f"{address}/terrain", data=form | {"borne": str(bins[stop[5]]), "outcome": "emptied"}
            )
    ended = (await driver.get(last.headers["location"])).text

    assert (done.status_code, skipped.status_code, wrong.status_code) == (303, 303, 422)
    assert "C’est fini" in ended
    whole = (await manager.get(address)).text
    assert "vidées : 2 · passées : 1 · à faire : 0" in whole
    assert "inaccessible" in whole


async def test_what_is_missing_or_cannot_be_is_said_beside_its_field(enter, tenancy, bins) -> None:
    manager = await enter(tenancy.id, "service_manager")

    for wrong in ({"depot": "ici"}, {"truck_volume": "beaucoup"}, {"trucks": "0"}, {"opens_at": "15:00"}):
        answer = await planned(manager, **wrong)
        assert answer.status_code == 422, wrong
        assert 'role="alert"' in answer.text


async def test_a_round_that_has_not_begun_is_cancelled_and_the_next_begins_with_its_trucks(
    enter, tenancy, bins
) -> None:
    manager = await enter(tenancy.id, "service_manager")
    address = (await planned(manager)).headers["location"]
    csrf = hidden(await manager.get(address), "csrf")

    none = await manager.post(address, data={"csrf": csrf})
    gone = await manager.post(address, data={"csrf": csrf, "reason": "Camion en panne"})
    shown = (await manager.get(HOME)).text
    form = (await manager.get(f"{HOME}/nouvelle")).text

    assert (none.status_code, gone.status_code) == (422, 303)
    assert "annulée" in shown
    assert 'value="11,5"' in form
    assert 'value="48.42, -4.45"' in form
