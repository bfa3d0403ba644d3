"""What `bench scaling` puts on a stack besides the load: an LNS, a rule, a receiver, cabinets, a user of the API.

Each message of that LNS is of a device of its own, whose value alarms: a row, an alert and a webhook for each.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from alerting.proof import accept
from alerting.rule_store import insert_rules
from alerting.rules.model import Rule
from alerting.store import create_endpoint
from core.runtime.postgres import Pool
from lab.device.payloads import milesight
from lab.fleet.benchmark import TRIPHASO, plan_benchmark
from lab.fleet.bulk import provision_in_bulk
from lab.fleet.pilot import AM103
from lab.fleet.plan import DevicePlan, FleetPlan
from lab.fleet.provision import Provisioner
from lab.fleet.tenancy import ALL_ROLES, LOOPBACK
from lab.load.load import Load
from lab.simulator.receiver import Received, receive_webhooks
from lab.users.callers import Caller
from registry.keys import KeyWrap
from registry.tenants import create_api_key, create_tenant
from services.supervisor.run_info import RunInfo

PUSH_EVERY_S, API_EVERY_S, COMMAND_EVERY_S = 0.4, 0.1, 1.0
# More devices than messages: each sends once.
FOREIGN_DEVICES = 900
PORT = 85
CO2_PPM, ALARMING_PPM = 4_000, 3_500.0
OFF_FOR = timedelta(minutes=30)
MAKE_CABINETS = """
UPDATE device_profile SET capabilities = '{switch}' WHERE tenant_id = $1 AND name = $2 RETURNING id
"""
READ_CABINETS = """
SELECT a.asset_id FROM assignment a JOIN device d ON d.id = a.device_id
WHERE d.tenant_id = $1 AND d.device_profile_id = $2 ORDER BY a.asset_id
"""
READ_OUTCOME = """
SELECT (SELECT count(*) FROM observation.uplink u JOIN device d ON d.id = u.device_id WHERE d.tenant_id = $1)
           AS stored,
       (SELECT count(DISTINCT u.device_id) FROM observation.uplink u JOIN device d ON d.id = u.device_id
        WHERE d.tenant_id = $1) AS heard,
       (SELECT count(*) FROM alert WHERE tenant_id = $1) AS alerts,
       (SELECT count(DISTINCT asset_id) FROM alert WHERE tenant_id = $1) AS alarmed
"""
READ_COMMANDS = """
SELECT count(*) AS asked, count(*) FILTER (WHERE sent_at IS NOT NULL) AS sent,
       count(*) FILTER (WHERE sent_at IS NULL AND state = 'queued' AND created_at < now() - interval '30 seconds')
           AS forgotten
FROM lighting_command WHERE tenant_id = $1
"""


@dataclass(slots=True)
class Scenario:
    """Who asks, and what the receiver of webhooks has received."""

    tenant_id: int
    load_tenant_id: int
    pushing: Caller
    reading: Caller
    commanding: Caller
    received: Received

    @property
    def callers(self) -> tuple[Caller, ...]:
        """All three."""
        return self.pushing, self.reading, self.commanding

    async def outcome(self, pool: Pool) -> dict[str, Any]:
        """Messages taken against rows, alerts and webhooks."""
        stored = await pool.fetchrow(READ_OUTCOME, self.tenant_id)
        assert stored is not None
        notified = [body["data"]["asset"]["id"] for body in self.received.bodies]
        return {
            "taken": self.pushing.asked - self.pushing.failed,
            **dict(stored),
            "webhook_ids": len(self.received.ids),
            "assets_notified": len(set(notified)),
            "deliveries": sum(self.received.ids.values()),
            "forged": self.received.forged,
        }

    async def commands(self, pool: Pool) -> dict[str, int]:
        """Commands asked for, sent, and forgotten: not sent though their cabinet has spoken meanwhile."""
        found = await pool.fetchrow(READ_COMMANDS, self.load_tenant_id)
        assert found is not None
        return dict(found)

    async def until_notified(self, pool: Pool, most_s: float) -> None:
        """Return when everything that was taken has been notified, or after this time."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + most_s
        while loop.time() < ends:
            found = await self.outcome(pool)
            if found["webhook_ids"] >= found["taken"]:
                return
            await asyncio.sleep(0.5)


def _fleet(name: str, devices: int) -> FleetPlan:
    """Devices of another network, so without gateways of ours."""
    plan = plan_benchmark(name, devices, 0)
    return replace(plan, devices=[replace(one, profile=AM103, asset_kind="room") for one in plan.devices])


def _push(plans: Sequence[DevicePlan], path: str, token: str, payload: str) -> Caller:
    made: dict[int, dict[str, Any]] = {}

    async def ask(client: httpx.AsyncClient, url: str, number: int) -> httpx.Response:
        # What is pushed again is what was pushed before.
        message = made.get(number) or {
            "device": plans[number % len(plans)].dev_eui.hex(),
            "id": f"m-{number}",
            "time": datetime.now(UTC).isoformat(),
            "port": PORT,
            "payload": payload,
        }
        made.clear()
        made[number] = message
        return await client.post(f"{url}{path}", json=message, headers={"Authorization": f"Bearer {token}"})

    return Caller((), ask, PUSH_EVERY_S)


def _read(api_key: str) -> Caller:
    async def ask(client: httpx.AsyncClient, url: str, _number: int) -> httpx.Response:
        return await client.get(f"{url}/v1/assets?limit=5", headers={"Authorization": f"Bearer {api_key}"})

    return Caller((), ask, API_EVERY_S)


def _command(assets: list[int], api_key: str) -> Caller:
    async def ask(client: httpx.AsyncClient, url: str, number: int) -> httpx.Response:
        body = {
            "asset_id": assets[number % len(assets)],
            "action": "off",
            "off_until": (datetime.now(UTC) + OFF_FOR).isoformat(),
        }
        headers = {"Authorization": f"Bearer {api_key}"}
        return await client.post(f"{url}/v1/lighting/commands", json=body, headers=headers)

    return Caller((), ask, COMMAND_EVERY_S)


@asynccontextmanager
async def open_scenario(
    run: RunInfo, pool: Pool, load: Load, name: str = "autre-lns", devices: int = FOREIGN_DEVICES
) -> AsyncGenerator[Scenario]:
    """Everything is registered, the tenant of the LNS under this name; nobody asks yet."""
    keys = KeyWrap(run.kek_id, bytes.fromhex(run.kek))
    fleet, received = _fleet(name, devices), Received()
    tenant = await create_tenant(pool, name, name.capitalize(), LOOPBACK)
    api_key = await create_api_key(pool, tenant.id, "banc", ALL_ROLES)
    await provision_in_bulk(run, tenant.id, api_key, fleet)
    async with AsyncExitStack() as stack:
        receiver = await stack.enter_async_context(receive_webhooks(received))
        await insert_rules(
            pool, tenant.id,
            [Rule(0, tenant.id, "banc", "threshold", "co2", "warning", "{asset} : {value}", fire_op=">=",
                  fire_value=ALARMING_PPM, clear_op="<", clear_value=ALARMING_PPM - 500)],
        )  # fmt: skip
        endpoint, received.secret = await create_endpoint(pool, keys, tenant.id, receiver)
        await accept(pool, endpoint.id)
        api = Provisioner(run.api_url, api_key)
        stack.push_async_callback(api.close)
        source = await api.post("/v1/lns-sources", {"kind": "generic", "name": "banc"})
        profile_id = await pool.fetchval(MAKE_CABINETS, load.tenant.id, TRIPHASO.name)
        cabinets = [row["asset_id"] for row in await pool.fetch(READ_CABINETS, load.tenant.id, profile_id)]
        payload = milesight.am103(battery=90, temperature=20.0, humidity=45.0, co2=CO2_PPM).hex()
        pushing = _push(fleet.devices, source["path"], source["token"], payload)
        reading, commanding = _read(load.api_key), _command(cabinets, load.api_key)
        apis = [f"http://{run.udp_host}:{one.ports['api']}" for one in run.replicas("api")]
        pushing.urls = [f"http://{run.udp_host}:{one.ports['intake']}" for one in run.replicas("intake")]
        reading.urls = commanding.urls = apis
        yield Scenario(tenant.id, load.tenant.id, pushing, reading, commanding, received)
