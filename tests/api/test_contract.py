"""What the API promises to software of others, over every route: parameters, types, methods, compression, CORS."""

import gzip
import re
from typing import Any

import httpx
import pytest
import zstandard
from fastapi import FastAPI

from api.parameters import OF_OTHERS
from core.runtime.postgres import Pool
from registry.tenants import create_api_key
from tests.api.conftest import client_of
from tests.api.document import DOCUMENT
from tests.api.test_every_route import BODIES, QUERIES, example_of

OPERATIONS = [(method, path) for path, methods in DOCUMENT["paths"].items() for method in methods]
MAP = "https://carte.ville.example"


async def test_unknown_query_parameter_is_rejected_by_every_route(client: httpx.AsyncClient) -> None:
    for method, path in OPERATIONS:
        body = None if method in {"get", "delete"} else BODIES.get((method, path), {})
        answer = await client.request(
            method, example_of(path), json=body, params=QUERIES.get(path, {}) | {"kidn": "x"}
        )

        is_rejected = answer.status_code == 422 and "query.kidn" in answer.text
        assert is_rejected is (path not in OF_OTHERS), (method, path, answer.text)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("severity=critical&comune=Brest", "query.comune : paramètre inconnu ; le plus proche est « commune »"),
        ("State=open", "le plus proche est « state »"),
        ("xyz=1", "connus : "),
        ("commune=Brest&commune=Quimper", "query.commune : paramètre donné plusieurs fois"),
    ],
)
async def test_misspelt_or_repeated_query_parameter_is_rejected_with_the_nearest_name(
    client: httpx.AsyncClient, query: str, said: str
) -> None:
    answer = await client.get(f"/v1/alerts?{query}")

    assert answer.status_code == 422
    assert said in answer.json()["detail"]
    assert answer.json()["errors"][0]["field"].startswith("query.")


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/v1/device-imports", {"devices": [], "dry_run": 0}, "body.dry_run"),
        ("/v1/api-keys", {"name": "a", "roles": ["read"], "expires_at": 0}, "body.expires_at"),
        ("/v1/api-keys", {"name": "a", "roles": ["read"], "expires_at": "0"}, "body.expires_at"),
        (
            "/v1/api-keys",
            {"name": "a", "roles": [], "requests_per_minute": "60"},
            "body.requests_per_minute",
        ),
        ("/v1/assets", {"kind": "bin", "name": "a", "latitude": "48.4", "longitude": -4}, "body.latitude"),
    ],
)
async def test_value_of_another_type_is_rejected_in_a_body(
    client: httpx.AsyncClient, path: str, body: dict[str, Any], field: str
) -> None:
    answer = await client.post(path, json=body)

    assert answer.status_code == 422
    assert field in {error["field"] for error in answer.json()["errors"]}


async def test_number_is_no_instant_in_a_query(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/audit?from=0")

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "query.from")


async def test_method_that_an_address_has_not_names_those_that_it_has(client: httpx.AsyncClient) -> None:
    methods: dict[str, set[str]] = {}
    for method, path in OPERATIONS:
        methods.setdefault(path, set()).add(method.upper())
    for path, known in methods.items():
        answer = await client.request("TRACE", example_of(path))

        expected = known | ({"HEAD"} if "GET" in known else set())
        # An address may be one of another route, too: `/v1/gateways/unknown` is a gateway's for PATCH.
        named = set(re.split(r", ", answer.headers["allow"]))
        assert answer.status_code == 405
        assert named >= expected, path
        assert named == expected or not path.endswith("}"), path


async def test_head_is_answered_like_get_without_a_body(client: httpx.AsyncClient, registry) -> None:
    asset = await registry.asset()
    for path in ("/v1/assets", f"/v1/assets/{asset['id']}", "/v1/assets/999999", "/docs"):
        got, head = await client.get(path), await client.head(path)

        assert (head.status_code, head.content) == (got.status_code, b"")
        for name in ("content-type", "content-length", "etag"):
            assert head.headers.get(name) == got.headers.get(name)
    assert (await client.head("/v1/device-imports")).status_code == 405


async def test_answers_to_reading_are_compressed_and_no_others(client: httpx.AsyncClient, app: FastAPI) -> None:
    plain = await client.get("/v1/quantities", headers={"Accept-Encoding": "identity"})
    for encoding, opened in (
        ("gzip", gzip.decompress),
        ("zstd", lambda octets: zstandard.ZstdDecompressor().decompressobj().decompress(octets)),
    ):
        async with client.stream("GET", "/v1/quantities", headers={"Accept-Encoding": encoding}) as answer:
            octets = b"".join([chunk async for chunk in answer.aiter_raw()])

        assert answer.headers["content-encoding"] == encoding
        assert "Accept-Encoding" in answer.headers["vary"]
        assert len(octets) < len(plain.content)
        assert opened(octets) == plain.content
    assert "content-encoding" not in plain.headers
    # What shows a secret, or carries the token of a session.
    everything = {"Accept-Encoding": "gzip, zstd"}
    long = {
        "name": "n" * 200,
        "roles": ["read"],
        "addresses": [f"192.0.2.{n}/32" for n in range(20)],
    }
    created = await client.post("/v1/api-keys", json=long, headers=everything)
    page = await client.get("/connexion", headers=everything | {"Accept": "text/html"})
    assert created.status_code == 201
    assert len(page.content) > 1000
    assert "content-encoding" not in created.headers
    assert "content-encoding" not in page.headers


async def test_page_of_another_origin_calls_with_the_key_that_names_it_alone(
    app: FastAPI, tenancy, other_tenancy, pool: Pool
) -> None:
    named = await create_api_key(pool, tenancy.id, "carte", ("read",), origins=[MAP])
    asked = {
        "Origin": MAP,
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "authorization",
    }
    async with client_of(app, None) as nobody:
        preflight = await nobody.options("/v1/assets", headers=asked)
        other = await nobody.options("/v1/assets", headers=asked | {"Origin": "https://autre.example"})
    async with client_of(app, named) as page, client_of(app, other_tenancy.key) as stranger:
        seen = await page.get("/v1/assets", headers={"Origin": MAP})
        wrong = await page.get("/v1/assets?kidn=1", headers={"Origin": MAP})
        elsewhere = await page.get("/v1/assets", headers={"Origin": "https://autre.example"})
        unnamed = await stranger.get("/v1/assets", headers={"Origin": MAP})
        own = await stranger.get("/v1/assets", headers={"Origin": "http://api"})

    assert preflight.status_code == 204
    assert preflight.headers["access-control-allow-origin"] == MAP
    assert "PATCH" in preflight.headers["access-control-allow-methods"]
    assert "Authorization" in preflight.headers["access-control-allow-headers"]
    assert "access-control-allow-credentials" not in preflight.headers
    assert other.status_code == 403
    assert "access-control-allow-origin" not in other.headers
    assert [answer.status_code for answer in (seen, wrong, elsewhere, unnamed, own)] == [200, 422, 403, 403, 200]
    assert seen.headers["access-control-allow-origin"] == wrong.headers["access-control-allow-origin"] == MAP
    assert "Origin" in seen.headers["vary"]
    assert "access-control-allow-origin" not in elsewhere.headers
    assert "access-control-allow-origin" not in own.headers


async def test_null_empties_a_field_and_an_absent_one_stays(client: httpx.AsyncClient, registry) -> None:
    asset = await registry.asset(
        street="rue de Brest", latitude=48.4, longitude=-4.2, external_reference="A-1", insee="29103", tags=["x"]
    )
    gateway = await registry.gateway(latitude=48.4, longitude=-4.2, max_eirp=14)
    profile = await registry.profile(capabilities=["switch"], rx1_delay=5, codec="watteco.triphaso")
    emptied = {"street": None, "latitude": None, "longitude": None, "external_reference": None, "tags": None}
    for path, given, expected in (
        (f"/v1/assets/{asset['id']}", emptied, emptied | {"street": "", "tags": [], "insee": "29103"}),
        (f"/v1/assets/{asset['id']}", {"insee": None}, {"insee": None, "name": asset["name"]}),
        (
            f"/v1/gateways/{gateway['gateway_id']}",
            {"latitude": None, "longitude": None},
            {"latitude": None, "longitude": None, "max_eirp": 14, "name": "Mairie"},
        ),
        (f"/v1/gateways/{gateway['gateway_id']}", {"max_eirp": None}, {"max_eirp": None, "boards": 1}),
        (
            f"/v1/device-profiles/{profile['id']}",
            {"rx1_delay": None, "capabilities": None},
            {"rx1_delay": None, "capabilities": [], "codec": "watteco.triphaso", "name": profile["name"]},
        ),
    ):
        answer = await client.patch(path, json=given)

        assert answer.status_code == 200, answer.text
        assert {name: answer.json()[name] for name in expected} == expected
        assert (await client.get(path)).json().items() >= expected.items()


async def test_field_that_may_not_be_empty_is_rejected_when_it_is_null_by_every_patch(
    client: httpx.AsyncClient, registry
) -> None:
    asset = await registry.asset(latitude=48.4, longitude=-4.2)
    alone = await client.patch(f"/v1/assets/{asset['id']}", json={"latitude": None})
    assert (alone.status_code, "se vident ensemble" in alone.text) == (422, True)
    schemas = DOCUMENT["components"]["schemas"]
    asked = 0
    for method, path in OPERATIONS:
        if method != "patch" or path.endswith("/station-order"):
            continue
        content = DOCUMENT["paths"][path]["patch"]["requestBody"]["content"]["application/json"]
        for name, field in schemas[content["schema"]["$ref"].rpartition("/")[2]]["properties"].items():
            if {"type": "null"} not in field.get("anyOf", ()):
                answer = await client.patch(example_of(path), json={name: None})

                asked += 1
                assert answer.status_code == 422, (path, name)
                assert f"body.{name}" in {error["field"] for error in answer.json()["errors"]}
    assert asked > 30
