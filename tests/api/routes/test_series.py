"""Several datastreams in one request: played against a calendar and sums of Python's own, from raw readings."""

import csv
import io
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from core.runtime.postgres import Pool
from ingest.rollups import roll_up
from tests.api.conftest import make_tenancy

PARIS = ZoneInfo("Europe/Paris")
HOUR, MICROSECOND = timedelta(hours=1), timedelta(microseconds=1)
INTERVAL = 2 * HOUR
KNOWN_FOR = 2 * INTERVAL
# The nights of the clock, weeks over two new years (2026 has 53), a leap day.
STARTS = [
    datetime(2026, 3, 28, 6, tzinfo=UTC),
    datetime(2025, 10, 25, 6, tzinfo=UTC),
    datetime(2025, 12, 28, tzinfo=UTC),
    datetime(2024, 2, 27, tzinfo=UTC),
]
Reading = tuple[datetime, float, int]


@dataclass(frozen=True)
class Calendar:
    """All buckets of six years, each named as people name it."""

    unit: str
    edges: list[datetime]
    names: list[Any]

    @classmethod
    def of(cls, unit: str) -> "Calendar":
        edges: list[datetime] = []
        names: list[Any] = []
        if unit == "hour":
            at = datetime(2022, 12, 31, 23, tzinfo=UTC)
            while at < datetime(2026, 12, 31, 23, tzinfo=UTC):
                local = at.astimezone(PARIS)
                edges.append(at)
                names.append((local.date(), local.hour, local.fold))
                at += HOUR
            return cls(unit, edges, names)
        day = date(2022, 1, 1)
        while day < date(2028, 1, 1):
            name = {
                "day": day,
                "week": day.isocalendar()[:2],
                "month": (day.year, day.month),
                "year": day.year,
            }[unit]
            if not names or names[-1] != name:
                names.append(name)
                edges.append(datetime.combine(day, time(), PARIS).astimezone(UTC))
            day += timedelta(days=1)
        return cls(unit, edges, names)

    def place(self, at: datetime) -> int:
        return bisect_right(self.edges, at) - 1

    def a_year_before(self, place: int) -> int | None:
        name = self.names[place]
        match self.unit:
            case "hour":
                former = (self._date_before(name[0]), *name[1:])
            case "day":
                former = self._date_before(name)
            case "week" | "month":
                former = (name[0] - 1, name[1])
            case _:
                former = name - 1
        return self.names.index(former) if former in self.names else None

    @staticmethod
    def _date_before(day: date) -> date | None:
        return None if (day.month, day.day) == (2, 29) else day.replace(year=day.year - 1)

    def a_period_before(self, place: int, first: int, count: int) -> int | None:
        if self.unit != "hour":
            return place - count
        begins, ends = self.names[first], self.names[first + count]
        if begins[1] or ends[1]:
            return place - count
        day, hour, fold = self.names[place]
        former = (day - (ends[0] - begins[0]), hour, fold)
        return self.names.index(former) if former in self.names else None


def step(before: float, index: float) -> float:
    if index >= before or before - index <= 0.01 * before:
        return index - before
    return index if index <= 0.25 * before else 0.0


def differences(
    calendar: Calendar, readings: Sequence[Reading], change: tuple[datetime, float, float] | None
) -> dict[int, float]:
    """What an index has risen by, by bucket: each reading in its turn, and the change of the meter where it is."""
    read = {calendar.place(at - MICROSECOND) for at, _, _ in readings}
    events = [(at, value, value) for at, value, flags in readings if not flags & 3]
    if change is not None:
        events.append(change)
    amounts: dict[int, float] = {}
    events.sort(key=lambda event: (event[0], event != change))
    for (since, _, before), (until, index, _) in pairwise(events):
        place = calendar.place(until - MICROSECOND)
        inside = [edge for edge in calendar.edges if since <= edge < until]
        is_gap = any(since < edge for edge in inside) and (len(inside) > 1 or until - since > KNOWN_FOR)
        if not is_gap and place in read:
            amounts[place] = amounts.get(place, 0.0) + step(before, index)
    return amounts


def share_of_time(since: datetime, until: datetime, sound: Sequence[Reading]) -> float | None:
    known = weighted = 0.0
    ends = [at for at, _, _ in sound[1:]] + [datetime.max.replace(tzinfo=UTC)]
    for (at, value, _), following in zip(sound, ends, strict=True):
        seconds = (min(until, following, at + KNOWN_FOR) - max(since, at)).total_seconds()
        if seconds > 0:
            known += seconds
            weighted += seconds * value
    return weighted / known if known else None


def expected(
    calendar: Calendar,
    place: int,
    kind: str,
    readings: Sequence[Reading],
    change: tuple[datetime, float, float] | None,
) -> dict[str, Any]:
    """One item of the answer, the slow way."""
    since, until = calendar.edges[place], calendar.edges[place + 1]
    edge = MICROSECOND if kind == "index" else timedelta(0)
    inside = sorted(one for one in readings if calendar.place(one[0] - edge) == place)
    sound = [value for _, value, flags in inside if not flags & 3]
    value = None
    if inside and kind == "index":
        value = differences(calendar, readings, change).get(place)
    elif inside and kind == "state":
        value = share_of_time(since, until, sorted(one for one in readings if not one[2] & 3))
    elif sound:
        value = sum(sound) / len(sound)
    whole = (until - since) // INTERVAL
    return {
        "from": since.isoformat().replace("+00:00", "Z"),
        "to": until.isoformat().replace("+00:00", "Z"),
        "readings": len(sound),
        "suspects": len(inside) - len(sound),
        "completeness": None if until - since < INTERVAL else min(1, round(len(sound) / whole, 4)),
        "value": None if value is None else pytest.approx(value, abs=1e-6),
        "minimum": min(sound, default=None),
        "maximum": max(sound, default=None),
        "first": sound[0] if sound else None,
        "last": sound[-1] if sound else None,
    }


@st.composite
def histories(draw: st.DrawFn) -> list[Reading]:
    """Readings of some days, and of the same days a year earlier; one rises, and falls now and then."""
    start, index, found = draw(st.sampled_from(STARTS)), 50.0, dict[datetime, Reading]()
    for former in (start - timedelta(days=365), start):
        quarters = draw(st.lists(st.integers(0, 4 * 80), min_size=2, max_size=14, unique=True))
        for quarter in sorted(quarters):
            index = max(0.0, index + draw(st.sampled_from([0.0, 1.0, 2.5, 40.0, -40.0, -1000.0])))
            at = former + quarter * HOUR / 4
            found[at] = (at, index, draw(st.sampled_from([0, 0, 0, 0, 1, 4])))
    return sorted(found.values())


CALENDARS = {unit: Calendar.of(unit) for unit in ("hour", "day", "week", "month", "year")}
BESIDE = ("from", "to", "readings", "completeness", "value")


@pytest.fixture
async def assets(registry, pool: Pool) -> dict[str, dict]:
    """An asset with a device that is to speak every two hours, of each kind."""
    made = {}
    for kind, of in (("index", "water_meter"), ("gauge", "glass_container"), ("state", "room")):
        asset = await registry.asset(kind=of)
        made[kind] = asset | {"dev_eui": (await registry.device(asset_id=asset["id"]))["dev_eui"]}
    await pool.execute("UPDATE device_profile SET expected_interval = $1", INTERVAL)
    return made


QUANTITIES = {"index": ("water_volume", "L"), "gauge": ("fill_level", "%"), "state": ("open", "1")}


# An example that fails is small enough, and to shrink it takes minutes.
@settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=True,
    phases=(Phase.explicit, Phase.generate),
)
@given(data=st.data())
async def test_series_are_those_of_raw_readings_and_of_pythons_calendar(  # noqa: C901 - One story.
    client, assets, observations, pool: Pool, data: st.DataObject
) -> None:
    """Both nights of the clock, weeks over new year, a leap day, a meter change, gaps, suspects, late data."""
    readings, ids = dict[str, list[Reading]](), dict[str, int]()
    for kind, asset in assets.items():
        await pool.execute(
            "UPDATE datastream SET position = 'former ' || id WHERE asset_id = $1 AND position = ''", asset["id"]
        )
        ids[kind] = await observations.datastream(asset["dev_eui"], asset["id"], *QUANTITIES[kind])
        readings[kind] = data.draw(histories())
        if kind == "state":
            readings[kind] = [(at, float(value % 2 > 1), flags) for at, value, flags in readings[kind]]
        half = len(readings[kind]) // 2
        for part in (readings[kind][::2], readings[kind][1::2]) if half else (readings[kind],):
            for at, value, flags in part:
                await observations.readings(ids[kind], {at: value}, flags)
            if data.draw(st.booleans()):
                await roll_up(pool)
    middle = data.draw(st.sampled_from(readings["index"]))[0] + 7 * HOUR / 8
    change = (middle, 60.0, 5.0) if data.draw(st.booleans()) else None
    if change is not None:
        path = f"/v1/datastreams/{ids['index']}/meter-changes"
        body = {"at": middle.isoformat(), "final_index": change[1], "initial_index": change[2]}
        assert (await client.post(path, json=body)).status_code == 201
    calendar = CALENDARS[data.draw(st.sampled_from(sorted(CALENDARS)))]
    since = data.draw(st.sampled_from(STARTS)) + HOUR * data.draw(st.integers(-30, 60))
    until = since + HOUR * data.draw(st.sampled_from([1, 25, 60, 24 * 9]))
    first, last = calendar.place(since), calendar.place(until - MICROSECOND)

    answer = await client.get(
        "/v1/measurements/series",
        params={
            "datastream_id": list(ids.values()),
            "bucket": calendar.unit,
            "from": since.isoformat(),
            "to": until.isoformat(),
            "compare": ["previous_period", "previous_year"],
        },
    )

    assert answer.status_code == 200, answer.text
    found = {(item["datastream_id"], item["from"]): item for item in answer.json()["items"]}
    assert len(found) == 3 * (last + 1 - first)
    for kind, id_ in ids.items():
        for place in range(first, last + 1):
            wanted = expected(calendar, place, kind, readings[kind], change)
            item = found[id_, wanted["from"]]
            assert {name: item[name] for name in wanted} == wanted, (kind, calendar.unit)
            beside = {
                "previous_period": calendar.a_period_before(place, first, last + 1 - first),
                "previous_year": calendar.a_year_before(place),
            }
            for name, former in beside.items():
                if former is None:
                    assert item[name] is None, (name, item)
                    continue
                wanted = expected(calendar, former, kind, readings[kind], change)
                assert item[name] == {field: wanted[field] for field in BESIDE}, (name, kind, calendar.unit)


@pytest.fixture
async def bins(registry, observations) -> list[int]:
    """Two bins of Landerneau and one of Brest, read every six hours on two days of June."""
    made = []
    for number, commune in enumerate(("Landerneau", "Landerneau", "Brest")):
        asset = await registry.asset(commune=commune, tags=["port"] if number else [])
        device = await registry.device(asset_id=asset["id"])
        made.append(await observations.datastream(device["dev_eui"], asset["id"], "fill_level", "%"))
        start = datetime(2026, 6, 1, 6, tzinfo=UTC)
        await observations.readings(made[-1], {start + n * 6 * HOUR: 10.0 * number + n for n in range(6)})
    return made


JUNE = {"from": "2026-06-01T00:00:00Z", "to": "2026-06-04T00:00:00Z"}


async def test_datastreams_are_chosen_by_asset_kind_quantity_tag_and_commune(client, bins) -> None:
    async def chosen(path: str, **query: Any) -> list[int]:
        answer = await client.get(f"/v1/measurements/{path}", params=JUNE | query)
        assert answer.status_code == 200, answer.text
        return sorted({item["datastream_id"] for item in answer.json()["items"]})

    asset = (await client.get(f"/v1/datastreams/{bins[0]}")).json()["asset_id"]
    for path, also in (("series", {"bucket": "day"}), ("readings", {})):
        assert await chosen(path, **also) == bins
        assert await chosen(path, commune="Landerneau", **also) == bins[:2]
        assert await chosen(path, commune="Landerneau", tag="port", **also) == [bins[1]]
        assert await chosen(path, kind="glass_container", quantity="fill_level", **also) == bins
        assert await chosen(path, kind="room", **also) == []
        assert await chosen(path, asset_id=asset, **also) == [bins[0]]
        assert await chosen(path, datastream_id=[bins[2], bins[0]], **also) == [bins[0], bins[2]]


async def test_readings_come_page_by_page_each_once_whatever_is_measured_meanwhile(
    client, bins, observations
) -> None:
    found, cursor, late = list[tuple[int, str]](), None, datetime(2026, 6, 1, 7, tzinfo=UTC)
    while cursor != "":
        query = JUNE | {"limit": 4} | ({} if cursor is None else {"cursor": cursor})
        answer = (await client.get("/v1/measurements/readings", params=query)).json()
        found += [(item["datastream_id"], item["time"]) for item in answer["items"]]
        cursor = answer["next"] or ""
        # Before the place that is reached, and behind it.
        await observations.readings(bins[0], {late: 1.0})
        await observations.readings(bins[2], {late: 1.0})
        late += timedelta(minutes=1)

    assert found == sorted(set(found))
    assert [sum(id_ == one for id_, _ in found) >= 6 for one in bins] == [True] * 3
    assert sum(id_ == bins[2] for id_, _ in found) > 6
    wrong = await client.get("/v1/measurements/readings", params=JUNE | {"cursor": "pas-un-curseur"})
    assert (wrong.status_code, "curseur" in wrong.json()["detail"]) == (422, True)


async def test_what_is_over_has_a_tag_until_something_comes_late(client, bins, observations, pool: Pool) -> None:
    await roll_up(pool)
    day = JUNE | {"bucket": "day"}
    for path, query in (("series", day), ("readings", JUNE)):
        first = await client.get(f"/v1/measurements/{path}", params=query)
        tag = first.headers["etag"]
        table = await client.get(f"/v1/measurements/{path}", params=query, headers={"Accept": "text/csv"})
        again = await client.get(
            f"/v1/measurements/{path}", params=query, headers={"If-None-Match": f'"autre", {tag}'}
        )

        assert first.headers["cache-control"] == "private, no-cache"
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
        assert table.headers["etag"] != tag
        assert len(list(csv.DictReader(io.StringIO(table.text)))) == len(first.json()["items"])
        open_ = await client.get(
            f"/v1/measurements/{path}",
            params={**query, "to": "2100-01-01T00:00:00Z"} | ({"from": "2095-01-01T00:00:00Z"}),
        )
        assert "etag" not in open_.headers

        await observations.readings(bins[0], {datetime(2026, 6, 2, 1, len(path), tzinfo=UTC): 77.0})
        changed = await client.get(f"/v1/measurements/{path}", params=query, headers={"If-None-Match": tag})
        await roll_up(pool)

        assert changed.status_code == 200
        assert changed.content != first.content


async def test_what_cannot_be_answered_is_rejected_in_french(client, other_client, bins, pool: Pool) -> None:
    hundred = {"from": "1990-01-01T00:00:00Z", "to": "2090-01-01T00:00:00Z"}
    many = {"datastream_id": list(range(1, 2006))}
    cases = [
        ("series", JUNE, "bucket"),
        ("series", JUNE | {"bucket": "century"}, "bucket"),
        ("series", hundred | {"bucket": "year"}, "« from » doit précéder « to », de 3653 jours au plus"),
        ("series", {**JUNE, "from": "2024-01-01T00:00:00Z", "bucket": "hour"}, "de 366 jours au plus"),
        ("series", JUNE | many | {"bucket": "day"}, "2000 éléments au plus"),
        ("series", JUNE | {"bucket": "day", "compare": "last_year"}, "previous_year"),
        ("series", JUNE | {"bucket": "day", "timezone": "Mars/Olympus"}, "fuseau inconnu : « Mars/Olympus »"),
        ("series", JUNE | {"bucket": "day", "timezone": "Asia/Kolkata"}, "nombre entier d'heures"),
        ("series", JUNE | {"bucket": "day", "datastream": "3"}, "le plus proche est « datastream_id »"),
        ("series", JUNE | {"bucket": "day", "datastream_id": 999_999}, "flux inconnu : 999999"),
        ("series", JUNE | {"bucket": "day", "asset_id": 999_999}, "actif inconnu : 999999"),
        ("readings", hundred, "de 3653 jours au plus"),
        ("readings", JUNE | many, "2000 éléments au plus"),
        ("readings", JUNE | {"limit": 10_001}, "10000 au plus"),
        ("readings", JUNE | {"datastream_id": 999_999}, "flux inconnu : 999999"),
    ]
    for path, query, message in cases:
        answer = await client.get(f"/v1/measurements/{path}", params=query)
        assert answer.status_code == 422, (path, query)
        assert message in answer.text, answer.text

    theirs = await other_client.get(
        "/v1/measurements/series", params=JUNE | {"bucket": "day", "datastream_id": bins}
    )
    assert (theirs.status_code, f"flux inconnu : {bins[0]}" in theirs.json()["detail"]) == (422, True)
    everything = await other_client.get("/v1/measurements/series", params=JUNE | {"bucket": "day"})
    assert everything.json()["items"] == []
    await pool.execute(
        "INSERT INTO datastream (tenant_id, asset_id, device_id, channel, quantity, unit) "
        "SELECT tenant_id, asset_id, device_id, n, 'temperature', 'Cel' "
        "FROM datastream, generate_series(1, 2000) n WHERE id = $1",
        bins[0],
    )
    for query, message in (
        ({"bucket": "day"}, "plus de 2000 flux"),
        ({"bucket": "hour", "quantity": "temperature"}, "144000 intervalles demandés, 100000 au plus"),
    ):
        answer = await client.get("/v1/measurements/series", params=JUNE | query)
        assert (answer.status_code, message in answer.json()["detail"]) == (422, True), answer.text


@pytest.fixture
async def shared_world(client, client_of_key, other_client, other_tenancy, tenancy, registry, observations, pool):
    """Four kinds of datastreams, by privacy class and kind of asset, and who else than their owner reads some."""
    made: dict[str, int] = {}
    kinds = {"room": ("room", 0), "meter": ("water_meter", 1), "home": ("dwelling", 2), "lapsed": ("dwelling", 2)}
    start = datetime(2026, 6, 1, tzinfo=UTC)
    for name, (kind, class_) in kinds.items():
        asset = await registry.asset(kind=kind, privacy_class=class_)
        device = await registry.device(asset_id=asset["id"])
        quantity = ("water_volume", "L") if name == "meter" else ("temperature", "Cel")
        made[name] = await observations.datastream(device["dev_eui"], asset["id"], *quantity)
        await observations.readings(made[name], {start + n * 3 * HOUR: 20.0 + n for n in range(24)})
        if name in {"room", "home"}:  # Of the second day of three alone.
            body = {"tenant": "autre", "asset_id": asset["id"]}
            days = {"data_from": "2026-06-01T22:00:00Z", "data_to": "2026-06-02T22:00:00Z"}
            grant = (await client.post("/v1/grants", json=body | days)).json()
            assert (await other_client.post(f"/v1/grants/{grant['id']}/accept")).status_code == 200
    await pool.execute("UPDATE datastream SET fine_until = now() - interval '1 day' WHERE id = $1", made["lapsed"])
    await roll_up(pool)
    syndicat = await make_tenancy(pool, "syndicat")
    await pool.execute("UPDATE tenant SET member_of = $1 WHERE id = $2", syndicat.id, tenancy.id)
    stranger = await make_tenancy(pool, "ailleurs")
    body = {"name": "compteurs", "roles": ["read"], "asset_kinds": ["water_meter"]}
    key = (await client.post("/v1/api-keys", json=body)).json()["key"]
    readers = {"limited": key, "syndicat": syndicat.key, "stranger": stranger.key}
    opened = {name: client_of_key(one) for name, one in readers.items()} | {
        "owner": client,
        "grantee": other_client,
    }
    return made, opened


async def test_each_reader_is_shown_what_each_datastream_shows_alone(shared_world) -> None:
    """Grants with periods, a syndicat, class 2, a consent that ended, a limited key: by every way the same."""
    made, readers = shared_world
    seen: dict[str, set[str]] = {}
    for name, reader in readers.items():
        for bucket in ("hour", "day", "month"):
            answer = await reader.get("/v1/measurements/series", params=JUNE | {"bucket": bucket})
            items = [one for one in answer.json()["items"] if one["readings"]]
            for stream, id_ in made.items():
                alone = await reader.get(f"/v1/datastreams/{id_}/aggregates", params=JUNE | {"bucket": bucket})
                wanted = alone.json()["items"] if alone.status_code == 200 else []
                found = [one for one in items if one["datastream_id"] == id_]
                fields = ("from", "to", "readings", "minimum", "maximum", "first", "last")
                assert [{field: one[field] for field in fields} for one in found] == [
                    {field: one[field] for field in fields} for one in wanted
                ], (name, stream, bucket)
                if found:
                    seen.setdefault(f"{name} {bucket}", set()).add(stream)
        raw = (await reader.get("/v1/measurements/readings", params=JUNE)).json()["items"]
        for stream, id_ in made.items():
            alone = await reader.get(f"/v1/datastreams/{id_}/measurements", params=JUNE)
            wanted = [one["value"] for one in alone.json()["items"]] if alone.status_code == 200 else []
            found = [one["value"] for one in raw if one["datastream_id"] == id_]
            assert found == wanted, (name, stream)
            if found:
                seen.setdefault(f"{name} raw", set()).add(stream)
        for stream, id_ in made.items():
            named = await reader.get(
                "/v1/measurements/series", params=JUNE | {"bucket": "day", "datastream_id": id_}
            )
            is_known = (await reader.get(f"/v1/datastreams/{id_}")).status_code == 200
            assert named.status_code == (200 if is_known else 422), (name, stream)

    assert seen == {
        "owner hour": {"room", "meter", "home"},
        "owner day": {"room", "meter", "home", "lapsed"},
        "owner month": {"room", "meter", "home", "lapsed"},
        "owner raw": {"room", "meter", "home"},
        "grantee hour": {"room", "home"},
        "grantee day": {"room", "home"},
        "grantee month": {"room", "home"},
        "grantee raw": {"room", "home"},
        "syndicat hour": {"room", "meter"},
        "syndicat day": {"room", "meter"},
        "syndicat month": {"room", "meter"},
        "syndicat raw": {"room", "meter"},
        "limited hour": {"meter"},
        "limited day": {"meter"},
        "limited month": {"meter"},
        "limited raw": {"meter"},
    }
