"""Sources of uplinks: other people's LNS, and systems of devices without LoRa."""

import hashlib
import hmac
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from core.runtime.postgres import Connection, Pool
from registry.downlinks import fail_of_source
from registry.keys import KeyWrap, row_owner
from registry.rows import Written, fetch_all, fetch_one

TOKEN_PREFIX = "lns"  # noqa: S105 - What a token begins with.
SECRET_OCTETS = 32
ID_DIGITS_MOST = 15

WRITTEN = Written("kind, name, mqtt_url, mqtt_topic, mqtt_user, downlink_url, downlink_user")
CREATE = f"""
INSERT INTO lns_source (tenant_id, transport, token_sha256, secret_wrapped, kek_id, sealed_for, {WRITTEN.columns})
VALUES ($1, $2, $3, $4, $5, $6, {WRITTEN.parameters(7)}) RETURNING id
"""
COLUMNS = """s.id, s.tenant_id, s.kind, s.transport, s.name, s.mqtt_url, s.mqtt_topic, s.mqtt_user,
s.downlink_url, s.downlink_user, s.enabled, s.authoritative, s.created_at, t.last_seen_at,
coalesce(t.accepted, 0) AS accepted, coalesce(t.ignored, 0) AS ignored, coalesce(t.refused, 0) AS refused,
t.last_error, t.last_error_at"""
STATE = "LEFT JOIN lns_source_state t ON t.source_id = s.id"
LIST = f"SELECT {COLUMNS} FROM lns_source s {STATE} ORDER BY s.id"
READ = f"SELECT {COLUMNS} FROM lns_source s {STATE} WHERE s.id = $1"
UPDATE = """
UPDATE lns_source SET enabled = coalesce($2, enabled), authoritative = coalesce($3, authoritative)
WHERE id = $1 RETURNING true
"""
COUNT_CARRIED = "SELECT count(*) FROM device WHERE lns_source_id = $1"
DELETE = "DELETE FROM lns_source WHERE id = $1 RETURNING true"
LIST_UNKNOWN = """
SELECT dev_eui, first_seen_at, last_seen_at, messages FROM lns_unknown_device
WHERE source_id = $1 ORDER BY last_seen_at DESC, dev_eui LIMIT $2
"""
READ_SECRETS = """
SELECT id, tenant_id, kind, transport, name, token_sha256, mqtt_url, mqtt_topic, mqtt_user, mqtt_client_id,
       secret_wrapped, kek_id, sealed_for, downlink_url, downlink_user,
       EXISTS (SELECT FROM device d WHERE d.lns_source_id = s.id)
           OR EXISTS (SELECT FROM downlink l WHERE l.slot = 16 AND l.lns_source_id = s.id
                      AND l.state IN ('queued', 'sending')) AS carries
FROM lns_source s WHERE enabled
"""


@dataclass(frozen=True, slots=True)
class SourceRow:
    """A source as its manager sees it, without its secrets, and how it is doing."""

    id: int
    tenant_id: int
    kind: str
    transport: str
    name: str
    mqtt_url: str | None
    mqtt_topic: str | None
    mqtt_user: str | None
    downlink_url: str | None
    downlink_user: str | None
    enabled: bool
    authoritative: bool
    created_at: datetime
    last_seen_at: datetime | None
    accepted: int
    ignored: int
    refused: int
    last_error: str | None
    last_error_at: datetime | None

    @property
    def path(self) -> str | None:
        """The path on intake's port to which it pushes, by HTTP."""
        return f"/lns/{self.id}" if self.transport == "http" else None


@dataclass(frozen=True, slots=True)
class UnknownDevice:
    """A device that is not registered and about which a source sends messages."""

    dev_eui: bytes
    first_seen_at: datetime
    last_seen_at: datetime
    messages: int


class SourceCarriesDevices(Exception):
    """Devices still get their downlinks by way of this source; `devices` counts them."""

    def __init__(self, devices: int) -> None:
        super().__init__(f"{devices} devices")
        self.devices = devices


@dataclass(frozen=True, slots=True)
class Source:
    """An enabled source as intake needs it."""

    id: int
    tenant_id: int
    kind: str
    transport: str
    name: str
    token_sha256: bytes | None
    mqtt_url: str | None
    mqtt_topic: str | None
    mqtt_user: str | None
    mqtt_client_id: str
    secret_wrapped: bytes | None
    kek_id: str | None
    sealed_for: UUID
    downlink_url: str | None
    downlink_user: str | None
    carries: bool
    """Whether devices get downlinks by way of it."""

    def secret(self, keys: KeyWrap) -> str | None:
        """The password at their broker or of their API, or the AS key.

        Raises:
            WrongKek: another key-encryption key sealed it, or for another row.
        """
        if self.secret_wrapped is None:
            return None
        return keys.unwrap_text(self.secret_wrapped, row_owner("lns_source", self.sealed_for))

    def opens_to(self, token: str) -> bool:
        """Whether this is the source's token, in constant time."""
        number, secret = parse_token(token)
        digest = hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()
        return hmac.compare_digest(digest, self.token_sha256 or b"") and number == self.id


def parse_token(token: str) -> tuple[int, str]:
    """The source's id and the secret of `lns_<id>_<secret>`; (0, "") for anything else."""
    prefix, _, rest = token.partition("_")
    number, _, secret = rest.partition("_")
    if prefix != TOKEN_PREFIX or not (number.isascii() and number.isdigit() and len(number) <= ID_DIGITS_MOST):
        return 0, ""
    return int(number), secret


async def create_source(
    connection: Connection, keys: KeyWrap, tenant_id: int, secret: str | None, source: Mapping[str, Any]
) -> tuple[int, str | None]:
    """A new source's id, and for HTTP its token, which is shown once: only its digest is kept.

    Of the columns in `WRITTEN`, `mqtt_...` are where its broker is (None: it sends by HTTP), `downlink_...` its
    HTTP API that takes downlinks and as whom (Wanesy's account, ThingPark's AS_ID).
    Raises UniqueViolationError when the tenant has a source of this name.
    """
    by_http = source.get("mqtt_url") is None
    sealed_for = uuid4()
    shown = secrets.token_urlsafe(SECRET_OCTETS) if by_http else None
    source_id = await connection.fetchval(
        CREATE,
        tenant_id,
        "http" if by_http else "mqtt",
        None if shown is None else hashlib.sha256(shown.encode()).digest(),
        *keys.wrap_secret(secret, row_owner("lns_source", sealed_for)),
        sealed_for,
        *WRITTEN.values(source, partial=True),
    )
    return source_id, None if shown is None else f"{TOKEN_PREFIX}_{source_id}_{shown}"


async def list_sources(connection: Connection) -> list[SourceRow]:
    """Every visible source, oldest first."""
    return await fetch_all(connection, SourceRow, LIST)


async def read_source(connection: Connection, source_id: int) -> SourceRow | None:
    """One source."""
    return await fetch_one(connection, SourceRow, READ, source_id)


async def update_source(
    connection: Connection, source_id: int, *, enabled: bool | None = None, authoritative: bool | None = None
) -> bool:
    """Suspend or resume, live within 5 s, or say whether it corrects others; False: there is no such source."""
    return await connection.fetchval(UPDATE, source_id, enabled, authoritative) is True


async def delete_source(connection: Connection, source_id: int) -> bool:
    """Remove the source: its token is valid no longer. False when there is none. The uplinks of it stay.

    Raises:
        SourceCarriesDevices: give its devices another source first.
    """
    carried = await connection.fetchval(COUNT_CARRIED, source_id)
    if carried:
        raise SourceCarriesDevices(carried)
    await fail_of_source(connection, source_id)
    return await connection.fetchval(DELETE, source_id) is True


async def list_unknown_devices(connection: Connection, source_id: int, *, most: int = 100) -> list[UnknownDevice]:
    """Devices that are not registered and about which this source sends messages, the last received first."""
    return await fetch_all(connection, UnknownDevice, LIST_UNKNOWN, source_id, most)


async def read_enabled_sources(connection: Connection | Pool) -> Sequence[Source]:
    """Every enabled source of every tenant, with its digests: for the services."""
    return await fetch_all(connection, Source, READ_SECRETS)
