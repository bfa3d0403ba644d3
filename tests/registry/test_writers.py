"""One writer a table: the modules that may write it in Python, and the functions of the database that do, too."""

import re
from pathlib import Path

import pytest

from core.runtime.postgres import connect

ROOT = Path(__file__).parents[2]
PRODUCT = ("core", "registry", "gateways", "network", "integrations", "ingest", "alerting", "lighting", "api")
PRODUCT += ("indicators", "services", "cli")
# Which files of the product may contain a statement that writes the table.
WRITERS = {
    "downlink": re.compile(r"registry/downlinks\.py"),
    "observation.quarantine": re.compile(r"registry/quarantine\.py|ingest/maintenance/pruning\.py"),
    "alert_request": re.compile(r"registry/alert_requests\.py"),
    "restore_drill": re.compile(r"cli/drill_rows\.py"),
    "outage": re.compile(r"registry/outages\.py"),
    "heartbeat": re.compile(r"registry/outages\.py"),
    "weather_day": re.compile(r"registry/weather_days\.py"),
    "weighing": re.compile(r"registry/weighings\.py"),
    "energy_baseline": re.compile(r"indicators/buildings/baseline_store\.py"),
    "cost_entry": re.compile(r"indicators/cost/store\.py"),
    "cost_statement": re.compile(r"indicators/cost/store\.py"),
    "waste_round": re.compile(r"indicators/waste/rounds/store\.py"),
    "waste_round_outcome": re.compile(r"indicators/waste/rounds/store\.py"),
    "waste_round_stop": re.compile(r"indicators/waste/rounds/store\.py"),
    "report": re.compile(r"(indicators/reports/store|alerting/report_dispatch)\.py"),
    "report_month": re.compile(r"indicators/reports/store\.py"),
    "report_sending": re.compile(r"alerting/report_dispatch\.py"),
    "observation.network_day": re.compile(r"indicators/network/store\.py"),
    "alert": re.compile(r"alerting/.*"),
    "alert_event": re.compile(r"alerting/.*"),
    "observation.fill_day": re.compile(r"indicators/waste/fill_day_store\.py"),
    "observation.emptying": re.compile(r"indicators/waste/fill_day_store\.py"),
    "alert_notice": re.compile(r"alerting/.*|ingest/maintenance/pruning\.py"),
}
WRITES = r"(?:insert\s+into|update|delete\s+from|merge\s+into|copy)\s+(?:only\s+)?(?:public\.)?{table}\b(?!\s*\.)"
# A function whose text writes the table, or that changes its rows before they are written.
FUNCTIONS = """
SELECT p.proname FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname = 'public' AND p.prosrc ~* $2
UNION
SELECT p.proname FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
WHERE t.tgrelid = $1::text::regclass AND NOT t.tgisinternal AND t.tgtype & 2 = 2
"""
LISTED = re.compile(r"^\| `(\w+)` \| `(\w+)` \| ", re.MULTILINE)


@pytest.mark.parametrize("table", WRITERS)
def test_a_table_is_written_by_its_writer_alone(table: str) -> None:
    writes = re.compile(WRITES.format(table=table), re.IGNORECASE)
    found = {
        file.relative_to(ROOT).as_posix()
        for folder in PRODUCT
        for file in (ROOT / folder).rglob("*.py")
        if writes.search(file.read_text("utf-8"))
    }

    assert found
    assert [name for name in sorted(found) if not WRITERS[table].fullmatch(name)] == []


@pytest.mark.parametrize("table", WRITERS)
async def test_functions_of_the_database_that_write_a_table_are_listed_in_the_docs(database, table: str) -> None:
    documented = LISTED.findall((ROOT / "docs/architecture.md").read_text("utf-8"))
    connection = await connect(database.admin_url)
    pattern = rf"(insert\s+into|update|delete\s+from|merge\s+into)\s+(only\s+)?(public\.)?{table}\M"
    found = {row["proname"] for row in await connection.fetch(FUNCTIONS, table, pattern)}
    await connection.close()

    assert {function for of_table, function in documented if of_table == table} == found
