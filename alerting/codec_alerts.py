"""Opens an alert when a codec version is suspended, in the same transaction.

The alert is due at once: the engine notifies as for every other alert. It goes to the tenant that published the
version, to those whose devices use it, and to the network's operator. A person ends it.
"""

from datetime import datetime

from core.runtime.postgres import Connection

MESSAGE = (
    "Décodeur suspendu : {codec}. Les trames de ses capteurs sont gardées et attendent : publiez une version "
    "corrigée, ou remettez celle-ci en service, puis relisez-les."
)

# The first suspended codec of a tenant brings the rule, which may be adjusted or switched off as any other.
ADD_RULES = """
INSERT INTO alert_rule (tenant_id, name, kind, severity, message)
SELECT t, 'codec_suspended', 'codec', 'major'::alert_severity, $2::text
FROM unnest($1::int[]) AS t
WHERE NOT EXISTS (SELECT FROM alert_rule r WHERE r.tenant_id = t AND r.name = 'codec_suspended')
ON CONFLICT (tenant_id, name) DO NOTHING
"""
READ_CONCERNED = """
SELECT v.tenant_id FROM codec_version v WHERE v.id = $1 AND v.tenant_id IS NOT NULL
UNION
SELECT d.tenant_id FROM device d JOIN device_profile p ON p.id = d.device_profile_id
LEFT JOIN device_profile_override o ON o.tenant_id = d.tenant_id AND o.device_profile_id = p.id
WHERE coalesce(o.codec_version_id, p.codec_version_id) = $1
UNION
SELECT k.tenant_id FROM api_key k
WHERE 'operate' = ANY(k.roles) AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now())
"""
READ_CODEC = """
SELECT format('%s v%s (%s)', c.name, v.version, v.quarantine_reason) FROM codec_version v
JOIN codec c ON c.id = v.codec_id WHERE v.id = $1
"""
# One alert for a tenant while it is open; what is suspended meanwhile is said in it, too.
OPEN_ALERTS = """
INSERT INTO alert (tenant_id, rule_id, team_id, severity, message, condition, opened_at, fired_at, told,
                   muted_until, due_at)
SELECT r.tenant_id, r.id, r.team_id, r.severity, $2, 'firing', $3, $3, false, $3, $3
FROM alert_rule r WHERE r.tenant_id = ANY($1::int[]) AND r.kind = 'codec' AND r.enabled ORDER BY r.id
ON CONFLICT (tenant_id, rule_id, asset_id, datastream_id, device_id, gateway_id, subject)
    WHERE workflow NOT IN ('resolved', 'closed')
DO UPDATE SET message = right(alert.message || ' ' || excluded.message, 1000), occurrences = alert.occurrences + 1,
              updated_at = now()
"""


async def open_codec_alerts(connection: Connection, version_id: int, at: datetime) -> None:
    """An alert for everybody whom the suspension of this version concerns."""
    codec = await connection.fetchval(READ_CODEC, version_id)
    concerned = [row["tenant_id"] for row in await connection.fetch(READ_CONCERNED, version_id)]
    if codec is None or not concerned:
        return
    await connection.execute(ADD_RULES, concerned, MESSAGE)
    await connection.execute(OPEN_ALERTS, concerned, MESSAGE.format(codec=codec), at)
