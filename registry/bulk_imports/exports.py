"""What a tenant has, as the lines of a file that the importer takes: no line of it changes anything."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core.runtime.postgres import Connection
from registry.bulk_imports.cells import shown
from registry.bulk_imports.kinds import ImportKind

AT_ONCE = 2_000
# What has no reference is found again by its name.
ASSETS = """
SELECT a.id, coalesce(a.external_reference, a.name) AS external_reference, a.name, a.commune, a.insee, a.street,
       a.latitude, a.longitude, a.tags, a.attributes, p.kind AS parent_kind,
       coalesce(p.external_reference, p.name) AS parent_reference
FROM asset a LEFT JOIN asset p ON p.id = a.parent_id
WHERE a.tenant_id = $1 AND a.kind = $2 AND a.id > $3 AND a.archived_at IS NULL ORDER BY a.id LIMIT $4
"""
DEVICES = """
SELECT d.id, d.dev_eui, d.join_eui, d.name, d.device_profile_id, p.name AS device_profile, d.lns_source_id,
       a.kind AS asset_kind, coalesce(a.external_reference, a.name) AS asset, s.position
FROM device d JOIN device_profile p ON p.id = d.device_profile_id
LEFT JOIN assignment s ON s.device_id = d.id AND upper_inf(s.during) LEFT JOIN asset a ON a.id = s.asset_id
WHERE d.tenant_id = $1 AND d.id > $2 AND d.archived_at IS NULL ORDER BY d.id LIMIT $3
"""


@dataclass(frozen=True, slots=True)
class ExportedRow:
    """One line of an export, behind which the next ones are asked for."""

    id: int
    cells: list[str]


async def read_rows(connection: Connection, tenant_id: int, kind: ImportKind, after: int) -> list[ExportedRow]:
    """Up to `AT_ONCE` lines, by id, beyond `after`."""
    if kind.asset_kind:
        rows = await connection.fetch(ASSETS, tenant_id, kind.asset_kind, after, AT_ONCE)
    else:
        rows = await connection.fetch(DEVICES, tenant_id, after, AT_ONCE)
    return [ExportedRow(row["id"], _cells(kind, dict(row))) for row in rows]


def _cells(kind: ImportKind, row: Mapping[str, Any]) -> list[str]:
    values = dict(row) | dict(row.get("attributes") or {})
    for column in kind.columns:
        if column.parent:
            values[column.name] = row["parent_reference"] if row["parent_kind"] == column.parent else None
    return ["" if column.is_secret else shown(values.get(column.name)) for column in kind.columns]
