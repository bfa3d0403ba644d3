"""A round as files for satnavs, maps and spreadsheets: GPX 1.1, GeoJSON and CSV."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import groupby
from typing import Any
from xml.etree import ElementTree as ET
from zoneinfo import ZoneInfo

import msgspec

from api.round_words import CHOSEN_BY, LEFT_REASONS, OUTCOMES, SKIP_REASONS, amount, title_of
from indicators.waste.rounds.store import RoundStop, WasteRound
from registry.bulk_imports.kinds import csv_lines, harmless

GPX, GEOJSON, CSV = "application/gpx+xml", "application/geo+json", "text/csv; charset=utf-8"
MARK = "\ufeff"
NAMESPACE = "http://www.topografix.com/GPX/1/1"
HEADS = (
    "Camion", "Trajet", "Ordre", "Arrivée", "Borne", "Rue", "Commune", "Latitude", "Longitude", "Niveau (%)",
    "Volume (l)", "Poids (kg)", "Choisie", "Non desservie", "Fait", "Motif", "À", "Niveau vu (%)", "Remarque",
)  # fmt: skip
DEPOT, OUTLET = "Dépôt", "Exutoire"
Point = tuple[str, float, float, datetime | None]


def as_gpx(one: WasteRound, stops: Sequence[RoundStop]) -> bytes:
    """GPX 1.1: a waypoint for each bin, and a route for each truck, from the depot by its bins and the outlet."""
    gpx = ET.Element("gpx", {"version": "1.1", "creator": "Territoire", "xmlns": NAMESPACE})
    metadata = ET.SubElement(gpx, "metadata")
    ET.SubElement(metadata, "name").text = _printable(title_of(one))
    ET.SubElement(metadata, "time").text = _utc(one.created_at)
    for stop in _visited(stops):
        _point(gpx, "wpt", (_label(stop), stop.latitude or 0.0, stop.longitude or 0.0, stop.arrival), _said(stop))
    for truck, of_truck in groupby(_visited(stops), key=lambda stop: stop.truck):
        route = ET.SubElement(gpx, "rte")
        ET.SubElement(route, "name").text = f"Camion {truck}"
        for point in _points(one, list(of_truck)):
            _point(route, "rtept", point)
    return ET.tostring(gpx, encoding="utf-8", xml_declaration=True)


def _visited(stops: Sequence[RoundStop]) -> list[RoundStop]:
    """Those that are in a trip and whose place is still known."""
    return [stop for stop in stops if stop.position is not None and None not in (stop.latitude, stop.longitude)]


def _points(one: WasteRound, stops: Sequence[RoundStop]) -> Iterator[Point]:
    """What a truck passes by, in order."""
    yield DEPOT, one.depot_latitude, one.depot_longitude, None
    for _, of_trip in groupby(stops, key=lambda stop: stop.trip):
        for stop in of_trip:
            yield _label(stop), stop.latitude or 0.0, stop.longitude or 0.0, stop.arrival
        yield OUTLET, one.outlet_latitude, one.outlet_longitude, None
    yield DEPOT, one.depot_latitude, one.depot_longitude, None


def _point(parent: ET.Element, tag: str, point: Point, described: str = "") -> None:
    """Its children in the order of the schema: time, name, desc."""
    name, latitude, longitude, at = point
    element = ET.SubElement(parent, tag, {"lat": f"{latitude:.6f}", "lon": f"{longitude:.6f}"})
    if at is not None:
        ET.SubElement(element, "time").text = _utc(at)
    ET.SubElement(element, "name").text = _printable(name)
    if described:
        ET.SubElement(element, "desc").text = _printable(described)


def _utc(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _printable(text: str) -> str:
    """Without what XML 1.0 cannot hold."""
    return "".join(letter for letter in text if letter.isprintable())


def _label(stop: RoundStop) -> str:
    return f"{stop.position}. {stop.name}"


def _said(stop: RoundStop) -> str:
    said = f"Camion {stop.truck}, trajet {stop.trip}"
    return said if stop.level is None else f"{said}, {amount(stop.level)} %"


def as_geojson(one: WasteRound, stops: Sequence[RoundStop], shown: Sequence[dict[str, Any]]) -> bytes:
    """A point for each bin, as the API shows it, and a line for each truck: straight, for roads are not kept."""
    features: list[dict[str, Any]] = []
    for item in shown:
        longitude, latitude = item.pop("longitude"), item.pop("latitude")
        geometry = None if longitude is None else {"type": "Point", "coordinates": [longitude, latitude]}
        features.append({"type": "Feature", "id": item["asset_id"], "geometry": geometry, "properties": item})
    for truck, of_truck in groupby(_visited(stops), key=lambda stop: stop.truck):
        line = [[longitude, latitude] for _, latitude, longitude, _ in _points(one, list(of_truck))]
        geometry = {"type": "LineString", "coordinates": line}
        features.append(
            {"type": "Feature", "geometry": geometry, "properties": {"truck": truck, "straight": True}}
        )
    return msgspec.json.encode({"type": "FeatureCollection", "features": features})


def as_csv(stops: Sequence[RoundStop], zone: ZoneInfo) -> str:
    """For a French spreadsheet: semicolons, decimal commas, local hours, a mark by which it knows the letters."""
    return MARK + csv_lines([HEADS, *([harmless(cell) for cell in _cells(stop, zone)] for stop in stops)])


def _cells(stop: RoundStop, zone: ZoneInfo) -> list[str]:
    return [
        *(_number(value) for value in (stop.truck, stop.trip, stop.position)),
        _hour(stop.arrival, zone),
        stop.name,
        stop.street,
        stop.commune,
        *(_number(value) for value in (stop.latitude, stop.longitude)),
        *("" if value is None else amount(value) for value in (stop.level, stop.volume_l, stop.weight_kg)),
        CHOSEN_BY[stop.chosen_by],
        "" if stop.left_reason is None else LEFT_REASONS[stop.left_reason],
        "" if stop.outcome is None else OUTCOMES[stop.outcome],
        "" if stop.reason is None else SKIP_REASONS[stop.reason],
        _hour(stop.done_at, zone),
        "" if stop.level_seen is None else amount(stop.level_seen),
        stop.remark or "",
    ]


def _number(value: float | None) -> str:
    return "" if value is None else str(value).replace(".", ",")


def _hour(at: datetime | None, zone: ZoneInfo) -> str:
    return "" if at is None else f"{at.astimezone(zone):%d/%m/%Y %H:%M}"
