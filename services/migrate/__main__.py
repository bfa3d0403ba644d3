"""Bring the database and the bus to what this program needs, once, then exit."""

import asyncio
import sys

import structlog

from alerting.defaults import create_default_rules
from core.runtime.bus import BUS_AWAY, connect_bus
from core.runtime.bus_connection import BusNotReached, bus_reason
from core.runtime.errors import OperatorError, sql_rejection
from core.runtime.postgres import DATABASE_AWAY, PostgresError, connect, database_reason
from core.runtime.settings import settings_or_exit
from core.runtime.telemetry import configure_logs
from registry.audit import write_audit
from registry.passwords import Passwords
from registry.people import enter_person
from registry.schema import migrate
from registry.sessions import find_login
from registry.tenants import OPERATOR, create_operator, find_tenant
from registry.units import UnitMismatch, require_units
from services.migrate.settings import MigrateSettings

ACTOR = "migrate (serveur)"
# Who started us does so again: compose and a stack have the bus by then, a Job has other attempts.
BUS_WITHIN_S = 60.0

log = structlog.get_logger()


async def ensure_operator(database_url: str, key: str) -> None:
    """The operator's tenant with the rules that every tenant begins with; once."""
    connection = await connect(database_url, "territoire-migrate")
    try:
        async with connection.transaction():
            operator = await create_operator(connection, key)
            if operator is not None:
                await create_default_rules(connection, operator.id)
                made = {"after": {"slug": operator.slug, "name": operator.name}}
                await write_audit(connection, operator.id, ACTOR, "create", "tenant", operator.id, made)
    finally:
        await connection.close()


async def ensure_first_person(database_url: str, email: str, password: str) -> None:
    """Somebody who can invite the others, of the operator's tenant; once."""
    connection = await connect(database_url, "territoire-migrate")
    try:
        tenant = await find_tenant(connection, OPERATOR)
        if tenant is None or await find_login(connection, email) is not None:
            return
        hashed = await Passwords().hash_of(password)
        async with connection.transaction():
            person = await enter_person(connection, tenant.id, email, "Exploitant du réseau", hashed, "operator")
            made = {"after": {"email": email, "role": "operator"}}
            await write_audit(connection, tenant.id, ACTOR, "create", "person", person, made)
    finally:
        await connection.close()


async def check_units(database_url: str) -> None:
    """Raises UnitMismatch when a unit in use was changed in the catalogue; logs quantities it no longer has."""
    connection = await connect(database_url, "territoire-migrate")
    try:
        for gone in await require_units(connection):
            log.warning("quantity_not_in_catalogue", quantity=gone.quantity, datastreams=gone.datastreams)
    finally:
        await connection.close()


async def run(settings: MigrateSettings) -> None:
    """Apply the migrations that are missing, set the roles' passwords, create the streams."""
    await migrate(settings.database_url.get_secret_value(), shards=settings.shards, passwords=settings.passwords)
    await check_units(settings.database_url.get_secret_value())
    if settings.operator_key is not None:
        await ensure_operator(settings.database_url.get_secret_value(), settings.operator_key.get_secret_value())
    if settings.operator_email and settings.operator_password is not None:
        email, password = settings.operator_email.lower(), settings.operator_password.get_secret_value()
        await ensure_first_person(settings.database_url.get_secret_value(), email, password)
    async with connect_bus(settings.nats_url.get_secret_value(), "migrate", within_s=BUS_WITHIN_S) as bus:
        await bus.ensure_streams(settings.bus_replicas)


def main() -> None:
    """Exit status 0 when everything is in place, 2 for a wrong setting, 1 with the reason otherwise."""
    settings = settings_or_exit("migrate", MigrateSettings)
    configure_logs("migrate", "migrate", settings.log_format, "INFO")
    try:
        asyncio.run(run(settings))
    except BusNotReached as away:
        sys.stderr.write(f"migrate : la base est à jour : {away.french}. Relancez\n")
        raise SystemExit(1) from None
    except (OperatorError, UnitMismatch) as refused:
        sys.stderr.write(f"migrate : {refused.french}\n")
        raise SystemExit(1) from None
    except DATABASE_AWAY as away:
        sys.stderr.write(f"migrate : la base de données ne répond pas, relancez ({database_reason(away)})\n")
        raise SystemExit(1) from None
    except PostgresError as refused:
        if (french := sql_rejection(refused)) is None:
            raise
        sys.stderr.write(f"migrate : {french}\n")
        raise SystemExit(1) from None
    except BUS_AWAY as away:
        sys.stderr.write(f"migrate : la base est à jour, le bus refuse ses flux, relancez ({bus_reason(away)})\n")
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
