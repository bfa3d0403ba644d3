"""Odd requests to any route are answered, and never with a 500."""

import json
import random
from typing import Any

import httpx

from tests.api.document import DOCUMENT

REQUESTS = 600
SCHEMAS = DOCUMENT["components"]["schemas"]
OPERATIONS = [
    (method, path, operation)
    for path, operations in DOCUMENT["paths"].items()
    for method, operation in operations.items()
]
ODD: tuple[Any, ...] = (
    *(None, True, 0, -1, 1, 2**31 - 1, 2**31, 2**63, 2**70, 1.5, 1e308),
    *("", "a", "0" * 16, "ab" * 8, "ff" * 16, "\u0000", "\ud800", "é" * 300, "1", "on", "off", "hour", "day"),
    *("2026-01-01T00:00:00Z", "9999-12-31T23:59:59-12:00", 253402300799, "UTC", "Etc/GMT+3", "Foo/Bar"),
    *([], [1], ["switch"], ["read"], {}, {"a": {"b": []}}, "OTAA", "ABP", "A", "milesight.em400"),
)
ODD_IDS = ("1", "2", "0", "x", "-1", str(2**31), str(2**63), "%00", "é")


def odd_body(source: random.Random, operation: dict[str, Any]) -> bytes | None:
    if "requestBody" not in operation:
        return None
    schema = SCHEMAS[operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].split("/")[-1]]
    body: dict[str, Any] = {}
    for name, described in schema["properties"].items():
        examples = described.get("examples", [])
        if source.random() < 0.85:
            body[name] = examples[0] if examples and source.random() < 0.7 else source.choice(ODD)
    return json.dumps(body).encode()


def odd_query(source: random.Random, operation: dict[str, Any]) -> list[tuple[str, str]]:
    names = [parameter["name"] for parameter in operation.get("parameters", []) if parameter["in"] == "query"]
    values = [(name, source.choice(ODD)) for name in names if source.random() < 0.6]
    return [(name, json.dumps(value).strip('"')) for name, value in values]


async def test_no_request_is_a_fault_of_ours(client: httpx.AsyncClient, registry) -> None:
    device, gateway = await registry.device(), await registry.gateway()
    source = random.Random(20261125)
    statuses: set[int] = set()
    for _ in range(REQUESTS):
        method, template, operation = source.choice(OPERATIONS)
        path = template.replace("{dev_eui}", device["dev_eui"]).replace("{gateway_id}", gateway["gateway_id"])
        path = path.replace("{id}", source.choice(ODD_IDS))
        answer = await client.request(
            method,
            path,
            params=odd_query(source, operation),
            content=odd_body(source, operation),
            headers={"Content-Type": "application/json"},
        )

        statuses.add(answer.status_code)
        assert answer.status_code < 500, (method, path, answer.request.content, answer.text)
        assert str(answer.status_code) in operation["responses"], (method, path, answer.status_code)
        if answer.status_code >= 400:
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["title"]
            assert " should " not in answer.text, answer.text  # What pydantic says in English.

    assert {200, 404, 422} <= statuses
    assert statuses & {201, 202}
