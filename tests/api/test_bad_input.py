"""What is malformed is 422, in French, and leaves nothing half made: generated from the router for every list."""

import secrets
from base64 import b64encode

import httpx

from api.app import LISTS
from api.parameters import parameters_of
from core.runtime.postgres import Pool
from tests.api.photos import jpeg
from tests.api.test_every_route import OF_THE_OPERATOR, QUERIES, example_of

COUNTED = """
SELECT (SELECT count(*) FROM commune_outline) + (SELECT count(*) FROM kit_commissioning)
       + (SELECT count(*) FROM asset) + (SELECT count(*) FROM device) + (SELECT count(*) FROM asset_photo)
       + (SELECT count(*) FROM work_order_photo) + (SELECT count(*) FROM audit)
"""
# A square, and one whose sides cross.
SQUARE = [[-4.3, 48.42], [-4.2, 48.42], [-4.2, 48.48], [-4.3, 48.48], [-4.3, 48.42]]
CROSSED = [[-4.3, 48.42], [-4.2, 48.48], [-4.2, 48.42], [-4.3, 48.48], [-4.3, 48.42]]
MAP = "/v1/assets/map"


def wrong_queries(parameters: dict[str, bool]) -> list[tuple[dict[str, str], str]]:
    """What a list with these parameters refuses, and what it says."""
    wrong: list[tuple[dict[str, str], str]] = []
    if "limit" in parameters:
        wrong.append(({"limit": "10001"}, "au plus"))
    if "bbox" in parameters:
        wrong.append(({"bbox": "-4.1,48.3,-4.5,48.6"}, "inversée"))
    if "near" in parameters:
        wrong.append(({"near": "-4.25,48.45", "radius": "200000"}, "100000 au plus"))
    return wrong


async def test_every_list_refuses_a_page_beyond_ten_thousand_an_inverted_box_and_two_hundred_kilometres(
    client: httpx.AsyncClient,
) -> None:
    asked = 0
    known = {route.path: parameters_of(route) for route in LISTS if route.path not in OF_THE_OPERATOR}
    known[MAP] = {"bbox": False, "near": False}
    for path, parameters in known.items():
        for query, said in wrong_queries(parameters):
            answer = await client.get(example_of(path), params=QUERIES.get(path, {}) | query)

            asked += 1
            assert (answer.status_code, said in answer.text) == (422, True), (path, query, answer.text)

    assert asked > 60


async def test_an_outline_that_crosses_itself_a_kit_with_one_device_twice_and_no_photo_leave_nothing(
    client: httpx.AsyncClient, registry, pool: Pool
) -> None:
    asset = await registry.asset()
    profile = await registry.profile()
    order = (await client.post("/v1/work-orders", json={"title": "Voir"})).json()
    items = [
        {"key": key, "device_profile_id": profile["id"], "asset_kind": "room", "asset_name": f"{{site}} {key}"}
        for key in ("a", "b")
    ]
    kit = (await client.post("/v1/kits", json={"name": "École", "items": items})).json()
    dev_eui = secrets.token_hex(8)
    sound, crossed = (
        {
            "type": "Feature",
            "properties": {"insee": insee, "nom": insee},
            "geometry": {"type": "Polygon", "coordinates": [ring]},
        }
        for insee, ring in (("29103", SQUARE), ("29019", CROSSED))
    )
    twice = {"site": "Ferry", "devices": [{"item": key, "dev_eui": dev_eui} for key in ("a", "b")]}
    before = await pool.fetchval(COUNTED)

    for path, body, said in (
        ("/v1/commune-outlines", {"features": [sound, crossed]}, "se croise lui-même"),
        (f"/v1/kits/{kit['id']}/commissionings", twice, "donné deux fois"),
        *(
            (f"/v1/{owner}/photos", {"content": b64encode(octets).decode()}, "pas une photo JPEG entière")
            for owner in (f"assets/{asset['id']}", f"work-orders/{order['id']}")
            for octets in (b"<svg/>", jpeg()[:-2])
        ),
    ):
        answer = await client.post(path, json=body)

        assert (answer.status_code, said in answer.text) == (422, True), (path, answer.text)

    assert await pool.fetchval(COUNTED) == before
