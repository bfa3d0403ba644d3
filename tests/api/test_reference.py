import re

import pytest

from api.fields import Body


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
    document = (await client.get("/openapi.json")).json()

    assert document["openapi"].startswith("3.")
    errors = document["paths"]["/v1/devices"]["post"]["responses"]["422"]["content"]
    assert list(errors) == ["application/problem+json"]
    assert document["components"]["schemas"]["NewDevice"]["properties"]["dev_eui"]["examples"]


@pytest.mark.parametrize("body", Body.__subclasses__(), ids=lambda body: body.__name__)
async def test_every_body_has_an_example_that_may_be_sent(client, body: type[Body]) -> None:
    document = (await client.get("/openapi.json")).json()
    examples = document["components"]["schemas"][body.__name__]["examples"]

    assert [body.model_validate(example).model_fields_set for example in examples]


async def test_requests_are_measured_by_route_and_not_by_object(client, registry) -> None:
    asset = await registry.asset()
    await client.get(f"/v1/assets/{asset['id']}")
    await client.get("/v1/nowhere/at/all")

    metrics = (await client.get("/metrics")).text

    labels = 'territoire_api_request_duration_seconds_count{method="GET",route="%s",status="%s"}'
    assert labels % ("/v1/assets/{id}", 200) in metrics
    assert labels % ("unmatched", 404) in metrics
    assert "nowhere" not in metrics


async def test_answers_are_not_kept_and_not_framed(client) -> None:
    answer = await client.get("/v1/assets")

    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"] == "default-src 'none'"
