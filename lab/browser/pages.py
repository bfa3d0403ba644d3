"""Every page of the console with an address that can be opened: what tests look at, and what screenshots show.

The list is the application's own. A page whose address names a thing takes one from the database: a new page of
that sort adds a line to EXAMPLES, and fails until it has.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from fastapi.routing import APIRoute

from api.console.app import PAGES
from api.console.visits import Demand
from core.model.rights import Right
from core.runtime.postgres import Pool

# What pages ask for by themselves: parts of them, points and streams.
PARTS = frozenset(
    {
        "/atelier/relectures/{id}/avancement",
        "/batiments/export",
        "/batiments/{id}/export",
        "/batiments/{id}/economies/export",
        "/batiments/{id}/air/export",
        "/batiments/{id}/fuites/export",
        "/batiments/{id}/ouvertures/export",
        "/capteurs/{dev_eui}/messages",
        "/campagnes/{id}/avancement",
        "/campagnes/{id}/detail",
        "/carte/couverture/points",
        "/carte/points",
        "/direct",
        "/eclairage/horaires/export",
        "/eclairage/{id}/ordre",
        "/exports/avancement",
        "/exports/{id}/fichier",
        "/imports/{id}/avancement",
        "/imports/{id}/refus",
        "/trames/direct",
        "/imports/exports/{kind}",
        "/imports/modeles/{kind}",
        "/journal/export",
        "/pose/{dev_eui}/ecoute",
        "/pose/{dev_eui}/entendu",
        "/sante/export",
        "/supervision/alertes",
        "/supervision/chiffres",
    }
)
# Of one tenant: the thing of which there is most to see.
EXAMPLES: dict[str, str] = {
    "/equipements/{id}": (
        "SELECT a.id FROM asset a JOIN datastream s ON s.asset_id = a.id JOIN observation.latest l "
        "ON l.datastream_id = s.id WHERE a.tenant_id = $1 GROUP BY a.id "
        "ORDER BY a.kind = 'room' DESC, count(*) DESC, a.id LIMIT 1"
    ),
    "/capteurs/{dev_eui}/commandes/{name}": (
        "SELECT encode(d.dev_eui, 'hex') || '/commandes/reboot' FROM device d JOIN device_profile p "
        "ON p.id = d.device_profile_id WHERE d.tenant_id = $1 AND p.codec = 'milesight.em400' LIMIT 1"
    ),
    "/capteurs/{dev_eui}": (
        "SELECT encode(d.dev_eui, 'hex') FROM device d JOIN observation.uplink u ON u.device_id = d.id "
        "WHERE d.tenant_id = $1 GROUP BY d.id ORDER BY count(*) DESC, d.id LIMIT 1"
    ),
    "/passerelles/{gateway_id}": (
        "SELECT encode(gateway_id, 'hex') FROM gateway WHERE tenant_id = $1 ORDER BY id LIMIT 1"
    ),
    "/acces-mqtt/{id}": "SELECT id FROM application WHERE at_our_broker AND tenant_id = $1 ORDER BY id LIMIT 1",
    "/alertes/{id}": "SELECT id FROM alert WHERE tenant_id = $1 ORDER BY id DESC LIMIT 1",
    "/aide/{page}": "SELECT 'supervision' WHERE $1::int IS NOT NULL",
    "/atelier/decodeurs/{id}": "SELECT id FROM codec WHERE tenant_id = $1 ORDER BY id LIMIT 1",
    "/atelier/profils/{id}": "SELECT id FROM device_profile WHERE tenant_id = $1 ORDER BY id LIMIT 1",
    "/atelier/relectures/{id}": "SELECT id FROM redecode WHERE tenant_id = $1 ORDER BY id DESC LIMIT 1",
    "/batiments/{id}": "SELECT id FROM asset WHERE tenant_id = $1 AND kind = 'building' ORDER BY id LIMIT 1",
    "/calendriers/{id}": "SELECT id FROM alert_calendar WHERE tenant_id = $1 ORDER BY id LIMIT 1",
    "/campagnes/{id}": "SELECT id FROM lighting_campaign WHERE tenant_id = $1 ORDER BY id DESC LIMIT 1",
    "/cles/{id}": "SELECT id FROM api_key WHERE tenant_id = $1 ORDER BY id LIMIT 1",
    "/collectivites/{id}": "SELECT id FROM tenant WHERE id = $1",
    "/couts/decomptes/{id}": "SELECT id FROM cost_statement WHERE tenant_id = $1 ORDER BY id LIMIT 1",
    "/dechets/tournees/{id}": "SELECT id FROM waste_round WHERE tenant_id = $1 ORDER BY id LIMIT 1",
    "/destinataires/{id}": "SELECT id FROM webhook_endpoint WHERE tenant_id = $1 ORDER BY id LIMIT 1",
    "/eclairage/{id}": (
        "SELECT id FROM asset WHERE tenant_id = $1 AND kind = 'lighting_cabinet' ORDER BY id LIMIT 1"
    ),
    "/equipes/{id}": "SELECT id FROM team WHERE tenant_id = $1 ORDER BY id LIMIT 1",
    "/exports/depots/{id}": "SELECT id FROM export_schedule WHERE tenant_id = $1 ORDER BY id LIMIT 1",
    "/imports/{id}": "SELECT id FROM import_job WHERE tenant_id = $1 ORDER BY id DESC LIMIT 1",
    "/interventions/{id}": "SELECT id FROM work_order WHERE tenant_id = $1 ORDER BY id LIMIT 1",
    "/kits/mises-en-service/{id}": "SELECT id FROM kit_commissioning WHERE tenant_id = $1 ORDER BY id LIMIT 1",
    "/kits/{id}": "SELECT id FROM kit_template WHERE tenant_id = $1 ORDER BY id LIMIT 1",
    "/partenaires/{id}": "SELECT id FROM event_source WHERE tenant_id = $1 ORDER BY id LIMIT 1",
    "/partage/transferts/{id}": "SELECT id FROM asset_transfer WHERE tenant_id = $1 ORDER BY id LIMIT 1",
    "/partage/{id}": "SELECT id FROM access_grant WHERE tenant_id = $1 ORDER BY id LIMIT 1",
    "/personnes/{id}": "SELECT person_id FROM membership WHERE tenant_id = $1 ORDER BY person_id LIMIT 1",
    "/pose/{dev_eui}": "SELECT encode(dev_eui, 'hex') FROM device WHERE tenant_id = $1 ORDER BY id LIMIT 1",
    "/programmes/bornes/{id}": "SELECT id FROM tenant WHERE member_of = $1 ORDER BY id LIMIT 1",
    "/rapports/{id}": "SELECT id FROM report WHERE tenant_id = $1 ORDER BY id LIMIT 1",
    "/programmes/{id}": "SELECT id FROM lighting_program WHERE tenant_id = $1 ORDER BY id LIMIT 1",
    "/publications/{id}": "SELECT id FROM publication WHERE tenant_id = $1 ORDER BY id LIMIT 1",
    "/public/{slug}": (
        "SELECT slug FROM publication WHERE tenant_id = $1 AND withdrawn_at IS NULL AND privacy_class = 0 LIMIT 1"
    ),
    "/regles/{id}": "SELECT id FROM alert_rule WHERE tenant_id = $1 ORDER BY id LIMIT 1",
    "/webhooks/{id}": "SELECT id FROM measurement_webhook WHERE tenant_id = $1 ORDER BY id LIMIT 1",
}
# What follows the question mark, where a page opens with nothing less.
QUERIES: dict[str, str] = {
    "/pose/{dev_eui}": "SELECT 'actif=' || id FROM asset WHERE tenant_id = $1 ORDER BY id LIMIT 1",
    "/publications/nouvelle": "SELECT 'actif=' || id FROM asset WHERE tenant_id = $1 ORDER BY id LIMIT 1",
}


class NoExample(Exception):
    """A page's address names a thing, and it is not known which, or there is none."""


@dataclass(frozen=True, slots=True)
class PagePath:
    """A page as the application has it."""

    path: str
    right: Right | None
    """None: everybody may open it."""

    @property
    def name(self) -> str:
        """For a file or a test."""
        words = [word.strip("{}") for word in self.path.split("/") if word]
        return "-".join(words) or "accueil"


def page_paths() -> Sequence[PagePath]:
    """Every page that can be opened, by its path."""
    found = [
        PagePath(route.path, _right_of(route))
        for router in PAGES
        for route in router.routes
        if isinstance(route, APIRoute) and "GET" in (route.methods or ()) and route.path not in PARTS
    ]
    return sorted(found, key=lambda page: page.path)


def _right_of(route: APIRoute) -> Right | None:
    rights: list[Right] = [one.call.right for one in route.dependant.dependencies if isinstance(one.call, Demand)]
    return rights[0] if rights else None


async def address_of(page: PagePath, pool: Pool, tenant_id: int) -> str:
    """The address of an example of this page.

    Raises:
        NoExample: nothing says which, or the tenant has no such thing.
    """
    path = page.path
    if "{" in path:
        pattern = next((one for one in EXAMPLES if f"{path}/".startswith(f"{one}/")), None)
        if pattern is None:
            raise NoExample(f"{path}: no example of it in EXAMPLES of {__name__}")
        path = path.replace(pattern[pattern.index("{") :], await _one(EXAMPLES[pattern], page, pool, tenant_id))
    if page.path in QUERIES:
        return f"{path}?{await _one(QUERIES[page.path], page, pool, tenant_id)}"
    return path


async def _one(statement: str, page: PagePath, pool: Pool, tenant_id: int) -> str:
    found = await pool.fetchval(statement, tenant_id)
    if found is None:
        raise NoExample(f"{page.path}: the tenant has no such thing")
    return str(found)
