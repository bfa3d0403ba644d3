import re

import pytest
from prometheus_client import generate_latest

from api.fields import Body
from api.reference import TITLES_OF_TAGS
from tests.api.document import DOCUMENT
from tests.each import each

OPERATIONS = [(method, path) for path, methods in DOCUMENT["paths"].items() for method in methods]
WITH_A_BODY = [(method, path) for method, path in OPERATIONS if "requestBody" in DOCUMENT["paths"][path][method]]


async def test_the_reference_page_is_served_whole_by_us(client) -> None:
    page = await client.get("/docs")
    addresses = re.findall(r'(?:src|href)="([^"]+)"', page.text)

    assets = [await client.get(address) for address in addresses]

    assert addresses
    assert all(address.startswith("/") for address in addresses)
    assert [asset.status_code for asset in assets] == [200] * len(addresses)
    assert "script-src 'self';" in page.headers["content-security-policy"]
    assert "<script>" not in page.text


async def test_the_openapi_document_has_examples(client) -> None:
    answer, head = await client.get("/openapi.json"), await client.head("/openapi.json")
    document = answer.json()

    assert (head.status_code, head.content) == (answer.status_code, b"")
    for name in ("content-type", "content-length", "etag"):
        assert head.headers.get(name) == answer.headers.get(name)
    assert document["openapi"].startswith("3.")
    errors = document["paths"]["/v1/devices"]["post"]["responses"]["422"]["content"]
    assert list(errors) == ["application/problem+json"]
    assert document["components"]["schemas"]["NewDevice"]["properties"]["dev_eui"]["examples"]


def bodies(of: type[Body] = Body) -> list[type[Body]]:
    """Those that are sent, which is not one that others share."""
    return [leaf for body in of.__subclasses__() for leaf in (bodies(body) or [body])]


@each(bodies())
def test_every_body_has_an_example_that_may_be_sent(body: type[Body]) -> None:
    examples = DOCUMENT["components"]["schemas"][body.__name__]["examples"]

    assert [body.model_validate(example).model_fields_set for example in examples]


@each(OPERATIONS)
def test_every_operation_is_named_by_us(method: str, path: str) -> None:
    operation = DOCUMENT["paths"][path][method]
    described = [parameter.get("description") for parameter in operation.get("parameters", [])]

    assert re.fullmatch("[a-z]+([A-Z][a-z]+)+", operation["operationId"])
    # FastAPI's own summary is the function's name.
    assert operation["summary"] != operation["summary"].title() or " " not in operation["summary"]
    assert {tag for tag in operation["tags"] if tag in TITLES_OF_TAGS} == set(operation["tags"])
    assert operation["description"]
    assert all(described)
    assert "Successful Response" not in [answer["description"] for answer in operation["responses"].values()]


@pytest.mark.parametrize("name", ["summary", "operationId"])
def test_no_two_operations_have_the_same_name(name: str) -> None:
    names = [DOCUMENT["paths"][path][method][name] for method, path in OPERATIONS]

    assert len(set(names)) == len(names)


def test_every_model_has_one_name_and_every_tag_a_french_title() -> None:
    # FastAPI puts the module before the name of a model where two have the same.
    assert [name for name in DOCUMENT["components"]["schemas"] if "__" in name or not name.isascii()] == []
    assert [tag for tag in DOCUMENT["tags"] if not tag["name"].isascii() or not tag["x-displayName"]] == []
    assert DOCUMENT["servers"]


@each(WITH_A_BODY)
def test_every_operation_with_a_body_has_an_example(method: str, path: str) -> None:
    content = DOCUMENT["paths"][path][method]["requestBody"]["content"]["application/json"]

    body = DOCUMENT["components"]["schemas"][content["schema"]["$ref"].rpartition("/")[2]]

    assert body["examples"]


async def test_requests_are_measured_by_route_and_not_by_object(client, registry) -> None:
    asset = await registry.asset()
    await client.get(f"/v1/assets/{asset['id']}")
    await client.get("/v1/nowhere/at/all")

    metrics = generate_latest().decode()

    labels = 'territoire_api_http_request_duration_seconds_count{method="GET",route="%s",status="%s"}'
    assert labels % ("/v1/assets/{id}", 200) in metrics
    assert labels % ("unmatched", 404) in metrics
    assert "nowhere" not in metrics


async def test_answers_are_not_kept_and_not_framed(client) -> None:
    answer = await client.get("/v1/assets")

    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"] == "default-src 'none'"


def test_no_schema_shows_how_a_secret_is_stored() -> None:
    """An answer shows the fields of its row: one that holds a secret must be another class."""
    names = {
        name for schema in DOCUMENT["components"]["schemas"].values() for name in schema.get("properties", {})
    }

    assert "last_seen_at" in names  # Of a row.
    assert {name for name in names if re.search(r"wrapped|kek|token_sha|secret_sha", name)} == set()
