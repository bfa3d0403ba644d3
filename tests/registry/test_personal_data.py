"""The register of what refers to assets, devices, datastreams and people is the catalogue's."""

import re

from core.runtime.postgres import Connection, connect
from registry.personal_data import ERASED, FILES, NO_REFERENCE, STORES, Export

SUBJECTS = (
    "asset",
    "device",
    "datastream",
    "person",
    "contact",
    "alert",
    "downlink",
    "webhook_endpoint",
    "audit_line",
)
# Names under which tables refer to them, where no foreign key does; and texts that name people.
REFERS = re.compile(
    r"^((span_)?(asset|device|datastream|person|contact|alert|downlink|line)_ids?|dev_eui|email|account|principal|"
    r"actor|author|assignee|\w+_by|url|payload|facts|details|body|answer|data|memo)$"
)
READ_TABLES = """
SELECT CASE n.nspname WHEN 'public' THEN '' ELSE n.nspname || '.' END || c.relname AS name,
       array_agg(a.attname::text) AS columns,
       EXISTS (SELECT FROM pg_constraint f WHERE f.conrelid = c.oid AND f.contype = 'f'
               AND f.confrelid = ANY($1::text[]::regclass[])) AS has_key
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE n.nspname IN ('public', 'observation', 'jobs') AND c.relkind IN ('r', 'p')
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                  AND d.deptype = 'e')
GROUP BY n.nspname, c.relname, c.oid
"""


async def referring(connection: Connection) -> tuple[set[str], set[str]]:
    """Every table, and those that refer to somebody or something of theirs."""
    rows = await connection.fetch(READ_TABLES, list(SUBJECTS))
    found = {row["name"] for row in rows if row["has_key"] or any(map(REFERS.match, row["columns"]))}
    return {row["name"] for row in rows}, found | set(SUBJECTS)


async def test_every_table_that_refers_to_a_dwelling_or_a_person_says_what_becomes_of_it(database) -> None:
    connection = await connect(database.admin_url)
    await connection.execute(
        "CREATE TABLE forgotten_one (device_id int); CREATE TABLE by_key (x int REFERENCES asset)"
    )
    tables, found = await referring(connection)
    steps = {row[0] for row in await connection.fetch("SELECT DISTINCT relation FROM erasure_step")}
    await connection.execute("SET ROLE territoire_api")
    for store in STORES:
        if isinstance(store.export, Export):
            statement = await connection.prepare(store.export.statement)
            assert len(statement.get_parameters()) == len(store.export.parameters)
            await connection.execute(f"EXPLAIN (GENERIC_PLAN) {store.export.statement}")
    await connection.close()

    named = {store.name for store in STORES}
    assert found - named - NO_REFERENCE.keys() == {"forgotten_one", "by_key"}
    assert named - tables == set()
    assert NO_REFERENCE.keys() - tables == set()
    assert {store.name for store in STORES if store.erasure == ERASED} == steps
    assert all(store.term and store.erasure and store.export for store in (*STORES, *FILES))
    assert len(named) == len(STORES)
