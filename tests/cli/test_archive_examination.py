"""What `doctor`, and so the alarm, says of the archive and of the restores that were tried."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cli.archive_examination import DRILLED_EVERY, OUTCOMES, examine_archive, examine_drills
from cli.findings import Severity
from cli.place import Place
from core.runtime.postgres import Pool
from ingest.maintenance.restore_drills import Drills

NOW = datetime(2026, 11, 28, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    ("age", "outcome", "was_ever_good", "severity"),
    [
        (timedelta(days=34), "good", True, Severity.GOOD),
        (timedelta(days=36), "good", True, Severity.CRITICAL),
        (timedelta(days=1), "counts_differ", True, Severity.CRITICAL),
        (timedelta(days=3), "", False, Severity.WARNING),
        (timedelta(days=36), "", False, Severity.CRITICAL),
    ],
)
def test_a_drill_that_failed_or_is_older_than_35_days_is_critical(
    age: timedelta, outcome: str, was_ever_good: bool, severity: Severity
) -> None:
    found = examine_drills(Drills(NOW - age, outcome, "devices : 3 au lieu de 4", was_ever_good), NOW)

    assert found.severity is severity
    assert timedelta(days=35) == DRILLED_EVERY


async def test_every_outcome_of_the_table_has_its_words(pool: Pool) -> None:
    text = await pool.fetchval(
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'restore_drill_outcome_check'"
    )

    assert {word for word in text.split("'") if word.isidentifier()} == OUTCOMES.keys() | {"good"}


async def test_nothing_is_said_of_a_database_that_archives_nothing(database_url: str, tmp_path: Path) -> None:
    assert await examine_archive(Place(tmp_path, database_url=database_url)) == []
