"""`territoire import communes` against a real API, and the outlines that maps get."""

import json
from pathlib import Path

import httpx

from core.runtime.postgres import Pool
from lab.fleet.communes import outlines
from registry.tenants import create_api_key, create_tenant
from tests.cli.test_lns_import import Api, api

__all__ = ["api"]


async def test_a_file_of_communes_is_taken_in_once_or_rejected_whole_and_drawn_by_maps(
    api: Api, pool: Pool, tmp_path: Path
) -> None:
    file, wrong = tmp_path / "communes.geojson", tmp_path / "faux.geojson"
    features = outlines()
    file.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    bad = [features[0], features[1] | {"properties": {"nom": "Sans code"}}, features[0]]
    wrong.write_text(json.dumps({"type": "FeatureCollection", "features": bad}))

    rejected = await api.territoire("import", "communes", str(wrong))
    nothing = await pool.fetchval("SELECT count(*) FROM commune_outline")
    done = await api.territoire("import", "communes", str(file))
    again = await api.territoire("import", "communes", str(file))
    operator = await create_tenant(pool, "sdef", "SDEF")
    network = await create_api_key(pool, operator.id, "exploitant", ("read", "manage", "operate"))
    other = await create_api_key(pool, (await create_tenant(pool, "metz", "Metz")).id, "k", ("read", "manage"))
    shared = await api.territoire("import", "communes", str(file), "--shared", "--api-key", network)
    async with httpx.AsyncClient(base_url=api.url) as client:
        client.headers["Authorization"] = f"Bearer {api.key}"
        drawn = await client.get("/v1/commune-outlines")
        kept = await client.get("/v1/commune-outlines", headers={"If-None-Match": drawn.headers["etag"]})
        one = (await client.get("/v1/commune-outlines", params={"commune": "Landerneau"})).json()
        body = {"features": features}
        forbidden = await client.post("/v1/commune-outlines", json=body | {"shared": True})
        as_operator = {"Authorization": f"Bearer {network}"}
        for_metz = await client.post("/v1/commune-outlines", json=body | {"tenant": "metz"}, headers=as_operator)
        of_metz = (await client.get("/v1/commune-outlines", headers={"Authorization": f"Bearer {other}"})).json()
        empty = (await client.get("/v1/commune-outlines", headers=as_operator)).json()
        inside = {"kind": "room", "name": "A", "commune": "Landerneau", "latitude": 48.3301, "longitude": -4.06}
        away = {"kind": "room", "name": "B", "commune": "Brest", "latitude": 43.3, "longitude": 5.4}
        for asset in (inside, away):
            made = await client.post("/v1/assets", json=asset, headers=as_operator)
            assert made.status_code == 201, made.text
        offered = (await client.get("/v1/commune-outlines", headers=as_operator)).json()

    assert rejected.returncode == 2
    assert "objet 2 : code INSEE attendu" in rejected.stderr
    assert "objet 3 : le code 29019 est déjà celui de l'objet 1" in rejected.stderr
    assert nothing == 0
    assert "12 contours nouveaux" in done.stdout, done.stderr
    assert "12 déjà à jour" in again.stdout
    assert (forbidden.status_code, for_metz.json()) == (403, {"created": 12, "updated": 0, "unchanged": 0})
    assert "12 contours nouveaux" in shared.stdout, shared.stderr
    assert drawn.headers["content-type"] == "application/geo+json"
    assert (len(drawn.json()["features"]), drawn.json()["generated"]) == (12, False)
    assert kept.status_code == 304
    assert [feature["properties"] for feature in one["features"]] == [{"insee": "29103", "name": "Landerneau"}]
    assert len(of_metz["features"]) == 12
    assert empty["features"] == []
    assert [feature["properties"]["name"] for feature in offered["features"]] == ["Landerneau"]
