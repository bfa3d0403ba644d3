"""Archived assets and devices: out of lists, their history readable, and taken out again."""

from datetime import UTC, datetime

NOW = datetime.now(UTC).replace(microsecond=0)


async def test_what_is_archived_is_out_of_lists_readable_and_taken_out_again(
    client, other_client, registry, observations
) -> None:
    asset = await registry.asset()
    device = await registry.device(asset_id=asset["id"])
    datastream = await observations.datastream(device["dev_eui"], asset["id"], "fill_level", "%")
    await observations.readings(datastream, {NOW: 42})
    paths = {"/v1/assets": f"/v1/assets/{asset['id']}", "/v1/devices": f"/v1/devices/{device['dev_eui']}"}
    for listed, path in paths.items():
        foreign = await other_client.put(f"{path}/archived", json={"archived": True})
        archived = await client.put(f"{path}/archived", json={"archived": True})
        gone = (await client.get(listed)).json()["items"]
        shown = (await client.get(listed, params={"archived": True})).json()["items"]
        states = (await client.get("/v1/asset-states")).json()["items"]
        read = await client.get(path)
        history = await client.get(f"/v1/datastreams/{datastream}/measurements")
        back = await client.put(f"{path}/archived", json={"archived": False})
        again = (await client.get(listed)).json()["items"]

        assert (foreign.status_code, archived.status_code, back.status_code) == (404, 200, 200)
        assert (gone, len(shown), len(again)) == ([], 1, 1)
        assert len(states) == (path != paths["/v1/assets"])
        assert (read.status_code, len(history.json()["items"])) == (200, 1)
        assert (archived.json()["archived_at"] is None, back.json()["archived_at"]) == (False, None)
        if "enabled" in back.json():
            assert (archived.json()["enabled"], back.json()["enabled"]) == (False, True)
