"""People of a demonstration, so that each role can be tried; their password is that of the first login."""

from dataclasses import dataclass

from core.model.entities import Tenant
from core.model.rights import ROLES
from core.runtime.postgres import Pool
from lab.fleet.provision import Provisioner
from lab.fleet.tenancy import prepare_tenant
from registry.people import enter_person
from registry.tenants import find_tenant
from services.supervisor.stack import OPERATOR_EMAIL

COMMUNE = ("landerneau", "Ville de Landerneau (démonstration)")
# What the commune is shown of the territory's equipment.
SHOWN = "room"
HASH = "SELECT password_hash FROM person WHERE email = $1"


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody as whom the console can be tried."""

    email: str
    name: str
    role: str

    @property
    def label(self) -> str:
        """What they do, in French."""
        return f"{ROLES[self.role].label}, {self.email.partition('@')[2].partition('.')[0].capitalize()}"


OF_TERRITORY = (
    Visitor("responsable@finistere.example", "Anne Le Goff", "service_manager"),
    Visitor("agent@finistere.example", "Yann Kerleo", "field_agent"),
    Visitor("lecture@finistere.example", "Soizic Morvan", "reader"),
)
OF_COMMUNE = (
    Visitor("responsable@landerneau.example", "Gwen Riou", "service_manager"),
    Visitor("agent@landerneau.example", "Malo Salaün", "field_agent"),
)
VISITORS = (*OF_TERRITORY, *OF_COMMUNE)


async def prepare_people(pool: Pool, tenant: Tenant, api_url: str, api: Provisioner) -> None:
    """People of the territory, and a commune that is its member, with people of its own; each made once."""
    await _enter(pool, tenant, OF_TERRITORY)
    if await find_tenant(pool, COMMUNE[0]) is not None:
        return
    commune, key = await prepare_tenant(pool, *COMMUNE)
    await _enter(pool, commune, OF_COMMUNE)
    theirs = Provisioner(api_url, key)
    try:
        await api.put(f"/v1/tenants/{commune.id}/member-of", {"tenant_id": tenant.id})
        grant = await api.post("/v1/grants", {"tenant": commune.slug, "asset_kind": SHOWN})
        await theirs.post(f"/v1/grants/{grant['id']}/accept", {})
    finally:
        await theirs.close()


async def _enter(pool: Pool, tenant: Tenant, visitors: tuple[Visitor, ...]) -> None:
    async with pool.acquire() as connection, connection.transaction():
        hashed = await connection.fetchval(HASH, OPERATOR_EMAIL)
        for one in visitors:
            await enter_person(connection, tenant.id, one.email, one.name, hashed or "", one.role)
