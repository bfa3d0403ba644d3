"""What a tenant has, as the lines of a file that the importer takes: no line of it changes anything."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.runtime.postgres import Connection
from registry.bulk_imports.cells import shown
from registry.bulk_imports.kinds import EVERY_KIND, ImportKind

AT_ONCE = 2_000
NUMBER = re.compile(r"-?[0-9.e+-]+")
# What has no reference is found again by its name.
ASSETS = """
SELECT a.id, a.kind, coalesce(a.external_reference, a.name) AS external_reference, a.name, a.commune, a.insee,
       a.street, a.quarter, a.latitude, a.longitude, a.tags, a.attributes, p.kind AS parent_kind,
       coalesce(p.external_reference, p.name) AS parent_reference
FROM asset a LEFT JOIN asset p ON p.id = a.parent_id
WHERE a.tenant_id = $1 AND ($2 = '*' OR a.kind = $2) AND a.id > $3 AND a.archived_at IS NULL ORDER BY a.id LIMIT $4
"""
DEVICES = """
SELECT d.id, d.dev_eui, d.join_eui, d.name, d.device_profile_id, p.name AS device_profile, d.lns_source_id,
       a.kind AS asset_kind, coalesce(a.external_reference, a.name) AS asset, s.position
FROM device d JOIN device_profile p ON p.id = d.device_profile_id
LEFT JOIN assignment s ON s.device_id = d.id AND upper_inf(s.during) LEFT JOIN asset a ON a.id = s.asset_id
WHERE d.tenant_id = $1 AND d.id > $2 AND d.archived_at IS NULL ORDER BY d.id LIMIT $3
"""
# By the name of a kind that holds no assets; $1: the tenant, $2: the id of the last row, $3: how many.
ROWS: Mapping[str, str] = {
    "devices": DEVICES,
    "gateways": """
SELECT id, encode(gateway_id, 'hex') AS gateway_id, name, site, latitude, longitude, antenna_gain, backhaul, sim,
       purchase_cost_eur, yearly_cost_eur
FROM gateway WHERE tenant_id = $1 AND id > $2 ORDER BY id LIMIT $3
""",
    "contacts": """
SELECT c.id, t.name AS team, substr(e.url, length('mailto:') + 1) AS email, c.name, c.rung,
       (c.after_seconds + 59) / 60 AS after_minutes
FROM contact c JOIN team t ON t.id = c.team_id JOIN webhook_endpoint e ON e.id = c.webhook_endpoint_id
WHERE c.tenant_id = $1 AND e.form = 'email' AND c.id > $2 ORDER BY c.id LIMIT $3
""",
    "rules": """
SELECT r.id, r.name, r.kind, r.quantity, r.severity::text AS severity, r.message, r.enabled, r.asset_kinds, r.tags,
       r.fire_op, r.fire_value, r.clear_op, r.clear_value, r.for_seconds, r.for_readings, t.name AS team,
       k.name AS calendar, jsonb_strip_nulls(jsonb_build_object(
           'series', r.series, 'scope', r.scope, 'fire_upper', r.fire_upper, 'clear_upper', r.clear_upper,
           'of_readings', r.of_readings, 'keep_firing_seconds', r.keep_firing_seconds,
           'clear_on_emptying', r.clear_on_emptying, 'silence_intervals', r.silence_intervals,
           'ladder', r.ladder, 'schedule', r.schedule, 'inhibits', r.inhibits, 'cadence', r.cadence,
           'reopen_after_seconds', r.reopen_after_seconds, 'judges_improbable', r.judges_improbable)) AS more
FROM alert_rule r LEFT JOIN team t ON t.id = r.team_id LEFT JOIN alert_calendar k ON k.id = r.calendar_id
WHERE r.tenant_id = $1 AND r.id > $2 ORDER BY r.id LIMIT $3
""",
    "weather-days": """
SELECT id, station, day, tn, tx, source FROM weather_day WHERE tenant_id = $1 AND id > $2 ORDER BY id LIMIT $3
""",
    "weighings": """
SELECT id, ticket, stream, weighed_at, net_kg, round_id AS round FROM weighing WHERE tenant_id = $1 AND id > $2
ORDER BY id LIMIT $3
""",
    "commune-outlines": """
SELECT id, insee, name, borders::text[] AS borders, border_parts
FROM commune_outline WHERE tenant_id = $1 AND id > $2 ORDER BY id LIMIT $3
""",
}


@dataclass(frozen=True, slots=True)
class ExportedRow:
    """One line of an export, behind which the next ones are asked for."""

    id: int
    cells: list[str]


def at_once(kind: ImportKind) -> int:
    """How many lines are read at once: outlines are long."""
    return 100 if kind.has_outlines else AT_ONCE


async def read_rows(connection: Connection, tenant_id: int, kind: ImportKind, after: int) -> list[ExportedRow]:
    """Up to `at_once` lines, by id, beyond `after`."""
    if kind.asset_kind:
        rows = await connection.fetch(ASSETS, tenant_id, kind.asset_kind, after, AT_ONCE)
    else:
        rows = await connection.fetch(ROWS[kind.name], tenant_id, after, at_once(kind))
    return [ExportedRow(row["id"], _cells(kind, dict(row))) for row in rows]


def _cells(kind: ImportKind, row: Mapping[str, Any]) -> list[str]:
    values = dict(row) | (dict(row.get("attributes") or {}) if kind.asset_kind != EVERY_KIND else {})
    if kind.asset_kind == EVERY_KIND:
        values["parent"] = row["parent_reference"]
    if kind.has_outlines:
        values["geometry"] = {
            "type": "MultiPolygon",
            "coordinates": _polygons(row["borders"], row["border_parts"]),
        }
    for column in kind.columns:
        if column.parent:
            values[column.name] = row["parent_reference"] if row["parent_kind"] == column.parent else None
    return ["" if column.is_secret else shown(values.get(column.name)) for column in kind.columns]


def _polygons(borders: Sequence[str] | None, parts: Sequence[int] | None) -> list[Any]:
    """The polygons of GeoJSON, from PostgreSQL's rings in millionths of a degree."""
    polygons = dict[int, list[Any]]()
    for ring, part in zip(borders or (), parts or (), strict=True):
        numbers = [round(float(one) / 1e6, 6) for one in NUMBER.findall(ring)]
        polygons.setdefault(abs(part), []).append([[x, y] for x, y in _pairs(numbers)])
    return list(polygons.values())


def _pairs(numbers: Sequence[float]) -> Iterator[tuple[float, float]]:
    """Two by two."""
    return zip(numbers[::2], numbers[1::2], strict=True)
