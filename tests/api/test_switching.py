"""What goes to a device that switches takes `operate` or `lighting` and a reason, whichever route it goes by."""

import inspect
import re
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import httpx
import pytest

from api.app import ROUTERS
from core.runtime.postgres import Pool
from tests.api.conftest import Registry
from tests.api.test_every_route import BODIES, OPERATIONS, QUERIES

MAY_NOT = ("read", "field", "manage", "open_data")
# All that leads to a frame of ours for a device, in either table.
WAITING = """
SELECT 'downlink', encode(payload, 'hex') FROM downlink
UNION ALL SELECT 'multicast', encode(payload, 'hex') FROM multicast_message
UNION ALL SELECT 'lighting', action FROM lighting_command
"""
SENDING = {
    ("post", "/v1/devices/{dev_eui}/downlinks"): {"f_port": 125, "payload": "1150000601"},
    ("post", "/v1/devices/{dev_eui}/commands/{name}"): {"preview": False},
    ("post", "/v1/multicast-groups/{id}/messages"): {"f_port": 125, "payload": "1150000601"},
}
Opened = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]


@pytest.fixture
async def path_of(client: httpx.AsyncClient, registry: Registry) -> Callable[[str], str]:
    """The path of each route for one plug: its device, the asset that it serves, the group that it is in."""
    asset = await registry.asset(kind="plug")
    device = await registry.device(await registry.cabinet_profile(), asset_id=asset["id"])
    group = await client.post(
        "/v1/multicast-groups",
        json={"name": "rue", "dev_addr": "00c0ffee", "nwk_s_key": "00" * 16, "app_s_key": "11" * 16},
    )
    members = f"/v1/multicast-groups/{group.json()['id']}/devices"
    assert (await client.put(members, json={"dev_euis": [device["dev_eui"]]})).status_code == 200

    def path(template: str) -> str:
        one = str(group.json()["id"]) if template.startswith("/v1/multicast") else str(asset["id"])
        filled = template.replace("{dev_eui}", device["dev_eui"]).replace("{name}", "switch_on")
        return re.sub(r"\{\w+\}", one, filled)

    return path


async def test_no_route_sends_to_a_device_that_switches_without_the_right(
    client_with: Opened, path_of: Callable[[str], str], pool: Pool
) -> None:
    """By a key that may all the rest: whatever is asked of whatever route, nothing waits to be sent."""
    asked = 0
    async with client_with(*MAY_NOT) as manager:
        for method, template in sorted(OPERATIONS):
            if method in {"get", "delete"}:  # A device that is removed switches nothing.
                continue
            body: dict[str, Any] = SENDING.get((method, template), BODIES.get((method, template), {}))
            answer = await manager.request(
                method, path_of(template), json=body | {"reason": "essai"}, params=QUERIES.get(template, {})
            )
            if (method, template) in SENDING:
                assert (answer.status_code, "lighting" in answer.text) == (403, True), template
                asked += 1

    assert asked == len(SENDING)
    assert await pool.fetch(WAITING) == []


async def test_every_route_that_sends_asks_for_a_reason_of_who_has_either_right(
    client: httpx.AsyncClient, client_with: Opened, path_of: Callable[[str], str], pool: Pool
) -> None:
    silent: set[tuple[str, str]] = set()
    for (method, template), body in SENDING.items():
        for right in ("lighting", "operate"):
            async with client_with("read", "manage", right) as allowed:
                for reason in ({}, {"reason": "  "}):
                    without = await allowed.request(method, path_of(template), json=body | reason)
                    assert without.status_code == 422, without.text
                    assert without.json()["errors"][0]["field"] == "body.reason"
                sent = await allowed.request(method, path_of(template), json=body | {"reason": "essai"})
                if sent.status_code != 201:
                    silent.add((template, sent.text))

    assert silent == set()
    reasons = await pool.fetch(
        "SELECT details -> 'after' ->> 'reason' FROM audit WHERE entity IN ('downlink', 'multicast_message')"
    )
    assert [row[0] for row in reasons] == ["essai"] * 6


def test_the_routes_that_send_are_these() -> None:
    """A new one is found by what it calls, and has its line above."""
    queues = re.compile(r"\b(enqueue|enqueue_multicast|queue_downlink|_send)\(")
    sending = {
        (next(iter(route.methods)).lower(), route.path)
        for router in ROUTERS
        for route in router.routes
        if queues.search(inspect.getsource(route.endpoint))
    }

    assert sending == SENDING.keys()
