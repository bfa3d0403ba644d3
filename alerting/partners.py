"""Signed events of partners' systems that open and end alerts, each applied once.

Each kind of alarm of a source is a rule of kind `partner`, created by the first such alarm; it may be adjusted or
switched off as any other. The engine notifies about these alerts and ends them (see `0033_partner_events.sql`).
"""

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import uuid4

from standardwebhooks import Webhook, WebhookVerificationError

from alerting.alert_rows import read_subject
from alerting.engine_store import About
from alerting.store import SECRET_OCTETS, renew_secret, secret_text
from alerting.wording import partner_text
from core.runtime.postgres import Connection, Pool
from lorawan.crypto import WrongKek
from registry.entering import ByEventSource
from registry.keys import KeyWrap, row_owner
from registry.rows import entity, fetch_all, fetch_one
from registry.vouching import vouched

KINDS_MOST = 50
MESSAGE_ID_MOST = 200
# So many alarms of a kind may be open at once; a system that invents names fills no table.
OPEN_MOST = 500
SOURCE_COLUMNS = "id, tenant_id, name, team_id, purpose, enabled, previous_until, last_event_at, created_at"
CREATE_SOURCE = f"""
INSERT INTO event_source (tenant_id, name, team_id, secret_wrapped, kek_id, sealed_for, signing_sha256, purpose)
SELECT $1, $2, $3, $4, $5, $6, $7, $8 WHERE $3::int IS NULL OR EXISTS (SELECT FROM team WHERE id = $3)
RETURNING {SOURCE_COLUMNS}
"""
LIST_SOURCES = f"SELECT {SOURCE_COLUMNS} FROM event_source ORDER BY name"
READ_SOURCE = f"SELECT {SOURCE_COLUMNS} FROM event_source WHERE id = $1"
SET_ENABLED = f"UPDATE event_source SET enabled = $2 WHERE id = $1 RETURNING {SOURCE_COLUMNS}"
DELETE_SOURCE = "DELETE FROM event_source WHERE id = $1 RETURNING true"
SIGN_BY = "SELECT sign_by($1, $2)"
READ_SENDER = "SELECT tenant_id, name, team_id, secrets_wrapped, sealed_for FROM partner_secrets($1)"
READ_PURPOSE = "SELECT purpose FROM event_source WHERE id = $1"
TAKE = "SELECT take_partner_event($1, $2)"
FIND_RULE = "SELECT id FROM alert_rule WHERE tenant_id = $1 AND name = $2 AND kind = 'partner'"
COUNT_RULES = """
SELECT count(*) FROM alert_rule WHERE tenant_id = $1 AND kind = 'partner' AND starts_with(name, $2)
"""
ADD_RULE = """
INSERT INTO alert_rule (tenant_id, name, kind, severity, message, team_id)
VALUES ($1, $2, 'partner', $3::alert_severity, $4, $5) ON CONFLICT (tenant_id, name) DO NOTHING
"""
OWNS_ASSET = "SELECT EXISTS (SELECT FROM asset WHERE id = $1 AND tenant_id = $2)"
COUNT_OPEN = """
SELECT count(*) FROM alert
WHERE rule_id = $1 AND workflow NOT IN ('resolved', 'closed') AND subject IS DISTINCT FROM $2::text
"""
OPEN_ALERT = "SELECT open_partner_alert($1, $2, $3, $4, $5)"
CLEAR_ALERT = "SELECT clear_partner_alert($1, $2, $3)"


@dataclass(frozen=True, slots=True)
class Source:
    """A partner's system, without its secret."""

    id: int
    tenant_id: int
    name: str
    team_id: int | None
    purpose: str  # What it reports: alarms or work_orders, and nothing else.
    enabled: bool
    previous_until: datetime | None  # Until then the former secret signs, too.
    last_event_at: datetime | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Sender:
    """Who has signed a message."""

    source_id: int
    tenant_id: int
    name: str
    team_id: int | None
    proof: ByEventSource


@dataclass(frozen=True, slots=True)
class Alarm:
    """One event: an alarm of a kind begins, or is over, at an asset or nowhere in particular.

    `subject` is what the partner calls the thing: alarms of a kind with other subjects are other alerts.
    """

    kind: str
    is_over: bool
    message: str
    severity: str
    asset_id: int | None
    subject: str | None
    at: datetime


class NotSigned(Exception):
    """No source of this number has signed this message within the last minutes."""


class RejectedEvent(ValueError):
    """A message that is signed and cannot be accepted; the message says why, in French."""


async def create_source(
    connection: Connection,
    keys: KeyWrap,
    tenant_id: int,
    name: str,
    team_id: int | None,
    purpose: str = "alarms",
) -> tuple[Source, str] | None:
    """A new source and its secret `whsec_...`, shown this once; None when there is no such team."""
    secret, sealed_for = secrets.token_bytes(SECRET_OCTETS), uuid4()
    text = secret_text(secret)
    wrapped = keys.wrap(secret, row_owner("event_source", sealed_for))
    written = tenant_id, name, team_id, wrapped, keys.kek_id, sealed_for, _digest(text), purpose
    row = await connection.fetchrow(CREATE_SOURCE, *written)
    return None if row is None else (entity(Source, row), text)


def _digest(secret: str) -> bytes:
    """What proves that somebody has the secret, to a database that cannot open it."""
    return hashlib.sha256(secret.encode()).digest()


async def list_sources(connection: Connection | Pool) -> list[Source]:
    """Every source of the tenant."""
    return await fetch_all(connection, Source, LIST_SOURCES)


async def read_source(connection: Connection | Pool, source_id: int) -> Source | None:
    """One source."""
    return await fetch_one(connection, Source, READ_SOURCE, source_id)


async def set_enabled(connection: Connection, source_id: int, *, enabled: bool) -> Source | None:
    """Stop accepting a source's events, or accept them again."""
    return await fetch_one(connection, Source, SET_ENABLED, source_id, enabled)


async def rotate_secret(
    connection: Connection, keys: KeyWrap, source_id: int, former_until: datetime
) -> str | None:
    """A new secret `whsec_...`, shown this once; the former is taken until `former_until`. None: no source."""
    secret = await renew_secret(connection, keys, "event_source", source_id, former_until)
    if secret is not None:
        await connection.fetchval(SIGN_BY, source_id, _digest(secret))
    return secret


async def delete_source(connection: Connection, source_id: int) -> bool:
    """Remove a source; its rules and alerts stay."""
    return await connection.fetchval(DELETE_SOURCE, source_id) is True


async def verify(pool: Pool, keys: KeyWrap, source_id: int, headers: Mapping[str, str], body: bytes) -> Sender:
    """Who has signed `body`.

    Raises:
        NotSigned: nobody whom we know, or too long ago (five minutes).
    """
    async with vouched(pool) as connection:
        row = await connection.fetchrow(READ_SENDER, source_id)
    if row is None or len(headers.get("webhook-id", "")) > MESSAGE_ID_MOST:
        raise NotSigned
    owner = row_owner("event_source", row["sealed_for"])
    for wrapped in row["secrets_wrapped"]:
        secret = _signing_secret(keys, wrapped, owner, headers, body)
        if secret is not None:
            proof = ByEventSource(source_id, _digest(secret))
            return Sender(source_id, row["tenant_id"], row["name"], row["team_id"], proof)
    raise NotSigned


def _signing_secret(
    keys: KeyWrap, wrapped: bytes, owner: str, headers: Mapping[str, str], body: bytes
) -> str | None:
    try:
        secret = secret_text(keys.unwrap(wrapped, owner))
        Webhook(secret).verify(body, dict(headers), json_parse=False)
    except (WebhookVerificationError, WrongKek, ValueError, OverflowError, OSError):
        return None
    return secret


async def take_message(connection: Connection, sender: Sender, message_id: str, purpose: str) -> bool:
    """Whether this message has not been taken before; from the commit on it has.

    Raises:
        RejectedEvent: the source's secret is for something else.
    """
    if await connection.fetchval(READ_PURPOSE, sender.source_id) != purpose:
        raise RejectedEvent("cette source n'envoie pas d'événements de cette sorte (`purpose`)")
    return await connection.fetchval(TAKE, sender.source_id, message_id) is True


async def apply_event(connection: Connection, sender: Sender, message_id: str, alarm: Alarm) -> bool:
    """In a transaction of the sender's tenant: open or end its alert; False when this message was taken before.

    Raises:
        RejectedEvent: the asset is not the tenant's, or the source has too many alarms, or kinds of them.
    """
    if not await take_message(connection, sender, message_id, "alarms"):
        return False
    if alarm.asset_id is not None and not await connection.fetchval(OWNS_ASSET, alarm.asset_id, sender.tenant_id):
        raise RejectedEvent(f"actif {alarm.asset_id} introuvable")
    rule_id = await _rule_of(connection, sender, alarm)
    if rule_id is None:
        return True  # What never began has nothing to end.
    if alarm.is_over:
        await connection.fetchval(CLEAR_ALERT, rule_id, alarm.asset_id, alarm.subject)
        return True
    if await connection.fetchval(COUNT_OPEN, rule_id, alarm.subject) >= OPEN_MOST:
        raise RejectedEvent(f"{OPEN_MOST} alarmes de cette sorte sont déjà ouvertes")
    about = await read_subject(connection, sender.tenant_id, About(alarm.asset_id))
    text = partner_text(about, sender.name, alarm.subject, alarm.message, alarm.at)
    await connection.fetchval(OPEN_ALERT, rule_id, alarm.asset_id, alarm.subject, text, alarm.at)
    return True


async def _rule_of(connection: Connection, sender: Sender, alarm: Alarm) -> int | None:
    prefix = f"partner{sender.source_id}_"
    name = prefix + alarm.kind
    found = await connection.fetchval(FIND_RULE, sender.tenant_id, name)
    if found is not None or alarm.is_over:
        return found
    if await connection.fetchval(COUNT_RULES, sender.tenant_id, prefix) >= KINDS_MOST:
        raise RejectedEvent(f"cette source a déjà {KINDS_MOST} sortes d'alarmes")
    message = f"Alarme « {alarm.kind} » de {sender.name}"
    await connection.execute(ADD_RULE, sender.tenant_id, name, alarm.severity, message, sender.team_id)
    return await connection.fetchval(FIND_RULE, sender.tenant_id, name)
