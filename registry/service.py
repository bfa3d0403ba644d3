"""Opens what every service needs: its health page, a database of this program's schema, the bus."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from prometheus_client import Gauge

from core.runtime.bus import Bus, connect_bus
from core.runtime.health import Check, Readiness, bus_check, database_check, serve_health, starting
from core.runtime.lease import read_shards
from core.runtime.postgres import Pool, open_pool
from core.runtime.settings import ServiceSettings
from registry.former_format import following_former_format
from registry.releases import announced
from registry.schema import require_schema

SHARDS = Gauge("territoire_shards", "In how many parts the work of this deployment is divided")


@dataclass(frozen=True, slots=True)
class OpenedService:
    """`shards` is SHARDS of the deployment."""

    pool: Pool
    bus: Bus
    shards: int
    readiness: Readiness

    def is_ready(self, checks: Mapping[str, Check] | None = None) -> None:
        """Ready from now on, while the database, the bus and these checks are."""
        both = {"database": database_check(self.pool), "bus": bus_check(self.bus)}
        self.readiness.checks = {**both, **(checks or {})}

    def is_stopping(self) -> None:
        """Not ready from now on: nobody shall send anything new here."""

        async def stopping() -> str | None:
            return "stopping"

        self.readiness.checks = {"stop": stopping}


@asynccontextmanager
async def open_service(
    name: str, settings: ServiceSettings, *, bus_name: str | None = None
) -> AsyncGenerator[OpenedService]:
    """Everything is closed again after the block; until `is_ready` the health page names what is waited for.

    Raises:
        SchemaMismatch: the database is of another version of this program.
    """
    readiness = starting()
    async with (
        serve_health(readiness, settings.health_host, settings.health_port),
        open_pool(settings.database_url.get_secret_value(), name, size=settings.pool_size) as pool,
        connect_bus(settings.nats_url.get_secret_value(), bus_name or settings.instance) as bus,
    ):
        async with pool.acquire() as connection:
            knows = await require_schema(connection)
            shards = await read_shards(connection)
        SHARDS.set(shards)
        async with announced(pool, name, settings.instance, knows), following_former_format(pool, settings):
            yield OpenedService(pool, bus, shards, readiness)
