"""Tenants beside each other: a share of `bench isolation`, and what two of them register under the same names."""

import json
import random
import re
from collections.abc import Callable, Mapping
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from core.model.ownership import REGISTERED_ELSEWHERE
from core.runtime.postgres import Pool
from lab.bench import isolation
from lab.bench.isolation_requests import NAMED_BY
from lab.bench.isolation_world import Planted, plant
from tests.api.document import DOCUMENT

REQUESTS = 100
# What they make is unique in no way that another tenant could meet, or makes nothing by itself.
MEETS_NOBODY = {
    "/v1/account/totp",
    "/v1/alerts/{id}/comments",
    "/v1/assets/{id}/consents",
    "/v1/assets/{id}/photos",
    "/v1/assets/{id}/transfer",
    "/v1/datastreams/{id}/consents",
    "/v1/datastreams/{id}/manual-readings",
    "/v1/datastreams/{id}/meter-changes",
    "/v1/device-profiles/{id}/mapping",
    "/v1/devices/{dev_eui}/downlinks",
    "/v1/energy-baselines",  # Of a building of one's own (tests/api/routes/test_energy_baselines.py).
    "/v1/cost-entries",
    "/v1/cost-statements",
    "/v1/eui-claims",
    "/v1/export-schedules",  # Likewise (tests/api/routes/test_export_schedules.py).
    "/v1/export-schedules/{id}/drops",
    "/v1/exports",  # Of who asks, whatever of theirs it names (tests/api/routes/test_exports.py).
    "/v1/imports",
    "/v1/kits",
    "/v1/kits/{id}/commissionings",  # By its DevEUIs (tests/api/routes/test_kits.py).
    "/v1/kits/{id}/versions",
    "/v1/lighting-campaigns",
    "/v1/lighting/shadows/{id}/program",
    "/v1/gateways/unknown/{gateway_id}/claim",  # Of what nobody has registered.
    "/v1/gateways/{gateway_id}/mqtt-accounts",
    "/v1/grants",
    "/v1/invitations",
    "/v1/invitations/accept",
    "/v1/mqtt-accesses",  # Topics of one's own (tests/api/routes/test_mqtt_accesses.py).
    "/v1/mqtt-accesses/{id}/rotations",
    "/v1/mqtt-accounts",
    "/v1/mqtt-accounts/{account_id}/rotations",
    "/v1/measurement-webhooks",  # To an address of one's own (tests/api/routes/test_measurement_webhooks.py).
    "/v1/measurement-webhooks/{id}/restart",
    "/v1/measurement-webhooks/{id}/stop",
    "/v1/multicast-groups/{id}/messages",
    "/v1/people/{id}/password-reset",
    "/v1/publications",  # An address that is taken is everybody's to see.
    "/v1/photo-uploads",
    "/v1/report-recipients",  # A team of one's own (tests/api/routes/test_reports.py).
    "/v1/reports",  # Made of what one sees oneself.
    "/v1/rounds",  # Of bins that one sees (tests/api/routes/test_rounds.py).
    "/v1/rounds/{id}/stops/{asset_id}/outcome",
    "/v1/sessions",
    "/v1/station-updates",
    "/v1/tenants",
    "/v1/weighings",  # Tickets are unique within a tenant (tests/api/routes/test_waste_tonnage.py).
    "/v1/work-orders",
    "/v1/work-orders/{id}/comments",
    "/v1/work-orders/{id}/photos",
}
NewClient = Callable[[Mapping[str, str]], httpx.AsyncClient]


@pytest.fixture
def asked() -> list[httpx.Request]:
    """Every request that a client of `new_client` made."""
    return []


@pytest.fixture
def new_client(app: FastAPI, asked: list[httpx.Request]) -> NewClient:
    async def record_request(request: httpx.Request) -> None:
        asked.append(request)

    def opened(headers: Mapping[str, str]) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        hooks = {"request": [record_request]}
        return httpx.AsyncClient(transport=transport, base_url="https://api", headers=headers, event_hooks=hooks)

    return opened


async def test_random_requests_that_name_what_is_anothers_are_answered_as_for_what_nobody_has(
    new_client: NewClient, pool: Pool
) -> None:
    field = await isolation.set_up(new_client, pool)
    before = await isolation.rows_of_all(pool, field.victims)
    found = await isolation.attack(new_client, pool, field, DOCUMENT, REQUESTS, random.Random(20261127))

    assert found.leaks == []
    assert found.faults == []
    assert await isolation.rows_of_all(pool, field.victims) == before
    assert found.naming > REQUESTS / 3
    assert {200, 404} <= found.statuses.keys()
    assert found.seen


async def test_what_another_tenant_has_registered_is_told_by_one_sentence_alone(
    new_client: NewClient, asked: list[httpx.Request], pool: Pool
) -> None:
    """The second one asks for all that the first has, under its names, over every route that makes something."""
    first = await plant(new_client, pool, "cible")
    made = [
        request
        for request in asked
        if request.method in {"POST", "PUT"} and not request.url.path.endswith(("/transfer", "/commissionings"))
    ]
    second = await plant(new_client, pool, "attaque")
    key = asked[-1].headers["Authorization"]
    # One public key is the same for all; it has it already, as its own.
    await pool.execute("DELETE FROM key_recipient WHERE tenant_id = $1", second.tenant_id)
    rejected: dict[str, tuple[int, str]] = {}
    async with new_client({"Authorization": key}) as client:
        for request in made:
            path = request.url.path
            body = own_for_theirs("", json.loads(request.content), first, second)
            if request.method == "POST" and path == "/v1/devices":
                body["dev_eui"] = first.ids["devices"][0]
            if path == "/v1/gateways":
                body["gateway_id"] = first.ids["gateways"][0]
            answer = await client.request(request.method, theirs_for_ours(path, first, second), json=body)
            if not answer.is_success:
                rejected[path] = (answer.status_code, answer.json()["detail"])

    assert rejected == dict.fromkeys(("/v1/devices", "/v1/gateways"), (409, REGISTERED_ELSEWHERE))
    makes = {
        path
        for path, methods in DOCUMENT["paths"].items()
        if "201" in methods.get("post", {"responses": ()})["responses"]
    }
    asked_for = {request.url.path for request in made}
    unasked = {
        path
        for path in makes
        if not any(re.fullmatch(re.sub(r"\{\w+\}", r"[^/]+", path), one) for one in asked_for)
    }
    assert unasked - MEETS_NOBODY == set()


def theirs_for_ours(path: str, first: Planted, second: Planted) -> str:
    for segment, ids in first.ids.items():
        path = re.sub(rf"/{segment}/{ids[0]}(?=/|$)", f"/{segment}/{second.ids[segment][0]}", path)
    return path


def own_for_theirs(name: str, value: Any, first: Planted, second: Planted) -> Any:
    if isinstance(value, dict):
        return {one: own_for_theirs(one, held, first, second) for one, held in value.items()}
    if isinstance(value, list):
        return [own_for_theirs(name, one, first, second) for one in value]
    for segment in NAMED_BY.get(name, ()):
        if str(value) in first.ids.get(segment, ()):
            return type(value)(second.ids[segment][0])
    return value
