"""Rounds as the API plans them, hands them out, and hears what became of them."""

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from math import asin, cos, radians, sin, sqrt
from xml.etree import ElementTree as ET

import pytest

NOW = datetime.now(UTC).replace(microsecond=0)
TOMORROW = (NOW + timedelta(days=1)).date()
DEPOT, OUTLET = {"latitude": 48.40, "longitude": -4.50}, {"latitude": 48.42, "longitude": -4.45}
ROUND = {
    "planned_for": TOMORROW.isoformat(),
    "truck_volume_l": 10_000,
    "truck_weight_kg": 5_000,
    "depot": DEPOT,
    "outlet": OUTLET,
}
GPX = "{http://www.topografix.com/GPX/1/1}"


class Bins:
    """Glass bins of four cubic metres near Brest, by name."""

    def __init__(self, registry, observations, profile) -> None:
        self._registry, self._observations, self._profile = registry, observations, profile
        self.ids: dict[str, int] = {}

    async def place(
        self, name: str, level: float | None, *, ago_h: float = 1, place=(48.41, -4.48), **fields
    ) -> int:
        given = {"attributes": {"volume_l": 4_000}, "commune": "Brest", "street": "1 rue de Siam"} | fields
        if place is not None:
            given |= {"latitude": place[0], "longitude": place[1]}
        asset = await self._registry.asset(name=name, **given)
        device = await self._registry.device(self._profile, asset_id=asset["id"])
        if level is not None:
            stream = await self._observations.datastream(device["dev_eui"], asset["id"], "fill_level", "%")
            await self._observations.readings(stream, {NOW - timedelta(hours=ago_h): level})
        self.ids[name] = asset["id"]
        return asset["id"]


@pytest.fixture
async def bins(registry, observations) -> Bins:
    return Bins(registry, observations, await registry.profile(expected_interval_s=6 * 3600))


@pytest.fixture
async def placed_bins(bins) -> Bins:
    await bins.place("Mairie", 80)
    await bins.place("Port", 75.0, place=(48.39, -4.47))
    await bins.place("Gare", 74.9, place=(48.40, -4.49))
    await bins.place("Muette", 99, ago_h=12.5)  # Two intervals of six hours are over.
    await bins.place("Neuve", None)
    await bins.place("Sans lieu", 90, place=None)
    await bins.place("Sans volume", 90, attributes={})
    await bins.place("Énorme", 100, attributes={"volume_l": 20_000})
    return bins


async def plan(client, **fields) -> dict:
    answer = await client.post("/v1/rounds", json=ROUND | fields)
    assert answer.status_code == 201, answer.text
    return answer.json()


def kilometres(*places: dict) -> float:
    """Haversine, times 1.3, written here once more."""
    total = 0.0
    for a, b in pairwise(places):
        one, other = (
            (radians(a["latitude"]), radians(a["longitude"])),
            (radians(b["latitude"]), radians(b["longitude"])),
        )
        half = sin((other[0] - one[0]) / 2) ** 2 + cos(one[0]) * cos(other[0]) * sin((other[1] - one[1]) / 2) ** 2
        total += 1.3 * 2 * 6371.0088 * asin(sqrt(half))
    return total


async def test_bins_at_the_threshold_are_stops_and_the_others_say_why_not(client, placed_bins) -> None:
    made = await plan(client)

    by_name = {one["name"]: one for one in made["bins"]}
    assert {name: one["left_reason"] for name, one in by_name.items()} == {
        "Mairie": None,
        "Port": None,
        "Muette": "unknown_level",
        "Neuve": "never_measured",
        "Sans lieu": "no_position",
        "Sans volume": "no_volume",
        "Énorme": "too_large",
    }
    assert {by_name[name]["chosen_by"] for name in ("Mairie", "Port")} == {"threshold"}
    assert {by_name[name]["chosen_by"] for name in ("Muette", "Neuve")} == {"unknown"}
    assert (by_name["Mairie"]["volume_l"], by_name["Mairie"]["weight_kg"]) == (3200, pytest.approx(3200 * 0.33))
    assert (made["stops"], made["left_out"], made["emptied"], made["skipped"]) == (2, 5, 0, 0)
    # Both orders by hand: the shorter one.
    mairie, port = {"latitude": 48.41, "longitude": -4.48}, {"latitude": 48.39, "longitude": -4.47}
    ways = [kilometres(DEPOT, *order, OUTLET, DEPOT) for order in ([mairie, port], [port, mairie])]
    assert made["metres_after"] == pytest.approx(1000 * min(ways), abs=5)
    assert (made["distance_source"], made["distance_note"]) == ("great_circle", "")
    # All of which place and load are known and that fit: with the one at 74.9 %, the silent and the new one.
    assert made["bins_before"] == 5
    assert made["metres_before"] > made["metres_after"]
    assert "vol d'oiseau" in made["method"]
    assert (made["seed"], made["iterations"], made["solver"]) == (1, 500, "pyvrp 0.14.1")


async def test_the_same_bins_and_seed_make_the_same_round(client, placed_bins) -> None:
    first, second = await plan(client, seed=5), await plan(client, seed=5)

    assert [first["bins"], first["trips"]] == [
        [one | {"round_id": first["id"]} for one in second["bins"]],
        second["trips"],
    ]


async def test_a_person_adds_and_leaves_bins(client, placed_bins) -> None:
    made = await plan(
        client,
        include_asset_ids=[placed_bins.ids["Neuve"], placed_bins.ids["Gare"]],
        exclude_asset_ids=[placed_bins.ids["Port"]],
    )

    stops = {one["name"]: one for one in made["bins"] if one["position"]}
    assert stops.keys() == {"Mairie", "Neuve", "Gare"}
    assert {name: one["chosen_by"] for name, one in stops.items()} == {
        "Mairie": "threshold",
        "Neuve": "forced",
        "Gare": "forced",
    }
    assert stops["Neuve"]["level"] is None
    assert stops["Neuve"]["volume_l"] == 4000  # Nobody knows: room for all that it may hold.


async def test_a_truck_unloads_and_goes_on_within_its_hours(client, bins) -> None:
    for number in range(6):
        await bins.place(f"Verre {number}", 100, place=(48.40 + number / 500, -4.48))

    whole = await plan(client, opens_at="05:00", closes_at="12:00")
    short = await plan(client, opens_at="05:00", closes_at="06:10")

    assert [len([one for one in whole["bins"] if one["trip"] == trip]) for trip in (1, 2, 3)] == [2, 2, 2]
    assert all(trip["volume_l"] <= 10_000 for trip in whole["trips"])
    assert {one["left_reason"] for one in short["bins"]} == {None, "no_room"}
    assert max(trip["ends_at"] for trip in short["trips"]) <= short["planned_for"] + "T06:10"


async def test_a_given_table_is_used_and_named(client, bins) -> None:
    a, b = await bins.place("A", 80), await bins.place("B", 90)
    table = [[0, 100, 10, 50], [100, 0, 50, 10], [10, 50, 0, 10], [50, 10, 10, 0]]

    made = await plan(client, distances={"asset_ids": [a, b], "metres": table}, speed_kmh=36)

    assert (made["distance_source"], made["metres_after"]) == ("matrix", 10 + 10 + 10 + 100)
    assert [one["asset_id"] for one in made["bins"]] == [a, b]
    arrival = datetime.fromisoformat(made["bins"][0]["arrival"])
    assert arrival - datetime.fromisoformat(made["trips"][0]["leaves_at"]) == timedelta(seconds=1)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"truck_volume_l": None}, "nombre entier attendu"),
        ({"truck_volume_l": 0}, "1 au moins attendu"),
        ({"truck_weight_kg": -3}, "1 au moins attendu"),
        ({"threshold": 130}, "100 au plus attendu"),
        ({"closes_at": "05:00"}, "« closes_at » vient après « opens_at », le même jour"),
        ({"opens_at": "06:00+02:00"}, "heure locale attendue, sans fuseau : HH:MM"),
        (
            {"closes_at": "06:10"},
            "entre ces heures un camion n'a pas le temps d'aller à l'exutoire et d'en revenir",
        ),
        ({"next_round_on": "2020-01-01"}, "la tournée suivante vient après celle-ci"),
        ({"planned_for": "2020-01-01"}, "ce jour est passé"),
        ({"kind": "paper_container"}, "aucune borne de ce type à cet endroit"),
        ({"include_asset_ids": [2**31 - 1]}, f"pas de borne de ce type sous l'identifiant {2**31 - 1}"),
        ({"distances": {"asset_ids": [1], "metres": [[0]]}}, "une ligne pour le dépôt"),
        (
            {"distances": {"asset_ids": [1], "metres": [[0, 1, 1], [1, 0, 1], [1, 1, 0]]}},
            "la table n'a pas la borne",
        ),
    ],
)
async def test_bad_input_is_rejected_in_french(client, placed_bins, fields, says) -> None:
    answer = await client.post("/v1/rounds", json=ROUND | fields)

    assert answer.status_code == 422
    assert says in answer.text


async def test_a_truck_without_capacity_is_rejected(client, placed_bins) -> None:
    body = {name: value for name, value in ROUND.items() if not name.startswith("truck_")}
    answer = await client.post("/v1/rounds", json=body)

    assert answer.status_code == 422
    assert {(one["field"], one["message"]) for one in answer.json()["errors"]} == {
        ("body.truck_volume_l", "champ obligatoire"),
        ("body.truck_weight_kg", "champ obligatoire"),
    }


async def test_a_density_that_nobody_knows_is_asked_for(client, bins) -> None:
    await bins.place("Papier", 90, kind="paper_container")

    rejected = await client.post("/v1/rounds", json=ROUND | {"kind": "paper_container"})
    made = await plan(client, kind="paper_container", density_kg_m3=50)

    assert rejected.status_code == 422
    assert "masse volumique" in rejected.text
    assert made["bins"][0]["weight_kg"] == pytest.approx(3.6 * 50)


async def test_outcomes_are_recorded_corrected_and_audited(client, placed_bins, pool, tenancy) -> None:
    made = await plan(client)
    first, second = [one["asset_id"] for one in made["bins"] if one["position"]]
    address = f"/v1/rounds/{made['id']}/stops"

    emptied = await client.post(f"{address}/{first}/outcome", json={"outcome": "emptied", "level_seen": 60})
    skipped = await client.post(
        f"{address}/{second}/outcome", json={"outcome": "skipped", "reason": "inaccessible"}
    )
    read = (await client.get(f"/v1/rounds/{made['id']}")).json()

    assert (emptied.status_code, skipped.status_code) == (200, 200)
    assert (emptied.json()["outcome"], emptied.json()["level_seen"]) == ("emptied", 60)
    assert (read["emptied"], read["skipped"]) == (1, 1)
    corrected = await client.post(f"{address}/{second}/outcome", json={"outcome": "emptied"})
    assert (corrected.json()["outcome"], corrected.json()["reason"]) == ("emptied", None)
    read = (await client.get(f"/v1/rounds/{made['id']}")).json()
    assert (read["emptied"], read["skipped"]) == (2, 0)
    assert await pool.fetchval("SELECT count(*) FROM waste_round_outcome") == 3
    audited = await client.get("/v1/audit", params={"entity": "waste_round"})
    actions = [(one["action"], one["details"].get("asset_id")) for one in audited.json()["items"]]
    assert actions == [("record", second), ("record", second), ("record", first), ("create", None)]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"outcome": "skipped"}, "« reason » dit pourquoi"),
        ({"outcome": "emptied", "reason": "not_full"}, "« reason » dit pourquoi"),
        ({"outcome": "skipped", "reason": "other"}, "demande une remarque"),
        ({"outcome": "skipped", "reason": "rain"}, "valeur attendue"),
        ({"outcome": "emptied", "level_seen": 101}, "au plus attendu"),
        ({"outcome": "emptied", "at": "2199-01-01T00:00:00Z"}, "pas encore passé"),
    ],
)
async def test_an_outcome_says_why_and_is_not_ahead_of_time(client, bins, body, says) -> None:
    bin_id = await bins.place("Mairie", 80)
    made = await plan(client)

    answer = await client.post(f"/v1/rounds/{made['id']}/stops/{bin_id}/outcome", json=body)

    assert answer.status_code == 422
    assert says in answer.text


async def test_a_bin_in_no_trip_has_no_outcome(client, placed_bins) -> None:
    made = await plan(client)

    answer = await client.post(
        f"/v1/rounds/{made['id']}/stops/{placed_bins.ids['Muette']}/outcome", json={"outcome": "emptied"}
    )

    assert answer.status_code == 404


async def test_a_round_that_has_not_begun_is_cancelled_once(client, placed_bins) -> None:
    begun, other = await plan(client), await plan(client)
    stop = next(one["asset_id"] for one in begun["bins"] if one["position"])
    await client.post(f"/v1/rounds/{begun['id']}/stops/{stop}/outcome", json={"outcome": "emptied"})
    reason = {"reason": "Camion en panne"}

    answers = [await client.post(f"/v1/rounds/{one['id']}/cancel", json=reason) for one in (begun, other, other)]
    late = await client.post(f"/v1/rounds/{other['id']}/stops/{stop}/outcome", json={"outcome": "emptied"})

    assert [one.status_code for one in answers] == [409, 200, 409]
    assert (answers[1].json()["state"], answers[1].json()["cancel_reason"]) == ("cancelled", "Camion en panne")
    assert late.status_code == 409
    listed = await client.get("/v1/rounds", params={"state": "cancelled"})
    assert [one["id"] for one in listed.json()["items"]] == [other["id"]]


async def test_who_may_go_out_may_not_plan(client, client_with, placed_bins) -> None:
    made = await plan(client)
    stop = next(one["asset_id"] for one in made["bins"] if one["position"])
    async with client_with("read", "field") as agent:
        planned = await agent.post("/v1/rounds", json=ROUND)
        done = await agent.post(f"/v1/rounds/{made['id']}/stops/{stop}/outcome", json={"outcome": "emptied"})
        cancelled = await agent.post(f"/v1/rounds/{made['id']}/cancel", json={"reason": "non"})

    assert (planned.status_code, done.status_code, cancelled.status_code) == (403, 200, 403)


async def test_another_tenant_sees_no_round(client, other_client, placed_bins) -> None:
    made = await plan(client)
    stop = next(one["asset_id"] for one in made["bins"] if one["position"])

    read = await other_client.get(f"/v1/rounds/{made['id']}")
    listed = await other_client.get("/v1/rounds")
    done = await other_client.post(f"/v1/rounds/{made['id']}/stops/{stop}/outcome", json={"outcome": "emptied"})

    assert (read.status_code, listed.json()["items"], done.status_code) == (404, [], 404)


async def test_a_syndicat_plans_for_a_member_who_reads_what_became_of_its_own_bins(
    client, other_client, pool, tenancy, other_tenancy, bins
) -> None:
    """The tenant whose bins these are is made a member of the other one."""
    bin_id = await bins.place("Mairie", 80)
    await pool.execute("UPDATE tenant SET member_of = $2 WHERE id = $1", tenancy.id, other_tenancy.id)
    made = await plan(other_client)

    done = await other_client.post(
        f"/v1/rounds/{made['id']}/stops/{bin_id}/outcome", json={"outcome": "emptied", "level_seen": 40}
    )

    assert done.status_code == 200
    assert (await client.get(f"/v1/rounds/{made['id']}")).status_code == 404
    await pool.execute("UPDATE waste_round_outcome SET at = at - interval '2 days'")
    emptied = await client.get(
        "/v1/waste/emptyings", params={"from": (NOW - timedelta(days=4)).date().isoformat()}
    )
    [one] = emptied.json()["by_round"]
    # Seen at 40 % and expected at 80: half of what was expected.
    assert (one["round_id"], one["level"], one["volume_l"]) == (made["id"], 40, pytest.approx(1600))
    assert (one["name"], emptied.json()["items"]) == ("Mairie", [])


async def test_files_to_take_along(client, placed_bins) -> None:
    made = await plan(client, name="Verre du mardi")
    address = f"/v1/rounds/{made['id']}"

    gpx = await client.get(f"{address}/round.gpx")
    sheet = await client.get(f"{address}/round.pdf")
    geojson = (await client.get(f"{address}/round.geojson")).json()
    text = await client.get(f"{address}/round.csv")
    plain = await client.get(f"{address}/stops", headers={"Accept": "text/csv"})

    assert gpx.headers["content-type"] == "application/gpx+xml"
    root = ET.fromstring(gpx.content)
    assert [one.tag for one in root] == [f"{GPX}{tag}" for tag in ("metadata", "wpt", "wpt", "rte")]
    stops = [one for one in made["bins"] if one["position"]]
    assert [one.find(f"{GPX}name").text for one in root.findall(f"{GPX}wpt")] == [
        f"{one['position']}. {one['name']}" for one in stops
    ]
    assert [one.find(f"{GPX}name").text for one in root.findall(f"{GPX}rte/{GPX}rtept")] == [
        "Dépôt", *(f"{one['position']}. {one['name']}" for one in stops), "Exutoire", "Dépôt"
    ]  # fmt: skip
    assert [one.attrib for one in root.findall(f"{GPX}wpt")] == [
        {"lat": f"{one['latitude']:.6f}", "lon": f"{one['longitude']:.6f}"} for one in stops
    ]
    assert sheet.content.startswith(b"%PDF-")
    assert [one["geometry"] and one["geometry"]["type"] for one in geojson["features"]].count("LineString") == 1
    assert len(geojson["features"]) == 7 + 1
    [line] = [one["geometry"]["coordinates"] for one in geojson["features"] if "straight" in one["properties"]]
    assert line[0] == line[-1] == [-4.5, 48.4]
    rows = list(csv.reader(io.StringIO(text.text.removeprefix("\ufeff")), delimiter=";"))
    assert rows[0][:5] == ["Camion", "Trajet", "Ordre", "Arrivée", "Borne"]
    assert rows[1][:3] == ["1", "1", "1"]
    assert rows[1][7:9] == [str(stops[0][name]).replace(".", ",") for name in ("latitude", "longitude")]
    assert len(list(csv.DictReader(io.StringIO(plain.text)))) == 7
    assert json.loads((await client.get(f"{address}/stops", headers={"Accept": "application/geo+json"})).text)[
        "features"
    ]


async def test_what_a_sensor_and_a_driver_saw_is_one_emptying(client, bins, pool, observations) -> None:
    bin_id, blind = await bins.place("Mairie", 80), await bins.place("Port", 85)
    made = await plan(client)
    for one in (bin_id, blind):
        await client.post(f"/v1/rounds/{made['id']}/stops/{one}/outcome", json={"outcome": "emptied"})
    emptied_at = NOW - timedelta(days=2)
    await pool.execute("UPDATE waste_round_outcome SET at = $1", emptied_at)
    stream = await pool.fetchval("SELECT id FROM datastream WHERE asset_id = $1", bin_id)
    await pool.execute(
        "INSERT INTO observation.emptying VALUES ($1, $2, $3, 82, 5, false)",
        stream, emptied_at - timedelta(hours=5), emptied_at - timedelta(hours=11),
    )  # fmt: skip

    answer = (
        await client.get("/v1/waste/emptyings", params={"from": (NOW - timedelta(days=5)).date().isoformat()})
    ).json()

    assert [(one["asset_id"], one["round_id"], one["before"]) for one in answer["items"]] == [
        (bin_id, made["id"], 82)
    ]
    assert [(one["asset_id"], one["round_id"], one["level"]) for one in answer["by_round"]] == [
        (blind, made["id"], 85)
    ]
