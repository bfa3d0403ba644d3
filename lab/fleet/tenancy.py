"""The tenant of a simulated fleet: made at first sight, straight in the database, as an installer would."""

from alerting.defaults import create_default_rules
from core.model.entities import Tenant
from core.runtime.postgres import Pool
from registry.people import add_member
from registry.tenants import create_api_key, create_tenant, find_tenant
from services.supervisor.stack import OPERATOR_EMAIL

ALL_ROLES = ("read", "manage", "lighting", "operate")
# The demonstration's webhook receiver is on this machine.
LOOPBACK = ("127.0.0.1/32",)


async def prepare_tenant(
    pool: Pool, slug: str, name: str, roles: tuple[str, ...] = ALL_ROLES
) -> tuple[Tenant, str]:
    """The tenant, with its default alert rules, and a new API key with these roles."""
    async with pool.acquire() as connection, connection.transaction():
        tenant = await find_tenant(connection, slug)
        if tenant is None:
            tenant = await create_tenant(connection, slug, name, LOOPBACK)
            await create_default_rules(connection, tenant.id)
        await add_member(connection, OPERATOR_EMAIL, tenant.id, "service_manager")
        key = await create_api_key(connection, tenant.id, "simulateur", roles)
    return tenant, key
