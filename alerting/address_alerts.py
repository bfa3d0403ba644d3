"""Opens an alert when a gateway's address changes, in the transaction that records the change.

Semtech UDP authenticates nobody, so a change may be an intruder. The alert is due at once: the engine notifies its
team as for every other alert. A person ends it.
"""

from collections.abc import Sequence

from core.runtime.postgres import Connection
from registry.gateway_supervision import AddressSeen

RULE = "gateway_address"
MOVED = (
    "Passerelle {name} ({eui}) : elle parle désormais depuis {address}, et non plus depuis {former} : vérifier \
que c'est bien elle."
)
REFUSED = "Passerelle {name} ({eui}) : quelqu'un parle en son nom depuis {address} pendant qu'elle parle depuis \
{former}. Ces messages sont refusés ; si elle a déménagé, elle est à nouveau entendue au bout d'une minute."

READ_GATEWAYS = "SELECT gateway_id, id, tenant_id, name FROM gateway WHERE gateway_id = ANY($1::bytea[])"
# The first change of a tenant's gateway brings the rule, which may be adjusted or switched off as any other.
ADD_RULES = """
INSERT INTO alert_rule (tenant_id, name, kind, severity, message)
SELECT DISTINCT t, 'gateway_address', 'gateway_address', 'warning'::alert_severity, $2::text
FROM unnest($1::int[]) AS t
WHERE NOT EXISTS (SELECT FROM alert_rule r WHERE r.tenant_id = t AND r.name = 'gateway_address')
ON CONFLICT (tenant_id, name) DO NOTHING
"""
# One alert for a gateway while it is open: the message is that of the last change.
OPEN_ALERTS = """
INSERT INTO alert (tenant_id, rule_id, gateway_id, team_id, severity, message, condition, opened_at, fired_at,
                   value, told, muted_until, due_at)
SELECT v.tenant_id, r.id, v.gateway_id, r.team_id, r.severity, v.message, 'firing', v.at, v.at, v.times, false,
       v.at, v.at
FROM unnest($1::int[], $2::int[], $3::text[], $4::timestamptz[], $5::bigint[])
     AS v (tenant_id, gateway_id, message, at, times)
JOIN alert_rule r ON r.tenant_id = v.tenant_id AND r.kind = 'gateway_address' AND r.enabled
ORDER BY v.gateway_id
ON CONFLICT (tenant_id, rule_id, asset_id, datastream_id, device_id, gateway_id, subject)
    WHERE workflow NOT IN ('resolved', 'closed')
DO UPDATE SET message = excluded.message, value = excluded.value, occurrences = alert.occurrences + 1,
              updated_at = now()
"""


async def open_address_alerts(connection: Connection, changes: Sequence[AddressSeen]) -> None:
    """An alert for each of these gateways, or one more occurrence of the one that is open."""
    last = {change.gateway_id: change for change in changes}
    gateways = await connection.fetch(READ_GATEWAYS, list(last))
    if not gateways:
        return
    await connection.execute(ADD_RULES, [row["tenant_id"] for row in gateways], MOVED)
    told = [(row, last[row["gateway_id"]]) for row in gateways]
    await connection.execute(
        OPEN_ALERTS,
        [row["tenant_id"] for row, _ in told],
        [row["id"] for row, _ in told],
        [_message(row["name"], change) for row, change in told],
        [change.at for _, change in told],
        [change.times for _, change in told],
    )


def _message(name: str, change: AddressSeen) -> str:
    words = REFUSED if change.refused else MOVED
    return words.format(name=name, eui=change.gateway_id.hex(), address=change.address, former=change.former)
