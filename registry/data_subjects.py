"""Dwellings, devices, people and contacts as data subjects: found, and what concerns each."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

from core.runtime.postgres import Connection
from registry.personal_data import Export
from registry.rows import columns_of, fetch_all, fetch_one

KINDS = ("asset", "device", "person", "contact")
PAGE = 1_000
# Of the tenant that was entered alone: what others share is theirs. Without a search only what is about people.
LIST = """
SELECT kind, id, label, detail FROM (
    SELECT 'asset' AS kind, a.id, a.name AS label,
           concat_ws(', ', a.kind, nullif(a.street, ''), nullif(a.commune, '')) AS detail
    FROM asset a WHERE a.tenant_id = current_tenant()
      AND ($1::text IS NOT NULL OR $2::text = 'asset' OR is_dwelling(a.kind) OR a.privacy_class = 2)
    UNION ALL
    SELECT 'device', d.id, d.name, encode(d.dev_eui, 'hex') FROM device d
    WHERE d.tenant_id = current_tenant() AND ($1 IS NOT NULL OR $2 = 'device')
    UNION ALL
    SELECT 'person', p.id, p.name, p.email FROM person p
    JOIN membership m ON m.person_id = p.id AND m.tenant_id = current_tenant() WHERE $3::boolean
    UNION ALL
    SELECT 'contact', c.id, c.name, t.name FROM contact c JOIN team t ON t.id = c.team_id
    WHERE c.tenant_id = current_tenant()) s
WHERE ($1 IS NULL OR strpos(folded(s.label || ' ' || s.detail), folded($1)) > 0) AND ($2 IS NULL OR s.kind = $2)
  AND (s.kind, s.id) > ($4::text, $5::int)
ORDER BY s.kind, s.id LIMIT $6
"""
READ_ASSET = "SELECT name FROM asset WHERE id = $1 AND tenant_id = current_tenant()"
READ_DEVICE = "SELECT name FROM device WHERE id = $1 AND tenant_id = current_tenant()"
READ_PERSON = """
SELECT p.name FROM person p JOIN membership m ON m.person_id = p.id AND m.tenant_id = current_tenant()
WHERE p.id = $1
"""
READ_CONTACT = "SELECT name FROM contact WHERE id = $1 AND tenant_id = current_tenant()"
READ_LABEL = {"asset": READ_ASSET, "device": READ_DEVICE, "person": READ_PERSON, "contact": READ_CONTACT}
# Whether it is about people, so that their own tenant erases it.
IS_PERSONAL = """
SELECT coalesce(bool_and(privacy_class = 2 OR is_dwelling(kind)), false) FROM asset WHERE id = ANY($1::int[])
"""


@dataclass(frozen=True, slots=True)
class Subject:
    """Somebody or something that data is about."""

    kind: str
    id: int
    label: str
    detail: str


@dataclass(frozen=True, slots=True)
class Scope:
    """What a subject consists of; the spans are of devices and datastreams that serve or were fed by others, too.

    `refusal`: `unknown`, or `of_others`: a person who works for another tenant as well.
    """

    refusal: str | None
    asset_ids: tuple[int, ...]
    device_ids: tuple[int, ...]
    datastream_ids: tuple[int, ...]
    alert_ids: tuple[int, ...]
    person_ids: tuple[int, ...]
    contact_ids: tuple[int, ...]
    endpoint_ids: tuple[int, ...]
    span_device_ids: tuple[int | None, ...]
    span_datastream_ids: tuple[int | None, ...]
    span_during: tuple[Any, ...]
    needles: tuple[str, ...]

    def values(self, export: Export) -> list[list[Any]]:
        """The parameters of a statement of `personal_data`."""
        return [list(getattr(self, name)) for name in export.parameters]


READ_SCOPE = f"SELECT {columns_of(Scope)} FROM subject_scope($1, $2, current_tenant())"


async def list_subjects(
    connection: Connection,
    *,
    search: str | None = None,
    kind: str | None = None,
    with_people: bool = False,
    after: tuple[str, int] = ("", 0),
    most: int = 100,
) -> list[Subject]:
    """Dwellings, people and contacts by kind and id, beyond `after`; when asked for also assets and devices."""
    return await fetch_all(connection, Subject, LIST, search, kind, with_people, *after, most)


async def read_label(connection: Connection, kind: str, subject_id: int) -> str | None:
    """Its name; None: the tenant has none of this id."""
    return await connection.fetchval(READ_LABEL[kind], subject_id)


async def read_scope(connection: Connection, kind: str, subject_id: int) -> Scope:
    """What it consists of, in the tenant that was entered."""
    found = await fetch_one(connection, Scope, READ_SCOPE, kind, subject_id)
    assert found is not None  # noqa: S101 - The function returns one row.
    return found


async def is_personal(connection: Connection, scope: Scope) -> bool:
    """Whether all its assets are dwellings, or of class 2; without any it is not."""
    return await connection.fetchval(IS_PERSONAL, list(scope.asset_ids))


async def count_rows(connection: Connection, scope: Scope, export: Export) -> int:
    """How many rows an export has."""
    return await connection.fetchval(f"SELECT count(*) FROM ({export.statement}) x", *scope.values(export))


async def each_row(connection: Connection, scope: Scope, export: Export) -> AsyncGenerator[dict[str, Any]]:
    """Its rows, page by page, in the caller's transaction."""
    async for row in connection.cursor(export.statement, *scope.values(export), prefetch=PAGE):
        yield dict(row)
