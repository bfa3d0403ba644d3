"""The API over real PostgreSQL and nats-server, reached through ASGI; one tenant with keys, another beside it."""

import secrets
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from alerting.store import create_default_rules
from api.app import create_app
from api.platform import KeyWrap
from core.registry.tenants import create_api_key, create_tenant
from core.runtime.bus import Bus, connect_bus
from core.runtime.postgres import Pool

ALL_ROLES = ("read", "manage", "lighting", "operate")
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
    return create_app(api_pool, bus, KeyWrap("kek-1", KEK), 4)


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

    async def cabinet(self) -> dict[str, Any]:
        """An asset that a switching device serves."""
        asset = await self.asset(kind="lighting_cabinet")
        await self.device(await self.cabinet_profile(), asset_id=asset["id"])
        return asset


@pytest.fixture
def registry(client: httpx.AsyncClient) -> Registry:
    return Registry(client)


@pytest.fixture
def other_registry(other_client: httpx.AsyncClient) -> Registry:
    return Registry(other_client)
