"""Photos in parts: larger than a request, sent again after a cut, and nothing of what is no photo."""

from base64 import b64encode
from typing import Any

import httpx

from core.runtime.http.middleware import MAX_BODY
from core.runtime.postgres import Pool
from tests.api.photos import ONE_PIXEL, jpeg

PATH = "/v1/photo-uploads"
PART = 700_000
KEPT = "SELECT (SELECT count(*) FROM photo_upload_part) + (SELECT count(*) FROM asset_photo)"
# A quantisation table that no component uses is drawn by nobody, and kept as part of the picture.
TABLE = b"\xff\xdb\x00\x43\x0f" + bytes(range(1, 65))


def large() -> tuple[bytes, bytes]:
    """A photo of three megabytes as a camera writes it, and as it is kept."""
    kept = ONE_PIXEL[:2] + TABLE * 45_000 + ONE_PIXEL[2:]
    return kept[:2] + jpeg(exif=b"MM\0*GPS")[2:19] + kept[2:] + b"thumbnail", kept


async def begin(client: httpx.AsyncClient, octets: bytes, **of: Any) -> str:
    made = await client.post(PATH, json={"octets": len(octets), **of})
    assert made.status_code == 201, made.text
    return f"{PATH}/{made.json()['id']}"


async def put(client: httpx.AsyncClient, upload: str, number: int, octets: bytes) -> httpx.Response:
    return await client.put(f"{upload}/parts/{number}", json={"content": b64encode(octets).decode()})


async def test_a_photo_larger_than_a_request_arrives_in_parts_and_is_kept_as_a_whole_one(
    client, other_client, client_with, registry, pool: Pool
) -> None:
    asset = await registry.asset()
    order = (await client.post("/v1/work-orders", json={"title": "Voir", "asset_ids": [asset["id"]]})).json()
    sent, kept = large()
    parts = [sent[at : at + PART] for at in range(0, len(sent), PART)]
    assert len(sent) > 2 * MAX_BODY
    for of, photo in (
        ({"asset_id": asset["id"], "remark": "Couvercle"}, "/v1/photos"),
        ({"work_order_id": order["id"]}, "/v1/work-order-photos"),
    ):
        async with client_with("read", "field") as agent:
            upload = await begin(agent, sent, **of)
            for number in (5, 2, 1, 2):  # In any order, and again.
                assert (await put(agent, upload, number, parts[number - 1])).status_code == 200
            cut = await agent.post(f"{upload}/complete")
            known = (await agent.get(upload)).json()["received"]
            for number in {1, 2, 3, 4, 5} - set(known):
                await put(agent, upload, number, parts[number - 1])
            beyond = await put(agent, upload, 6, b"more")
            done = await agent.post(f"{upload}/complete")
            again = await agent.post(f"{upload}/complete")  # Its answer was lost.
            late = await put(agent, upload, 1, parts[0])

        assert (cut.status_code, "morceau 3" in cut.text, known) == (409, True, [1, 2, 5])
        assert (beyond.status_code, "annoncés" in beyond.text, late.status_code) == (422, True, 409)
        assert (done.status_code, again.json()) == (200, done.json()), done.text
        shown = await client.get(f"{photo}/{done.json()['photo_id']}")
        assert (shown.status_code, shown.content == kept) == (200, True)
        assert (await other_client.get(upload)).status_code == 404
    listed = (await client.get(f"/v1/assets/{asset['id']}/photos")).json()["items"]
    assert [(one["remark"], one["octets"]) for one in listed] == [("Couvercle", len(kept))]
    assert await pool.fetchval("SELECT count(*) FROM photo_upload_part") == 0


async def test_what_is_no_photo_too_much_or_of_another_leaves_nothing(
    client, other_client, client_with, registry, pool: Pool, tenancy
) -> None:
    asset = await registry.asset()
    of = {"asset_id": asset["id"]}
    for body, status, said in (
        ({"octets": 9_000_000, **of}, 422, "8000000"),
        ({"octets": 40}, 422, "l'un des deux"),
        ({"octets": 40, "work_order_id": 1, **of}, 422, "l'un des deux"),
        ({"octets": 40, "asset_id": 999_999}, 404, "999999"),
    ):
        refused = await client.post(PATH, json=body)
        assert (refused.status_code, said in refused.text) == (status, True), (body, refused.text)
    assert (await other_client.post(PATH, json={"octets": 40, **of})).status_code == 404

    octets = jpeg()[:-2]
    upload = await begin(client, octets, **of)
    assert (await client.post(f"{upload}/complete")).status_code == 409  # Nothing has come.
    for method, path in (("GET", upload), ("POST", f"{upload}/complete")):
        assert (await other_client.request(method, path)).status_code == 404
    assert (await put(other_client, upload, 1, octets)).status_code == 404
    async with client_with("read") as reader:
        assert (await put(reader, upload, 1, octets)).status_code == 403
    await put(client, upload, 1, octets)
    refused = await client.post(f"{upload}/complete")
    assert (refused.status_code, "pas une photo JPEG entière" in refused.text) == (422, True)
    assert (await client.get(upload)).status_code == 404
    assert await pool.fetchval(KEPT) == 0

    # Those that are not whole are counted; one that is, is not.
    await pool.execute("INSERT INTO quota VALUES ($1, 'photo_uploads', 1)", tenancy.id)
    upload = await begin(client, jpeg(), **of)
    full = await client.post(PATH, json={"octets": 40, **of})
    await put(client, upload, 1, jpeg())
    assert (await client.post(f"{upload}/complete")).status_code == 200
    assert (full.status_code, "photos en morceaux" in full.text) == (409, True)
    await begin(client, jpeg(), **of)
