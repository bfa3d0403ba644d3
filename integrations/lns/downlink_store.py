"""The addresses of our devices at other LNS, and tenants' allow-lists; `registry.downlinks` writes the rows."""

from collections.abc import Iterable

from core.runtime.postgres import Connection, Pool

READ_ALLOW_LIST = "SELECT webhook_allow_list FROM tenant WHERE id = $1"
SAVE_ROUTES = """
INSERT INTO lns_route AS known (source_id, device_id, tenant_id, address, seen_at)
SELECT s.id, d.id, s.tenant_id, of.address, now()
FROM unnest($1::int[], $2::int[], $3::text[]) AS of (source_id, device_id, address)
JOIN lns_source s ON s.id = of.source_id JOIN device d ON d.id = of.device_id
ORDER BY s.id, d.id
ON CONFLICT (source_id, device_id) DO UPDATE SET address = excluded.address, seen_at = excluded.seen_at
"""


async def read_allow_list(connection: Connection | Pool, tenant_id: int) -> list[str]:
    """The inner networks and hosts that the tenant's addresses may lead to."""
    return await connection.fetchval(READ_ALLOW_LIST, tenant_id) or []


async def save_routes(connection: Connection | Pool, routes: Iterable[tuple[int, int, str]]) -> None:
    """Save the addresses of these devices at their LNS: source, device, address."""
    rows = list(routes)
    await connection.execute(SAVE_ROUTES, *([row[place] for row in rows] for place in range(3)))
