"""Kits in the database: templates by version, what was commissioned of them, and how it is received."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from core.runtime.postgres import Connection
from registry.rows import fetch_all, fetch_one, insert

TEMPLATE_COLUMNS = "id, tenant_id, name, version, description, items, rules, created_at, created_by, retired_at"
# The last version of each name that is not retired, or that is; with a name, every version of it.
LIST_TEMPLATES = f"""
SELECT {TEMPLATE_COLUMNS} FROM (
    SELECT t.*, row_number() OVER (PARTITION BY name ORDER BY version DESC) AS age FROM kit_template t
    WHERE $1::text IS NULL OR name = $1) AS t
WHERE (age = 1 AND (retired_at IS NOT NULL) = $2::boolean) OR $1 IS NOT NULL ORDER BY name, version DESC
"""
READ_TEMPLATE = f"SELECT {TEMPLATE_COLUMNS} FROM kit_template WHERE id = $1"
CREATE_TEMPLATE = f"""
INSERT INTO kit_template (tenant_id, name, version, description, items, rules, created_by)
SELECT $1, $2, 1 + coalesce(max(version), 0), $3, $4, $5, $6 FROM kit_template WHERE tenant_id = $1 AND name = $2
RETURNING {TEMPLATE_COLUMNS}
"""
# All versions of its name: they are one kit.
RETIRE_TEMPLATE = f"""
UPDATE kit_template SET retired_at = CASE WHEN $3::boolean THEN coalesce(retired_at, now()) END
WHERE tenant_id = $1 AND name = $2 RETURNING {TEMPLATE_COLUMNS}
"""
COMMISSIONING_COLUMNS = """c.id, c.tenant_id, c.template_id, t.name AS template, t.version, c.site, c.created_at,
c.created_by, c.accepted_at, c.accepted_by, c.reservations"""
OF_COMMISSIONINGS = "kit_commissioning c JOIN kit_template t ON t.id = c.template_id"
LIST_COMMISSIONINGS = f"""
SELECT {COMMISSIONING_COLUMNS} FROM {OF_COMMISSIONINGS}
WHERE $1::int IS NULL OR c.id < $1 ORDER BY c.id DESC LIMIT $2
"""
READ_COMMISSIONING = f"SELECT {COMMISSIONING_COLUMNS} FROM {OF_COMMISSIONINGS} WHERE c.id = $1"
CREATE_COMMISSIONING = """
INSERT INTO kit_commissioning (tenant_id, template_id, site, created_by) VALUES ($1, $2, $3, $4) RETURNING id
"""
ADD_ITEM = """
INSERT INTO kit_item (commissioning_id, tenant_id, place, item, asset_id, device_id)
VALUES ($1, $2, $3, $4, $5, $6)
"""
ACCEPT = """
UPDATE kit_commissioning SET accepted_at = now(), accepted_by = $2, reservations = $3
WHERE id = $1 AND accepted_at IS NULL RETURNING true
"""
# Received since it was commissioned: its last uplink, how it was received best, by how many gateways.
LIST_ITEMS = """
SELECT i.place, i.item, i.asset_id, s.name AS asset, s.kind AS asset_kind, s.latitude, s.longitude, d.dev_eui,
       d.name AS device, p.model AS model, u.received_at AS seen_at, r.rssi, r.snr, r.gateways, r.gateway_id,
       r.gateway, f.id AS photo_id
FROM kit_item i JOIN kit_commissioning c ON c.id = i.commissioning_id
LEFT JOIN asset s ON s.id = i.asset_id
LEFT JOIN device d ON d.id = i.device_id
LEFT JOIN device_profile p ON p.id = d.device_profile_id
LEFT JOIN LATERAL (
    SELECT time, uplink_id, received_at FROM uplink u
    WHERE u.device_id = i.device_id AND u.time >= c.created_at - interval '1 hour'
    ORDER BY time DESC LIMIT 1) AS u ON true
LEFT JOIN LATERAL (
    SELECT max(r.rssi) AS rssi, max(r.snr) AS snr, count(DISTINCT r.gateway_id)::int AS gateways,
           (array_agg(g.gateway_id ORDER BY r.rssi DESC))[1] AS gateway_id,
           (array_agg(g.name ORDER BY r.rssi DESC))[1] AS gateway
    FROM reception r LEFT JOIN gateway g ON g.id = r.gateway_id
    WHERE r.device_id = i.device_id AND r.time = u.time AND r.uplink_id = u.uplink_id) AS r ON true
LEFT JOIN LATERAL (
    SELECT id FROM asset_photo f WHERE f.asset_id = i.asset_id ORDER BY id DESC LIMIT 1) AS f ON true
WHERE i.commissioning_id = $1 ORDER BY i.place
"""


@dataclass(frozen=True, slots=True)
class KitTemplate:
    """One version of a template: what devices, on what assets, and the rules that watch them."""

    id: int
    tenant_id: int
    name: str
    version: int
    description: str
    items: tuple[dict[str, Any], ...]
    rules: tuple[dict[str, Any], ...]
    created_at: datetime
    created_by: str
    retired_at: datetime | None


@dataclass(frozen=True, slots=True)
class Commissioning:
    """A kit on a site, until it is accepted."""

    id: int
    tenant_id: int
    template_id: int
    template: str
    version: int
    site: str
    created_at: datetime
    created_by: str
    accepted_at: datetime | None
    accepted_by: str | None
    reservations: str


@dataclass(frozen=True, slots=True)
class CommissionedItem:
    """A device of a kit with its asset; `seen_at` None: expected, nothing was received of it yet."""

    place: int
    item: str
    asset_id: int | None
    asset: str | None
    asset_kind: str | None
    latitude: float | None
    longitude: float | None
    dev_eui: bytes | None
    device: str | None
    model: str | None
    seen_at: datetime | None
    rssi: float | None  # Of the gateway that received it best.
    snr: float | None
    gateways: int | None
    gateway_id: bytes | None
    gateway: str | None
    photo_id: int | None


async def list_templates(
    connection: Connection, name: str | None = None, *, retired: bool = False
) -> list[KitTemplate]:
    """The last version of every template in use, or of every retired one; or all versions of one's."""
    return await fetch_all(connection, KitTemplate, LIST_TEMPLATES, name, retired)


async def retire_template(connection: Connection, template: KitTemplate, *, retired: bool) -> KitTemplate | None:
    """This version after all of its name were retired, or are in use again."""
    given = template.tenant_id, template.name, retired
    rows = await fetch_all(connection, KitTemplate, RETIRE_TEMPLATE, *given)
    return next((row for row in rows if row.id == template.id), None)


async def read_template(connection: Connection, template_id: int) -> KitTemplate | None:
    """One version of a template."""
    return await fetch_one(connection, KitTemplate, READ_TEMPLATE, template_id)


async def create_template(
    connection: Connection,
    tenant_id: int,
    name: str,
    description: str,
    items: Sequence[dict[str, Any]],
    rules: Sequence[dict[str, Any]],
    by: str,
) -> KitTemplate:
    """The next version of the template of this name, the first of a new one."""
    values = tenant_id, name, description, list(items), list(rules), by
    return await insert(connection, KitTemplate, CREATE_TEMPLATE, *values)


async def create_commissioning(
    connection: Connection, tenant_id: int, template_id: int, site: str, by: str
) -> int:
    """Its id, without items yet."""
    return await connection.fetchval(CREATE_COMMISSIONING, tenant_id, template_id, site, by)


async def add_item(
    connection: Connection,
    tenant_id: int,
    commissioning_id: int,
    place: int,
    item: str,
    asset_id: int,
    device_id: int,
) -> None:
    """One device and its asset."""
    await connection.execute(ADD_ITEM, commissioning_id, tenant_id, place, item, asset_id, device_id)


async def list_commissionings(connection: Connection, before: int | None, most: int) -> list[Commissioning]:
    """The kits that were commissioned, the last first."""
    return await fetch_all(connection, Commissioning, LIST_COMMISSIONINGS, before, most)


async def read_commissioning(connection: Connection, commissioning_id: int) -> Commissioning | None:
    """One of them."""
    return await fetch_one(connection, Commissioning, READ_COMMISSIONING, commissioning_id)


async def list_items(connection: Connection, commissioning_id: int) -> list[CommissionedItem]:
    """Its devices in the template's sequence, with how each was received last."""
    return await fetch_all(connection, CommissionedItem, LIST_ITEMS, commissioning_id)


async def accept(connection: Connection, commissioning_id: int, by: str, reservations: str) -> bool:
    """Accept it, with what is still missing; False when it has been accepted."""
    return await connection.fetchval(ACCEPT, commissioning_id, by, reservations) is True
