"""SQL of webhook endpoints for the API; row security bounds every statement."""

import base64
import re
import secrets
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit
from uuid import uuid4

from alerting.addresses import stored_url
from alerting.mail import MAILTO
from alerting.message_formats import EMAIL, STANDARD
from core.runtime.postgres import Connection, Pool
from registry.keys import KeyWrap, row_owner
from registry.rows import columns_of, fetch_all, fetch_one, insert

SECRET_OCTETS = 32
SECRET_PREFIX = "whsec_"  # noqa: S105 - The prefix that Standard Webhooks gives every secret.
URL_MOST = 2000
EVENTS, MEASUREMENTS = "events", "measurements"
# RFC 5321 as people use it; a mail server has the last word.
ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})+")
ADDRESS_MOST = 254


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a tenant's webhooks go, without the secret."""

    id: int
    tenant_id: int
    url: str  # mailto:... when the form is email; where it is a password, its host.
    form: str  # See alerting.message_formats.
    description: str
    state: str  # enabled, disabled, or unproved: see alerting.proof.
    disabled_reason: str | None
    previous_until: datetime | None  # Until then messages are signed with the former secret, too.
    for_operator: bool  # Of the network's operator: it gets warnings, and no alerts.
    purpose: str  # events, or measurements: what webhooks of measurements send there, and nothing else.
    gone_at: datetime | None  # Its first answer 410 since it last took a message.
    proved_at: datetime | None
    proof_until: datetime | None  # Until then the challenge or code that was sent last holds.
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt at delivering a message. Outcomes: delivered, failed, refused (by our own guard), gone (410)."""

    id: int
    tenant_id: int
    endpoint_id: int
    message_id: str
    alert_id: int  # 0: a message that is about no single alert.
    attempt: int
    at: datetime
    outcome: str
    status: int | None
    duration_ms: int
    answer: str
    next_at: datetime | None  # When the next one is due.
    trace_id: str | None  # The `traceparent` that it was sent under (W3C Trace Context), 32 hexadecimal digits.


ENDPOINT_COLUMNS = columns_of(Endpoint)
CREATE_ENDPOINT = f"""
INSERT INTO webhook_endpoint (tenant_id, url, description, secret_wrapped, kek_id, sealed_for, form, url_wrapped,
                              purpose, state, proved_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 'unproved', NULL)
RETURNING {ENDPOINT_COLUMNS}
"""
FIND_ADDRESS = "SELECT id FROM webhook_endpoint WHERE form = 'email' AND lower(url) = lower($1) AND tenant_id = $2"
LIST_ENDPOINTS = f"SELECT {ENDPOINT_COLUMNS} FROM webhook_endpoint ORDER BY id"
READ_ENDPOINT = f"SELECT {ENDPOINT_COLUMNS} FROM webhook_endpoint WHERE id = $1"
SET_ENABLED = f"""
UPDATE webhook_endpoint SET
       state = CASE WHEN NOT $2 THEN 'disabled' WHEN proved_at IS NULL THEN 'unproved' ELSE 'enabled' END,
       disabled_reason = CASE WHEN $2 THEN NULL ELSE 'suspendue à la demande' END, gone_at = NULL,
       recovered_at = CASE WHEN $2 THEN now() ELSE recovered_at END
WHERE id = $1
RETURNING {ENDPOINT_COLUMNS}
"""
# A trigger makes it unproved.
SET_URL = f"""
UPDATE webhook_endpoint SET url = $2, url_wrapped = $3 WHERE id = $1 RETURNING {ENDPOINT_COLUMNS}
"""
SET_FOR_OPERATOR = f"""
UPDATE webhook_endpoint SET for_operator = $2 WHERE id = $1 RETURNING {ENDPOINT_COLUMNS}
"""
# By table: whom a row's secret is sealed for, and what moves the former one aside.
RENEW = {
    "webhook_endpoint": (
        "SELECT sealed_for FROM webhook_endpoint WHERE id = $1",
        "SELECT rotate_webhook_secret($1, $2, $3, $4)",
    ),
    "event_source": (
        "SELECT sealed_for FROM event_source WHERE id = $1",
        "SELECT rotate_partner_secret($1, $2, $3, $4)",
    ),
}
DELETE_ENDPOINT = "DELETE FROM webhook_endpoint WHERE id = $1 RETURNING true"
LIST_ATTEMPTS = """
SELECT id, tenant_id, endpoint_id, message_id, alert_id, attempt, at, outcome, status, duration_ms, answer,
       next_at, encode(trace_id, 'hex') AS trace_id
FROM webhook_attempt
WHERE endpoint_id = $1 AND ($2::bigint IS NULL OR id < $2) AND ($4::text IS NULL OR message_id = $4)
ORDER BY id DESC LIMIT $3
"""


class RejectedUrl(ValueError):
    """No webhook can go there; the message says why, in French."""


def check_url(url: str) -> str:
    """`url` itself; where it may lead is checked at each connection (`core.runtime.http.guarded_client`).

    Raises:
        RejectedUrl: not an absolute http or https address of at most 2,000 characters without credentials.
    """
    if len(url) > URL_MOST or not url.isprintable() or " " in url:
        raise RejectedUrl("l'adresse a plus de 2 000 caractères, ou des caractères interdits")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as malformed:
        raise RejectedUrl("l'adresse est mal formée") from malformed
    if parts.scheme not in ("http", "https") or not host or port == 0:
        raise RejectedUrl("l'adresse doit commencer par https:// ou http:// et nommer un hôte")
    if parts.username is not None or parts.password is not None:
        raise RejectedUrl("l'adresse ne doit contenir ni nom d'utilisateur ni mot de passe")
    return url


async def create_endpoint(
    connection: Connection | Pool,
    keys: KeyWrap,
    tenant_id: int,
    url: str,
    description: str = "",
    form: str = STANDARD,
    purpose: str = EVENTS,
) -> tuple[Endpoint, str]:
    """A new endpoint and its secret `whsec_...`, which is shown this once and kept wrapped; it is to be proved.

    Raises:
        RejectedUrl: see `check_url`.
    """
    return await _create(connection, keys, tenant_id, check_url(url), description, form, purpose)


async def _create(
    connection: Connection | Pool,
    keys: KeyWrap,
    tenant_id: int,
    url: str,
    description: str,
    form: str,
    purpose: str = EVENTS,
) -> tuple[Endpoint, str]:
    secret, sealed_for = secrets.token_bytes(SECRET_OCTETS), uuid4()
    wrapped = keys.wrap(secret, row_owner("webhook_endpoint", sealed_for))
    shown, url_wrapped = stored_url(keys, sealed_for, form, url)
    values = tenant_id, shown, description, wrapped, keys.kek_id, sealed_for, form, url_wrapped, purpose
    return await insert(connection, Endpoint, CREATE_ENDPOINT, *values), secret_text(secret)


async def endpoint_of_address(
    connection: Connection, keys: KeyWrap, tenant_id: int, address: str
) -> tuple[int, bool]:
    """The endpoint of an e-mail address, made when the tenant has none, and whether it was.

    Its secret signs nothing.

    Raises:
        RejectedUrl: this is no address.
    """
    if not ADDRESS.fullmatch(address) or len(address) > ADDRESS_MOST:
        raise RejectedUrl("une adresse de courrier attendue, comme astreinte@collectivite.fr")
    url = MAILTO + address
    found = await connection.fetchval(FIND_ADDRESS, url, tenant_id)
    if found is not None:
        return found, False
    endpoint, _ = await _create(connection, keys, tenant_id, url, "", EMAIL)
    return endpoint.id, True


def secret_text(secret: bytes) -> str:
    """A secret as Standard Webhooks writes it, for a receiver that verifies signatures."""
    return SECRET_PREFIX + base64.b64encode(secret).decode()


async def renew_secret(
    connection: Connection | Pool, keys: KeyWrap, table: str, row_id: int, former_until: datetime
) -> str | None:
    """A new secret of a row of this table, which has a statement in `RENEW`; None when there is no such row."""
    read, rotate = RENEW[table]
    sealed_for = await connection.fetchval(read, row_id)
    if sealed_for is None:
        return None
    secret = secrets.token_bytes(SECRET_OCTETS)
    wrapped = keys.wrap(secret, row_owner(table, sealed_for))
    renewed = await connection.fetchval(rotate, row_id, wrapped, keys.kek_id, former_until)
    return secret_text(secret) if renewed else None


async def list_endpoints(connection: Connection | Pool) -> list[Endpoint]:
    """Every visible endpoint."""
    return await fetch_all(connection, Endpoint, LIST_ENDPOINTS)


async def read_endpoint(connection: Connection | Pool, endpoint_id: int) -> Endpoint | None:
    """One endpoint."""
    return await fetch_one(connection, Endpoint, READ_ENDPOINT, endpoint_id)


async def set_endpoint_enabled(
    connection: Connection | Pool, endpoint_id: int, *, enabled: bool
) -> Endpoint | None:
    """Switch an endpoint off, or on again after it was disabled (by request, or after answering 410)."""
    return await fetch_one(connection, Endpoint, SET_ENABLED, endpoint_id, enabled)


async def set_url(connection: Connection, keys: KeyWrap, endpoint_id: int, form: str, url: str) -> Endpoint | None:
    """Give an endpoint another address of its form, which is to be proved.

    Raises:
        RejectedUrl: see `check_url`.
    """
    sealed_for = await connection.fetchval(RENEW["webhook_endpoint"][0], endpoint_id)
    shown, url_wrapped = stored_url(keys, sealed_for, form, check_url(url))
    return await fetch_one(connection, Endpoint, SET_URL, endpoint_id, shown, url_wrapped)


async def set_for_operator(
    connection: Connection | Pool, endpoint_id: int, *, for_operator: bool
) -> Endpoint | None:
    """Make an endpoint the operator's, which gets warnings and no alerts, or the tenant's again."""
    return await fetch_one(connection, Endpoint, SET_FOR_OPERATOR, endpoint_id, for_operator)


async def rotate_secret(
    connection: Connection | Pool, keys: KeyWrap, endpoint_id: int, former_until: datetime
) -> str | None:
    """A new secret `whsec_...`, shown this once; the former signs too until `former_until`. None: no endpoint."""
    return await renew_secret(connection, keys, "webhook_endpoint", endpoint_id, former_until)


async def delete_endpoint(connection: Connection | Pool, endpoint_id: int) -> bool:
    """Remove an endpoint with its attempts and all that waits for it; False when there is none."""
    return await connection.fetchval(DELETE_ENDPOINT, endpoint_id) is True


async def list_attempts(
    connection: Connection | Pool,
    endpoint_id: int,
    *,
    before: int | None = None,
    most: int = 100,
    message_id: str | None = None,
) -> list[Attempt]:
    """Attempts at an endpoint, of one message or of all, newest first; `before`: the former page's last id."""
    return await fetch_all(connection, Attempt, LIST_ATTEMPTS, endpoint_id, before, most, message_id)
