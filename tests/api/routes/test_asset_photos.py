"""Photos of assets: stripped, seen by their own tenant alone, counted, erased."""

from base64 import b64encode

from api.routes.asset_photos import OF_ONE_ASSET_MOST
from core.runtime.postgres import Pool
from tests.api.photos import ONE_PIXEL, jpeg


def sent(octets: bytes, **fields: str) -> dict[str, str]:
    return {"content": b64encode(octets).decode(), **fields}


async def test_a_photo_is_kept_without_its_place_and_shown_to_its_own_tenant(
    client, other_client, registry, pool: Pool, tenancy, other_tenancy
) -> None:
    asset = await registry.asset()
    path = f"/v1/assets/{asset['id']}/photos"

    made = await client.post(path, json=sent(jpeg(exif=b"MM\0*GPS"), remark="Sous le couvercle"))
    listed = (await client.get(path)).json()["items"]
    shown = await client.get(f"/v1/photos/{made.json()['id']}")

    assert made.status_code == 201, made.text
    assert listed == [made.json()]
    assert (made.json()["remark"], made.json()["octets"]) == ("Sous le couvercle", len(ONE_PIXEL))
    assert (shown.headers["content-type"], shown.content) == ("image/jpeg", ONE_PIXEL)
    assert shown.headers["x-content-type-options"] == "nosniff"
    # Neither by number, nor by a grant of the asset.
    grant = await client.post("/v1/grants", json={"tenant": other_tenancy.slug, "asset_id": asset["id"]})
    assert (await other_client.post(f"/v1/grants/{grant.json()['id']}/accept")).status_code == 200
    assert (await other_client.get(f"/v1/assets/{asset['id']}")).status_code == 200
    assert (await other_client.get(path)).json()["items"] == []
    for method in ("GET", "DELETE"):
        assert (await other_client.request(method, f"/v1/photos/{made.json()['id']}")).status_code == 404
    assert (await other_client.post(path, json=sent(jpeg()))).status_code == 403

    assert (await client.delete(f"/v1/photos/{made.json()['id']}")).status_code == 204
    assert await pool.fetchval("SELECT count(*) FROM asset_photo") == 0


async def test_what_is_no_jpeg_too_large_or_one_too_many_is_rejected(
    client, registry, pool: Pool, tenancy
) -> None:
    asset = await registry.asset()
    path = f"/v1/assets/{asset['id']}/photos"

    for octets, said in ((b"\x89PNG\r\n\x1a\n", "JPEG"), (jpeg(behind=bytes(2 << 20)), "2 Mo")):
        answer = await client.post(path, json=sent(octets))
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "body.content")
        assert said in answer.json()["detail"]
    for _ in range(OF_ONE_ASSET_MOST):
        assert (await client.post(path, json=sent(jpeg()))).status_code == 201
    assert (await client.post(path, json=sent(jpeg()))).status_code == 409
    await pool.execute("INSERT INTO quota VALUES ($1, 'photos', $2)", tenancy.id, OF_ONE_ASSET_MOST)
    another = await registry.asset(name="Une autre")
    refused = await client.post(f"/v1/assets/{another['id']}/photos", json=sent(jpeg()))
    assert (refused.status_code, "photos d'actifs" in refused.text) == (409, True)


async def test_a_photo_goes_with_its_asset_to_another_tenant(
    client, other_client, registry, pool: Pool, other_tenancy
) -> None:
    asset = await registry.asset()
    photo = (await client.post(f"/v1/assets/{asset['id']}/photos", json=sent(jpeg()))).json()
    offer = {"tenant": other_tenancy.slug, "history": "goes_along", "confirm": asset["name"]}
    transfer = (await client.post(f"/v1/assets/{asset['id']}/transfer", json=offer)).json()

    accepted = await other_client.post(f"/v1/transfers/{transfer['id']}/accept")

    assert accepted.status_code == 200, accepted.text
    assert (await client.get(f"/v1/photos/{photo['id']}")).status_code == 404
    assert (await other_client.get(f"/v1/photos/{photo['id']}")).content == ONE_PIXEL


async def test_devices_of_before_stay_listed_with_their_asset(client, registry) -> None:
    asset = await registry.asset()
    first, second = await registry.device(asset_id=asset["id"]), await registry.device()
    await client.put(f"/v1/assets/{asset['id']}/device", json={"dev_eui": second["dev_eui"]})

    listed = (await client.get(f"/v1/assets/{asset['id']}/devices")).json()["items"]

    assert [one["dev_eui"] for one in listed] == [second["dev_eui"], first["dev_eui"]]
    assert (listed[0]["until"], listed[1]["until"]) == (None, listed[0]["since"])


async def test_a_field_agent_says_where_an_asset_is(client_with, client, registry) -> None:
    asset = await registry.asset()
    async with client_with("read", "field") as agent:
        placed = await agent.put(
            f"/v1/assets/{asset['id']}/position", json={"latitude": 48.45, "longitude": -4.25}
        )
        beyond = await agent.put(f"/v1/assets/{asset['id']}/position", json={"latitude": 98.45, "longitude": 0})

    assert (placed.json()["latitude"], placed.json()["longitude"]) == (48.45, -4.25)
    assert beyond.status_code == 422
    assert (await client.get(f"/v1/assets/{asset['id']}")).json()["latitude"] == 48.45
