"""Opens the alerts that other domains asked for by a row (`registry.alert_requests`).

Six kinds. A gateway spoke from another address: nothing in Semtech UDP proves who speaks. A codec version was
suspended. A source or a device states instants that are not credible, again and again. A lamp that must be lit
is not. Nobody is notified here: the alert is due at once, and the engine's sweep notifies as of every other. It is
over when a person says so. A lighting clock holds another program than it should: that alert is over when the
clock reports the right one. Files of a scheduled drop do not arrive: that is over with the first one that does.
"""

from alerting.suspension_causes import suspension_cause
from core.runtime.postgres import Connection
from registry.alert_requests import (
    AddressAlertRequest,
    ClockAlertRequest,
    CodecAlertRequest,
    ExportAlertRequest,
    ProgramAlertRequest,
    RelightAlertRequest,
    take_alert_requests,
)

AT_ONCE = 200
MOVED = (
    "Passerelle {name} ({eui}) : elle parle désormais depuis {address}, et non plus depuis {former} : vérifier \
que c'est bien elle."
)
REFUSED = "Passerelle {name} ({eui}) : quelqu'un parle en son nom depuis {address} pendant qu'elle parle depuis \
{former}. Ces messages sont refusés ; si elle a déménagé, elle est à nouveau entendue au bout d'une minute."
# There is no owner that it could be compared with: what came had not the credential that the gateway has.
UNPROVED = (
    "Passerelle {name} ({eui}) : quelqu'un parle en son nom depuis {address} sans le jeton ou le certificat \
attendu. Ces messages sont refusés ; si c'est elle, lui rendre son jeton (tc.key)."
)
SUSPENDED = (
    "Décodeur suspendu : {codec}. Les trames de ses capteurs sont gardées et attendent : publiez une version "
    "corrigée, ou remettez celle-ci en service, puis relisez-les."
)
WRONG_CLOCK = (
    "{who} donne des instants impossibles (plus de 5 minutes d'avance, plus d'un an de retard, ou avant 2015) : "
    "régler son horloge. D'ici là ses mesures sont datées de leur réception, marquées, et ne comptent ni dans les "
    "dernières valeurs ni dans les moyennes."
)
NOT_RELIT = (
    "{who} : l'éclairage devait revenir et rien ne le prouve : {why}. Envoyer quelqu'un ; la plateforme "
    "rallume encore à chaque message de son équipement, et toutes les heures."
)
WILL_NOT_LIGHT = (
    "{who} doit s'allumer à {lit_at} et, en l'état, ne s'allumera pas : {why}. La plateforme essaie encore ; si "
    "rien ne change, l'allumer sur place."
)

MISMATCH = (
    "{who} : son horloge ne tient pas le programme prévu (empreinte {reported} au lieu de {desired}) : le lui "
    "renvoyer."
)

NOT_DROPPED = "Dépôt « {schedule} » : le fichier n'est pas arrivé : {reason}. Voir la page Exports."

# The first request of a tenant brings the rule, which may be adjusted or switched off as any other.
ADD_RULES = """
INSERT INTO alert_rule (tenant_id, name, kind, severity, message, opens_work_order)
SELECT DISTINCT t, $2::text, $3::text, $4::alert_severity, $5::text, $3::text = 'relight_failed'
FROM unnest($1::int[]) AS t
WHERE NOT EXISTS (SELECT FROM alert_rule r WHERE r.tenant_id = t AND r.name = $2::text)
ON CONFLICT (tenant_id, name) DO NOTHING
"""
# A gateway that was removed since has no row: it is passed over. It stays until its alert is committed.
READ_GATEWAYS = "SELECT id, gateway_id, name FROM gateway WHERE id = ANY($1::int[]) ORDER BY id FOR KEY SHARE"
# One alert for a gateway while it is open: the message is that of the last change. A rule that is being removed is
# passed over.
OPEN_ADDRESS_ALERT = """
INSERT INTO alert (tenant_id, rule_id, gateway_id, team_id, severity, message, condition, opened_at, fired_at,
                   value, muted_until, due_at)
SELECT r.tenant_id, r.id, $2, r.team_id, r.severity, $3, 'firing', $4, $4, $5::bigint, $4, $4
FROM alert_rule r WHERE r.tenant_id = $1 AND r.kind = 'gateway_address' AND r.enabled
ORDER BY r.id FOR KEY SHARE
ON CONFLICT (tenant_id, rule_id, asset_id, datastream_id, device_id, gateway_id, subject)
    WHERE workflow NOT IN ('resolved', 'closed')
DO UPDATE SET message = excluded.message, value = excluded.value, occurrences = alert.occurrences + 1,
              updated_at = now()
"""
# One alert for a tenant while it is open; what is suspended meanwhile is said in it, too.
OPEN_CODEC_ALERT = """
INSERT INTO alert (tenant_id, rule_id, team_id, severity, message, condition, opened_at, fired_at,
                   muted_until, due_at)
SELECT r.tenant_id, r.id, r.team_id, r.severity, $2, 'firing', $3, $3, $3, $3
FROM alert_rule r WHERE r.tenant_id = $1 AND r.kind = 'codec' AND r.enabled
ORDER BY r.id FOR KEY SHARE
ON CONFLICT (tenant_id, rule_id, asset_id, datastream_id, device_id, gateway_id, subject)
    WHERE workflow NOT IN ('resolved', 'closed')
DO UPDATE SET message = right(alert.message || ' ' || excluded.message, 1000), occurrences = alert.occurrences + 1,
              updated_at = now()
"""
# One alert for a clock while it is open. A device that was removed since is passed over.
OPEN_CLOCK_ALERT = """
INSERT INTO alert (tenant_id, rule_id, device_id, subject, team_id, severity, message, condition, opened_at,
                   fired_at, muted_until, due_at)
SELECT r.tenant_id, r.id, d.id, left($3, 200), r.team_id, r.severity,
       replace($4, '{who}', coalesce('Capteur ' || d.name, 'Source ' || $3)), 'firing', $5, $5, $5, $5
FROM alert_rule r LEFT JOIN device d ON d.id = $2
WHERE r.tenant_id = $1 AND r.kind = 'clock' AND r.enabled AND (d.id IS NOT NULL OR $3 IS NOT NULL)
ORDER BY r.id FOR KEY SHARE OF r
ON CONFLICT (tenant_id, rule_id, asset_id, datastream_id, device_id, gateway_id, subject)
    WHERE workflow NOT IN ('resolved', 'closed')
DO UPDATE SET occurrences = alert.occurrences + 1, updated_at = now()
"""
# One alert for a cabinet's clock while it is open; it ends when the clock reports the program that it should hold.
OPEN_PROGRAM_ALERT = """
INSERT INTO alert (tenant_id, rule_id, asset_id, device_id, team_id, severity, message, condition, opened_at,
                   fired_at, muted_until, due_at)
SELECT r.tenant_id, r.id, a.id, d.id, r.team_id, r.severity,
       left(replace($4, '{who}', concat_ws(', ', a.name, nullif(a.street, ''), nullif(a.commune, ''))), 1000),
       'firing', $5, $5, $5, $5
FROM alert_rule r
JOIN asset a ON a.id = $2 AND a.tenant_id = r.tenant_id
JOIN device d ON d.id = $3
WHERE r.tenant_id = $1 AND r.kind = 'program_mismatch' AND r.enabled
ORDER BY r.id FOR KEY SHARE OF r
ON CONFLICT (tenant_id, rule_id, asset_id, datastream_id, device_id, gateway_id, subject)
    WHERE workflow NOT IN ('resolved', 'closed')
DO UPDATE SET message = excluded.message, condition = 'firing', occurrences = alert.occurrences + 1,
              updated_at = now()
"""
# The engine finds it and ends it, as it does a partner's.
CLEAR_PROGRAM_ALERT = """
UPDATE alert a SET condition = 'ok', updated_at = now() FROM alert_rule r
WHERE r.id = a.rule_id AND r.kind = 'program_mismatch' AND a.tenant_id = $1 AND a.asset_id = $2
  AND (a.workflow NOT IN ('resolved', 'closed') OR a.reopen_at IS NOT NULL)
"""

# One alert for a circuit while it is open, whose message is the last reason; a circuit that was removed since is
# passed over.
OPEN_RELIGHT_ALERT = """
INSERT INTO alert (tenant_id, rule_id, asset_id, team_id, severity, message, condition, opened_at, fired_at,
                   muted_until, due_at)
SELECT r.tenant_id, r.id, a.id, r.team_id, r.severity,
       left(replace(replace($3, '{who}', concat_ws(', ', a.name, nullif(a.street, ''), nullif(a.commune, ''))),
                    '{why}', $4), 1000), 'firing', $5, $5, $5, $5
FROM alert_rule r JOIN asset a ON a.id = $2 AND a.tenant_id = r.tenant_id
WHERE r.tenant_id = $1 AND r.kind = 'relight_failed' AND r.enabled
ORDER BY r.id FOR KEY SHARE OF r
ON CONFLICT (tenant_id, rule_id, asset_id, datastream_id, device_id, gateway_id, subject)
    WHERE workflow NOT IN ('resolved', 'closed')
DO UPDATE SET message = excluded.message, occurrences = alert.occurrences + 1, updated_at = now()
"""


# One alert for a schedule while it is open, whose message is the last reason.
OPEN_EXPORT_ALERT = """
INSERT INTO alert (tenant_id, rule_id, subject, team_id, severity, message, condition, opened_at, fired_at,
                   muted_until, due_at)
SELECT r.tenant_id, r.id, left($2, 200), r.team_id, r.severity, left($3, 1000), 'firing', $4, $4, $4, $4
FROM alert_rule r WHERE r.tenant_id = $1 AND r.kind = 'export_drop' AND r.enabled
ORDER BY r.id FOR KEY SHARE
ON CONFLICT (tenant_id, rule_id, asset_id, datastream_id, device_id, gateway_id, subject)
    WHERE workflow NOT IN ('resolved', 'closed')
DO UPDATE SET message = excluded.message, condition = 'firing', occurrences = alert.occurrences + 1,
              updated_at = now()
"""
# The engine finds it and ends it, as it does a partner's.
CLEAR_EXPORT_ALERT = """
UPDATE alert a SET condition = 'ok', updated_at = now() FROM alert_rule r
WHERE r.id = a.rule_id AND r.kind = 'export_drop' AND a.tenant_id = $1 AND a.subject = left($2, 200)
  AND (a.workflow NOT IN ('resolved', 'closed') OR a.reopen_at IS NOT NULL)
"""


async def open_requested_alerts(connection: Connection, most: int = AT_ONCE) -> int:
    """Make the oldest requests into alerts, in the caller's transaction; how many requests there were.

    While such an alert is open, a request is one more occurrence of it.
    """
    requests = await take_alert_requests(connection, most)
    addresses = [request for request in requests if isinstance(request, AddressAlertRequest)]
    codecs = [request for request in requests if isinstance(request, CodecAlertRequest)]
    clocks = [request for request in requests if isinstance(request, ClockAlertRequest)]
    await _open_program_alerts(
        connection, [request for request in requests if isinstance(request, ProgramAlertRequest)]
    )
    await _open_export_alerts(
        connection, [request for request in requests if isinstance(request, ExportAlertRequest)]
    )
    circuits = [request for request in requests if isinstance(request, RelightAlertRequest)]
    if circuits:
        tenants = [request.tenant_id for request in circuits]
        await connection.execute(ADD_RULES, tenants, "relight_failed", "relight_failed", "major", NOT_RELIT)
        await connection.executemany(
            OPEN_RELIGHT_ALERT,
            [(one.tenant_id, one.asset_id, _relight_message(one), one.reason, one.at) for one in circuits],
        )
    if clocks:
        tenants = [request.tenant_id for request in clocks]
        await connection.execute(ADD_RULES, tenants, "wrong_clock", "clock", "warning", WRONG_CLOCK)
        await connection.executemany(
            OPEN_CLOCK_ALERT,
            [(one.tenant_id, one.device_id, one.source, WRONG_CLOCK, one.at) for one in clocks],
        )
    if addresses:
        await _open_address_alerts(connection, addresses)
    if codecs:
        tenants = [request.tenant_id for request in codecs]
        await connection.execute(ADD_RULES, tenants, "codec_suspended", "codec", "major", SUSPENDED)
        await connection.executemany(
            OPEN_CODEC_ALERT,
            [(request.tenant_id, _codec_message(request), request.at) for request in codecs],
        )
    return len(requests)


def _relight_message(request: RelightAlertRequest) -> str:
    return NOT_RELIT if request.lit_at is None else WILL_NOT_LIGHT.replace("{lit_at}", request.lit_at)


async def _open_address_alerts(connection: Connection, requests: list[AddressAlertRequest]) -> None:
    rows = await connection.fetch(READ_GATEWAYS, [request.gateway_id for request in requests])
    gateways = {row["id"]: (row["name"], row["gateway_id"].hex()) for row in rows}
    known = [request for request in requests if request.gateway_id in gateways]
    tenants = [request.tenant_id for request in known]
    await connection.execute(ADD_RULES, tenants, "gateway_address", "gateway_address", "warning", MOVED)
    await connection.executemany(
        OPEN_ADDRESS_ALERT,
        [
            (
                request.tenant_id,
                request.gateway_id,
                _address_message(request, *gateways[request.gateway_id]),
                request.at,
                request.times,
            )
            for request in known
        ],
    )


async def _open_program_alerts(connection: Connection, requests: list[ProgramAlertRequest]) -> None:
    """In their order: a clock that drifts, and does no longer, has been both."""
    begun = [request.tenant_id for request in requests if request.drifts]
    if begun:
        await connection.execute(ADD_RULES, begun, "program_mismatch", "program_mismatch", "warning", MISMATCH)
    for request in requests:
        if not request.drifts:
            await connection.execute(CLEAR_PROGRAM_ALERT, request.tenant_id, request.asset_id)
            continue
        held = "aucune" if request.reported is None else request.reported
        message = MISMATCH.replace("{reported}", held).replace("{desired}", request.desired or "aucune")
        await connection.execute(
            OPEN_PROGRAM_ALERT, request.tenant_id, request.asset_id, request.device_id, message, request.at
        )


async def _open_export_alerts(connection: Connection, requests: list[ExportAlertRequest]) -> None:
    """In their order: a schedule that failed, and works again, has been both."""
    failed = [request.tenant_id for request in requests if request.reason is not None]
    if failed:
        await connection.execute(ADD_RULES, failed, "export_drop", "export_drop", "warning", NOT_DROPPED)
    for request in requests:
        if request.reason is None:
            await connection.execute(CLEAR_EXPORT_ALERT, request.tenant_id, request.schedule)
            continue
        message = NOT_DROPPED.format(schedule=request.schedule, reason=request.reason)
        await connection.execute(OPEN_EXPORT_ALERT, request.tenant_id, request.schedule, message, request.at)


def _codec_message(request: CodecAlertRequest) -> str:
    why = "" if request.reason is None else f" ({suspension_cause(request.reason, request.detail)})"
    return SUSPENDED.format(codec=request.codec + why)


def _address_message(request: AddressAlertRequest, name: str, eui: str) -> str:
    words = (REFUSED if request.former else UNPROVED) if request.refused else MOVED
    return words.format(name=name, eui=eui, address=request.address, former=request.former)
