"""Which lists `bench lists` asks for: those of the API's document, so that none is forgotten."""

import json
from pathlib import Path

from lab.bench.list_pages import FILTERED, GOAL_MS, ListFigures, MapFigures, PageFigures, requests_of

DOCUMENT = Path(__file__).parents[2] / "characterisation" / "openapi.json"


def test_every_list_of_the_document_is_asked_in_every_order_and_by_its_filters() -> None:
    document = json.loads(DOCUMENT.read_text("utf-8"))

    asked = list(requests_of(document))

    paths = {path for path, _ in asked}
    assert {"/v1/assets", "/v1/devices", "/v1/measurements/latest", "/v1/alerts", "/v1/sensor-health"} <= paths
    assert paths >= set(FILTERED)
    assert not any("{" in path for path in paths)
    assert ("/v1/devices", {"limit": "50", "sort": "-battery_percent"}) in asked
    near = [parameters for _, parameters in asked if parameters.get("sort") == "distance"]
    assert near
    assert all("near" in parameters for parameters in near)
    known = {
        path: operations["get"]["parameters"] for path, operations in document["paths"].items() if path in paths
    }
    for path, parameters in asked:
        assert set(parameters) <= {one["name"] for one in known[path]}


def test_what_is_slower_than_its_goal_is_missed() -> None:
    lists = [ListFigures(f"/v1/{ms}", 50, GOAL_MS, 1.0, 2.0, ms, 3.0, 4.0) for ms in (60.0, 60.1)]
    figures = PageFigures(lists, MapFigures(10, 1_000, 2_000.0, 3_001.0, 1.0, 2.0, 100.0, 101.0), 0.5)

    assert figures.missed == ["/v1/60.1", "/v1/assets/map (10)"]
