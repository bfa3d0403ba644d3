"""The API over real PostgreSQL and nats-server, reached through ASGI; one tenant with keys, another beside it."""

import secrets
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from fastapi import FastAPI

from alerting.defaults import create_default_rules
from api.app import create_app
from api.cookies import COOKIE, CSRF_HEADER, csrf_token
from api.dependencies import Access
from core.runtime.bus import Bus, connect_bus
from core.runtime.postgres import Pool
from registry.datastreams import make_datastream
from registry.keys import KeyWrap
from registry.people import enter_person
from registry.sessions import open_session
from registry.tenants import create_api_key, create_tenant

ALL_ROLES = ("read", "manage", "lighting", "lighting_approve", "operate")
KEK = bytes(range(16))


@dataclass(frozen=True, slots=True)
class Tenancy:
    id: int
    slug: str
    key: str


async def make_tenancy(pool: Pool, slug: str, roles: tuple[str, ...] = ALL_ROLES) -> Tenancy:
    tenant = await create_tenant(pool, slug, slug.upper())
    await create_default_rules(pool, tenant.id)
    return Tenancy(tenant.id, slug, await create_api_key(pool, tenant.id, f"clé de {slug}", roles))


@pytest.fixture
async def bus(nats_url: str) -> AsyncGenerator[Bus]:
    async with connect_bus(nats_url, "territoire-tests") as connected:
        yield connected


@pytest.fixture
def app(api_pool: Pool, bus: Bus) -> FastAPI:
    access = Access(mqtt_url="mqtts://mqtt.example.fr:8883")
    app = create_app(api_pool, bus, KeyWrap("kek-1", KEK), 4, access=access)
    # A stream never ends, and this client waits for the end of every answer: it is told that there are too many.
    app.state.changes.close()
    return app


@pytest.fixture
async def tenancy(pool: Pool) -> Tenancy:
    return await make_tenancy(pool, "sdef")


@pytest.fixture
async def other_tenancy(pool: Pool) -> Tenancy:
    return await make_tenancy(pool, "autre")


def client_of(app: FastAPI, key: str | None) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app, raise_app_exceptions=False),
        base_url="http://api",
        headers={} if key is None else {"Authorization": f"Bearer {key}"},
    )


async def person_client(app: FastAPI, pool: Pool, tenant_id: int, role: str) -> httpx.AsyncClient:
    """With the session of a new person of this role, who has just given the password."""
    async with pool.acquire() as connection:
        name = secrets.token_hex(4)
        person_id = await enter_person(connection, tenant_id, f"{name}@ville.example", name, "", role)
    assert person_id is not None
    token = await open_session(app.state.platform.pool, person_id, tenant_id, "192.0.2.1", "password")
    assert token is not None
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app, raise_app_exceptions=False),
        base_url="https://api",
        headers={"Cookie": f"{COOKIE}={token}", CSRF_HEADER: csrf_token(token)},
    )


@pytest.fixture
async def client(app: FastAPI, tenancy: Tenancy) -> AsyncGenerator[httpx.AsyncClient]:
    """With a key that has every role."""
    async with client_of(app, tenancy.key) as opened:
        yield opened


@pytest.fixture
async def other_client(app: FastAPI, other_tenancy: Tenancy) -> AsyncGenerator[httpx.AsyncClient]:
    """Another tenant's, with every role."""
    async with client_of(app, other_tenancy.key) as opened:
        yield opened


class Registry:
    """Puts things into a tenant's registry over the API; each call makes a new one."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = await self._client.post(path, json=body)
        assert answer.status_code == 201, answer.text
        return answer.json()

    async def profile(self, **fields: Any) -> dict[str, Any]:
        body = {"name": f"profil {secrets.token_hex(4)}", "vendor": "Milesight", "model": "EM400-UDL"}
        return await self._post("/v1/device-profiles", body | {"codec": "milesight.em400"} | fields)

    async def cabinet_profile(self) -> dict[str, Any]:
        return await self.profile(codec="watteco.triphaso", device_class="C", capabilities=["switch"])

    async def asset(self, **fields: Any) -> dict[str, Any]:
        body = {"kind": "glass_container", "name": f"actif {secrets.token_hex(4)}", "commune": "Landerneau"}
        return await self._post("/v1/assets", body | fields)

    async def gateway(self, **fields: Any) -> dict[str, Any]:
        return await self._post("/v1/gateways", {"gateway_id": secrets.token_hex(8), "name": "Mairie"} | fields)

    async def device(self, profile: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
        profile = await self.profile() if profile is None else profile
        body = {
            "dev_eui": secrets.token_hex(8),
            "join_eui": "70b3d57ed0001000",
            "name": "capteur",
            "device_profile_id": profile["id"],
            "app_key": secrets.token_hex(16),
        }
        return await self._post("/v1/devices", body | fields)

    async def cabinet(self, **fields: Any) -> dict[str, Any]:
        """An asset that a switching device serves."""
        asset = await self.asset(kind="lighting_cabinet", **fields)
        await self.device(await self.cabinet_profile(), asset_id=asset["id"])
        return asset


@pytest.fixture
def registry(client: httpx.AsyncClient) -> Registry:
    return Registry(client)


@pytest.fixture
def other_registry(other_client: httpx.AsyncClient) -> Registry:
    return Registry(other_client)


class Observations:
    """Writes what ingest and alerting would have written, as the role of the services."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def device_id(self, dev_eui: str) -> int:
        return await self._pool.fetchval("SELECT id FROM device WHERE dev_eui = $1", bytes.fromhex(dev_eui))

    async def datastream(self, dev_eui: str, asset_id: int | None, quantity: str, unit: str) -> int:
        device = await self._pool.fetchrow(
            "SELECT id, tenant_id FROM device WHERE dev_eui = $1", bytes.fromhex(dev_eui)
        )
        made = await make_datastream(
            self._pool,
            tenant_id=device["tenant_id"],
            asset_id=asset_id,
            device_id=device["id"],
            position="",
            channel="",
            quantity=quantity,
            unit=unit,
        )
        return made.id

    async def readings(self, datastream_id: int, readings: dict[datetime, float], flags: int = 0) -> None:
        rows = [(datastream_id, time, float(value), flags) for time, value in readings.items()]
        await self._pool.executemany("INSERT INTO observation.measurement VALUES ($1, $2, $3, $4)", rows)
        instants = {instant for at in readings for instant in (at, at - timedelta(microseconds=1))}
        hours = {at.astimezone(UTC).replace(minute=0, second=0, microsecond=0) for at in instants}
        await self._pool.executemany(
            "INSERT INTO observation.dirty VALUES ($1, $2)", [(hour, [datastream_id]) for hour in hours]
        )
        await self._pool.execute(
            "INSERT INTO observation.latest VALUES ($1, $2, $3, $4) ON CONFLICT (datastream_id) DO UPDATE "
            "SET time = excluded.time, value = excluded.value WHERE latest.time < excluded.time",
            *max(rows, key=lambda row: row[1]),
        )

    async def uplink(
        self, dev_eui: str, time: datetime, *, status: str = "decoded", gateways: list[str] | None = None
    ) -> UUID:
        device_id, uplink_id = await self.device_id(dev_eui), uuid4()
        await self._pool.execute(
            "INSERT INTO observation.uplink (device_id, time, uplink_id, f_cnt, f_port, payload, received_at, "
            "status, reason, decoded) VALUES ($1, $2, $3, 7, 85, '\\x0175', $2, $4, $5, '{\"a\": 1}')",
            device_id,
            time,
            uplink_id,
            status,
            "canal inconnu" if status == "undecodable" else None,
        )
        for place, gateway_id in enumerate(gateways or []):
            await self._pool.execute(
                "INSERT INTO observation.reception SELECT $1, $2, $3, g.id, 0, $4, 5 FROM gateway g "
                "WHERE g.gateway_id = $5",
                device_id,
                time,
                uplink_id,
                -80.0 - place,
                bytes.fromhex(gateway_id),
            )
        return uplink_id

    async def alert(self, tenant_id: int, asset_id: int, rule: str = "bin_75") -> int:
        return await self._pool.fetchval(
            "INSERT INTO alert (tenant_id, rule_id, asset_id, severity, message, condition, opened_at, value) "
            "SELECT $1, r.id, $2, 'warning', 'plein', 'firing', now(), 80 FROM alert_rule r "
            "WHERE r.tenant_id = $1 AND r.name = $3 RETURNING id",
            tenant_id,
            asset_id,
            rule,
        )


@pytest.fixture
def observations(pool: Pool) -> Observations:
    return Observations(pool)


@pytest.fixture
def client_with(
    app: FastAPI, pool: Pool, tenancy: Tenancy
) -> Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]:
    """A client of the same tenant whose key has these roles only."""

    @asynccontextmanager
    async def opened(*roles: str) -> AsyncGenerator[httpx.AsyncClient]:
        key = await create_api_key(pool, tenancy.id, "restreinte", roles)
        async with client_of(app, key) as client:
            yield client

    return opened


@pytest.fixture
def client_of_key(app: FastAPI) -> Callable[[str], httpx.AsyncClient]:
    """A client that presents this key."""
    return lambda key: client_of(app, key)
