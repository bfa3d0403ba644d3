"""Bring the database and the bus to what this program needs, once, then exit."""

import asyncio
import sys

import structlog
from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from alerting.defaults import create_default_rules
from core.registry.tenants import ROLES, create_tenant, enter_api_key, find_tenant
from core.registry.units import UnitMismatch, require_units
from core.runtime.bus import connect_bus
from core.runtime.migrations import MigrationFailed, SchemaMismatch, migrate
from core.runtime.postgres import DATABASE_AWAY, connect
from core.runtime.telemetry import configure_logs

OPERATOR = "operateur"

log = structlog.get_logger()


class MigrateSettings(BaseSettings):
    """TERRITOIRE_DATABASE_URL is the schema owner's here, not a service's."""

    model_config = SettingsConfigDict(env_prefix="TERRITOIRE_", extra="ignore", frozen=True)

    database_url: SecretStr
    nats_url: SecretStr
    shards: int = Field(default=4, description="Written in the database at the first migration only")
    bus_replicas: int = Field(default=1, ge=1, le=5, description="Copies of a stream: 3 where NATS is a cluster")
    service_password: SecretStr | None = Field(default=None, description="Of the role territoire_service")
    api_password: SecretStr | None = Field(default=None, description="Of the role territoire_api")
    operator_key: SecretStr | None = Field(
        default=None, description="terr_<id>_<secret>: the first key, of a first tenant that is made for it"
    )
    log_format: str = "json"


async def ensure_operator(database_url: str, key: str) -> None:
    """The operator's own tenant with its first key, so that somebody can make the others; once."""
    connection = await connect(database_url, "territoire-migrate")
    try:
        async with connection.transaction():
            await connection.execute("SET LOCAL ROLE territoire_service")
            if await find_tenant(connection, OPERATOR) is None:
                tenant = await create_tenant(connection, OPERATOR, "Opérateur du réseau")
                await create_default_rules(connection, tenant.id)
                await enter_api_key(connection, tenant.id, "première clé", sorted(ROLES), key)
    finally:
        await connection.close()


async def check_units(database_url: str) -> None:
    """Raises UnitMismatch: no service is to write litres after cubic metres. A quantity that is gone is told."""
    connection = await connect(database_url, "territoire-migrate")
    try:
        for gone in await require_units(connection):
            log.warning("quantity_not_in_catalogue", quantity=gone.quantity, datastreams=gone.datastreams)
    finally:
        await connection.close()


async def run(settings: MigrateSettings) -> None:
    """Apply the migrations that are missing, set the roles' passwords, create the streams."""
    passwords = {
        role: password.get_secret_value()
        for role, password in (
            ("territoire_service", settings.service_password),
            ("territoire_api", settings.api_password),
        )
        if password is not None
    }
    await migrate(settings.database_url.get_secret_value(), shards=settings.shards, passwords=passwords)
    await check_units(settings.database_url.get_secret_value())
    if settings.operator_key is not None:
        await ensure_operator(settings.database_url.get_secret_value(), settings.operator_key.get_secret_value())
    async with connect_bus(settings.nats_url.get_secret_value(), "migrate") as bus:
        await bus.ensure_streams(settings.bus_replicas)


def main() -> None:
    """Exit status 0 when everything is in place, 2 for a wrong setting, 1 with the reason otherwise."""
    try:
        settings = MigrateSettings()  # pyright: ignore[reportCallIssue]
    except ValidationError as wrong:
        for error in wrong.errors(include_input=False, include_url=False):
            sys.stderr.write(f"migrate: TERRITOIRE_{str(error['loc'][0]).upper()}: {error['msg']}\n")
        raise SystemExit(2) from None
    configure_logs("migrate", "migrate", settings.log_format, "INFO")
    try:
        asyncio.run(run(settings))
    except (SchemaMismatch, MigrationFailed, UnitMismatch) as refused:
        sys.stderr.write(f"migrate : {refused.french}\n")
        raise SystemExit(1) from None
    except DATABASE_AWAY as away:
        sys.stderr.write(f"migrate : la base de données ne répond pas, relancez ({away or type(away).__name__})\n")
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
