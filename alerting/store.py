"""SQL of rules, alerts and webhook endpoints for whoever manages them; row security bounds every statement.

What the engine itself reads and writes is in `alerting.engine_store`.
"""

import base64
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit

from alerting.rules import Rule, overlaps
from core.registry.keys import KeyWrap
from core.registry.rows import entity
from core.runtime.postgres import Connection, Pool

SECRET_OCTETS = 32
SECRET_PREFIX = "whsec_"  # noqa: S105 - The prefix that Standard Webhooks gives every secret.
URL_MOST = 2000
SEVERITIES = ("info", "warning", "major", "critical")

RULE_COLUMNS = """id, tenant_id, name, kind, asset_kinds[1] AS asset_kind, quantity, fire_op, fire_value, clear_op,
clear_value, for_readings, for_seconds, clear_on_emptying, silence_intervals, severity::text AS severity, message,
enabled"""
ALERT_COLUMNS = """a.id, a.tenant_id, a.rule_id, coalesce(r.name, '') AS rule, a.asset_id, a.device_id,
a.datastream_id, a.severity::text AS severity, a.message, a.condition::text AS condition,
a.workflow::text AS workflow, a.opened_at, a.acknowledged_at, a.acknowledged_by, a.resolved_at, a.resolved_cause,
a.value, a.threshold, a.occurrences, a.created_at, a.updated_at"""
ENDPOINT_COLUMNS = "id, tenant_id, url, description, state, disabled_reason, created_at"

# Severities and messages follow reference/domain.md, section 6; each may be changed per tenant.
CREATE_DEFAULT_RULES = """
INSERT INTO alert_rule (tenant_id, name, kind, quantity, fire_op, fire_value, clear_op, clear_value,
                        for_readings, for_seconds, clear_on_emptying, severity, message)
VALUES
    ($1, 'bin_75', 'threshold', 'fill_level', '>=', 75, '<=', 60, 2, 0, true, 'warning',
     '{asset} ({place}) : rempli à {value} depuis {since} (seuil {threshold}), à collecter.'),
    ($1, 'co2_800', 'threshold', 'co2', '>=', 800, '<', 700, 1, 1800, false, 'info',
     '{asset} ({place}) : CO2 à {value} depuis {since} (seuil {threshold}) : aérer.'),
    ($1, 'co2_1500', 'threshold', 'co2', '>=', 1500, '<', 1200, 1, 600, false, 'major',
     '{asset} ({place}) : CO2 à {value} depuis {since} (seuil {threshold}) : aérer sans attendre.'),
    ($1, 'device_silent', 'silence', NULL, NULL, NULL, NULL, NULL, 1, 0, false, 'warning',
     '{asset} ({place}) : le capteur {device} est muet depuis {since} : vérifier sa pile et sa couverture radio.')
ON CONFLICT (tenant_id, name) DO NOTHING
"""
LIST_RULES = f"SELECT {RULE_COLUMNS} FROM alert_rule ORDER BY name"
READ_RULE = f"SELECT {RULE_COLUMNS} FROM alert_rule WHERE id = $1"
UPDATE_RULE = f"""
UPDATE alert_rule SET
    enabled = coalesce($2, enabled), severity = coalesce($3::alert_severity, severity),
    message = coalesce($4, message), fire_value = coalesce($5, fire_value),
    clear_value = coalesce($6, clear_value), for_readings = coalesce($7, for_readings),
    for_seconds = coalesce($8, for_seconds), silence_intervals = coalesce($9, silence_intervals),
    updated_at = now()
WHERE id = $1
RETURNING {RULE_COLUMNS}
"""
LIST_ALERTS = f"""
SELECT {ALERT_COLUMNS} FROM alert a LEFT JOIN alert_rule r ON r.id = a.rule_id
WHERE ($1::text[] IS NULL OR a.workflow::text = ANY($1)) AND ($2::int IS NULL OR a.asset_id = $2)
  AND ($3::bigint IS NULL OR a.id < $3)
ORDER BY a.id DESC LIMIT $4
"""
READ_ALERT = f"SELECT {ALERT_COLUMNS} FROM alert a LEFT JOIN alert_rule r ON r.id = a.rule_id WHERE a.id = $1"
ACKNOWLEDGE = """
UPDATE alert SET workflow = 'acknowledged', acknowledged_at = now(), acknowledged_by = $2, updated_at = now()
WHERE id = $1 AND workflow = 'open'
"""
CREATE_ENDPOINT = f"""
INSERT INTO webhook_endpoint (tenant_id, url, description, secret_wrapped, kek_id) VALUES ($1, $2, $3, $4, $5)
RETURNING {ENDPOINT_COLUMNS}
"""
LIST_ENDPOINTS = f"SELECT {ENDPOINT_COLUMNS} FROM webhook_endpoint ORDER BY id"
READ_ENDPOINT = f"SELECT {ENDPOINT_COLUMNS} FROM webhook_endpoint WHERE id = $1"
SET_ENABLED = f"""
UPDATE webhook_endpoint SET state = CASE WHEN $2 THEN 'enabled' ELSE 'disabled' END,
       disabled_reason = CASE WHEN $2 THEN NULL ELSE 'suspendue à la demande' END
WHERE id = $1
RETURNING {ENDPOINT_COLUMNS}
"""
DELETE_ENDPOINT = "DELETE FROM webhook_endpoint WHERE id = $1 RETURNING true"
LIST_ATTEMPTS = """
SELECT id, tenant_id, endpoint_id, message_id, alert_id, attempt, at, outcome, status, duration_ms, answer
FROM webhook_attempt
WHERE endpoint_id = $1 AND ($2::bigint IS NULL OR id < $2)
ORDER BY id DESC LIMIT $3
"""


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert as the API shows it. Its condition is the thing's, its workflow is people's."""

    id: int
    tenant_id: int
    rule_id: int
    rule: str
    asset_id: int | None
    device_id: int | None
    datastream_id: int | None
    severity: str
    message: str
    condition: str
    workflow: str
    opened_at: datetime
    acknowledged_at: datetime | None
    acknowledged_by: str | None
    resolved_at: datetime | None
    resolved_cause: str | None
    value: float | None
    threshold: float | None
    occurrences: int
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class RuleChange:
    """What to change of a rule; None leaves a field as it is."""

    enabled: bool | None = None
    severity: str | None = None
    message: str | None = None
    fire_value: float | None = None
    clear_value: float | None = None
    for_readings: int | None = None
    for_seconds: int | None = None
    silence_intervals: float | None = None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a tenant's webhooks go, without the secret."""

    id: int
    tenant_id: int
    url: str
    description: str
    state: str  # enabled or disabled
    disabled_reason: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt at delivering a message. Outcomes: delivered, failed, refused (by our guard), gone (410)."""

    id: int
    tenant_id: int
    endpoint_id: int
    message_id: str
    alert_id: int
    attempt: int
    at: datetime
    outcome: str
    status: int | None
    duration_ms: int
    answer: str


class RefusedUrl(ValueError):
    """No webhook can go there; the message says why, in French."""


class RefusedRule(ValueError):
    """No rule can be like this; the message says why, in French."""


def check_url(url: str) -> str:
    """`url` itself; where it may lead is checked at each connection (`core.runtime.guard`).

    Raises:
        RefusedUrl: not an absolute http or https address of at most 2,000 characters without credentials.
    """
    if len(url) > URL_MOST or not url.isprintable() or " " in url:
        raise RefusedUrl("l'adresse a plus de 2 000 caractères, ou des caractères interdits")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as malformed:
        raise RefusedUrl("l'adresse est mal formée") from malformed
    if parts.scheme not in ("http", "https") or not host or port == 0:
        raise RefusedUrl("l'adresse doit commencer par https:// ou http:// et nommer un hôte")
    if parts.username is not None or parts.password is not None:
        raise RefusedUrl("l'adresse ne doit contenir ni nom d'utilisateur ni mot de passe")
    return url


async def create_default_rules(connection: Connection | Pool, tenant_id: int) -> None:
    """The rules that every new tenant starts with, enabled; those it already has are left as they are."""
    await connection.execute(CREATE_DEFAULT_RULES, tenant_id)


async def list_rules(connection: Connection | Pool) -> list[Rule]:
    """Every visible rule, by name."""
    return [entity(Rule, row) for row in await connection.fetch(LIST_RULES)]


async def read_rule(connection: Connection | Pool, rule_id: int) -> Rule | None:
    """One rule."""
    row = await connection.fetchrow(READ_RULE, rule_id)
    return None if row is None else entity(Rule, row)


async def update_rule(connection: Connection | Pool, rule_id: int, change: RuleChange) -> Rule | None:
    """The rule after the change, live on every replica within 5 s; None when there is no such rule.

    The caller's transaction is undone when it raises; the table's own checks raise PostgresError.

    Raises:
        RefusedRule: an unknown severity, or an alert that would end beyond the value that opens it.
    """
    if change.severity is not None and change.severity not in SEVERITIES:
        raise RefusedRule(f"la gravité est {', '.join(SEVERITIES)}, et non {change.severity}")
    row = await connection.fetchrow(
        UPDATE_RULE,
        rule_id,
        change.enabled,
        change.severity,
        change.message,
        change.fire_value,
        change.clear_value,
        change.for_readings,
        change.for_seconds,
        change.silence_intervals,
    )
    if row is None:
        return None
    rule = entity(Rule, row)
    if overlaps(rule):
        raise RefusedRule("le seuil de retour à la normale est au-delà du seuil de déclenchement")
    return rule


async def list_alerts(
    connection: Connection | Pool,
    *,
    workflow: Sequence[str] | None = None,
    asset_id: int | None = None,
    before: int | None = None,
    most: int = 100,
) -> list[Alert]:
    """Visible alerts, newest first; `workflow` keeps those of these states, `before` is the last id of a page."""
    states = None if workflow is None else list(workflow)
    return [entity(Alert, row) for row in await connection.fetch(LIST_ALERTS, states, asset_id, before, most)]


async def read_alert(connection: Connection | Pool, alert_id: int) -> Alert | None:
    """One alert as it stands."""
    row = await connection.fetchrow(READ_ALERT, alert_id)
    return None if row is None else entity(Alert, row)


async def acknowledge(connection: Connection | Pool, alert_id: int, by: str) -> Alert | None:
    """The alert after `by` took it on; one that is acknowledged or resolved already stays as it is."""
    await connection.execute(ACKNOWLEDGE, alert_id, by)
    return await read_alert(connection, alert_id)


async def create_endpoint(
    connection: Connection | Pool, keys: KeyWrap, tenant_id: int, url: str, description: str = ""
) -> tuple[Endpoint, str]:
    """A new endpoint and its secret `whsec_...`, which is shown this once and kept wrapped.

    Raises:
        RefusedUrl: see `check_url`.
    """
    secret = secrets.token_bytes(SECRET_OCTETS)
    row = await connection.fetchrow(
        CREATE_ENDPOINT, tenant_id, check_url(url), description, keys.wrap(secret), keys.kek_id
    )
    assert row is not None  # noqa: S101 - RETURNING of an INSERT.
    return entity(Endpoint, row), secret_text(secret)


def secret_text(secret: bytes) -> str:
    """A secret as Standard Webhooks writes it, for whoever verifies signatures."""
    return SECRET_PREFIX + base64.b64encode(secret).decode()


async def list_endpoints(connection: Connection | Pool) -> list[Endpoint]:
    """Every visible endpoint."""
    return [entity(Endpoint, row) for row in await connection.fetch(LIST_ENDPOINTS)]


async def read_endpoint(connection: Connection | Pool, endpoint_id: int) -> Endpoint | None:
    """One endpoint."""
    row = await connection.fetchrow(READ_ENDPOINT, endpoint_id)
    return None if row is None else entity(Endpoint, row)


async def set_endpoint_enabled(
    connection: Connection | Pool, endpoint_id: int, *, enabled: bool
) -> Endpoint | None:
    """Switch an endpoint off, or on again after it was disabled (by request, or because it answered 410)."""
    row = await connection.fetchrow(SET_ENABLED, endpoint_id, enabled)
    return None if row is None else entity(Endpoint, row)


async def delete_endpoint(connection: Connection | Pool, endpoint_id: int) -> bool:
    """Remove an endpoint with its attempts and all that waits for it; False when there is none."""
    return await connection.fetchval(DELETE_ENDPOINT, endpoint_id) is True


async def list_attempts(
    connection: Connection | Pool, endpoint_id: int, *, before: int | None = None, most: int = 100
) -> list[Attempt]:
    """Attempts at an endpoint, newest first; `before` is the last id of the former page."""
    return [entity(Attempt, row) for row in await connection.fetch(LIST_ATTEMPTS, endpoint_id, before, most)]
