"""Examines the archive of a database's log, and when a restore from it was last tried."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cli.database_report import examining
from cli.finding_kinds import Kind, Subject
from cli.findings import Finding, critical, good, warning
from cli.place import Place
from core.runtime.postgres import DATABASE_AWAY, Connection, PostgresError
from ingest.maintenance.restore_drills import Drills, read_drills
from services.supervisor.home import Home
from services.supervisor.pgbackrest import ARCHIVE_TIMEOUT_S, PgBackRest

# Something is written every few seconds, so that a segment ends every thirty: ten times that is no delay.
LATE_AFTER = timedelta(seconds=10 * ARCHIVE_TIMEOUT_S)
DRILLED_EVERY = timedelta(days=35)
READ_ARCHIVER = """
SELECT current_setting('archive_mode') <> 'off' AS archives, last_failed_wal,
       coalesce(last_failed_time > last_archived_time, last_failed_time IS NOT NULL) AS fails,
       greatest(last_archived_time, pg_postmaster_start_time()) AS since
FROM pg_stat_archiver
"""
OUTCOMES = {
    "counts_differ": "les comptes ne sont pas ceux de l'instant",
    "not_marked": "l'instant n'a pas pu être marqué, la base écrivait sans cesse",
    "not_archived": "le segment n'est pas arrivé dans l'archive",
    "no_room": "pas la place de restaurer à côté",
    "not_restored": "l'image ou le journal ne s'est pas restauré",
}
DRILL = "sudo systemctl start territoire-drill.service (ou ./territoire pitr drill), et lisez ce qu'il dit"


async def examine_archive(place: Place) -> list[Finding]:
    """Nothing where the database archives nothing, unless that is what a restore has left.

    Nothing either of a database that is away, late or of a schema of before: `examine_database` reports it.
    """
    if place.database_url is None:
        return []
    try:
        async with examining(place.database_url) as connection:
            return await _examine(connection, place)
    except (PostgresError, *DATABASE_AWAY):
        return []


async def _examine(connection: Connection, place: Place) -> list[Finding]:
    archiver = await connection.fetchrow(READ_ARCHIVER)
    assert archiver is not None  # noqa: S101 - The view has one row.
    if not archiver["archives"]:
        return _not_archiving(place)
    late = datetime.now(UTC) - archiver["since"]
    found: list[Finding] = []
    if late > LATE_AFTER or archiver["fails"]:
        what = f"le journal n'y arrive plus depuis {late.total_seconds() / 60:.0f} min"
        stuck = f" (bloqué à {archiver['last_failed_wal']})" if archiver["fails"] else ""
        remedy = (
            "ce qui est écrit depuis serait perdu avec la machine : l'accès au dépôt, sa place ; pourquoi : "
            "logs/postgres.log. Tant que cela dure, le journal s'accumule sur le disque de la base"
        )
        found.append(critical(Kind.ARCHIVE_LATE, f"{what}{stuck}", remedy))
    else:
        found.append(good(Subject.ARCHIVE, f"le journal y part toutes les {ARCHIVE_TIMEOUT_S} s"))
    return [*found, examine_drills(await read_drills(connection), datetime.now(UTC))]


def examine_drills(drills: Drills, now: datetime) -> Finding:
    """By the last one, and by the age of the last good one."""
    age = now - drills.good_at
    if drills.has_failed:
        why = OUTCOMES.get(drills.last_outcome, drills.last_outcome)
        return critical(Kind.DRILL_FAILED, f"le dernier a échoué : {why} ; {drills.last_detail}", DRILL)
    if age > DRILLED_EVERY:
        return critical(Kind.DRILL_OLD, f"aucun n'a réussi depuis {age.days} jours", DRILL)
    if not drills.was_ever_good:
        return warning(Kind.DRILL_NEVER, "aucun n'a encore été fait", DRILL)
    return good(Subject.DRILL, f"le dernier a réussi le {drills.good_at:%d/%m/%Y}")


def _not_archiving(place: Place) -> list[Finding]:
    repository = None if place.run is None else PgBackRest.beside(Home(Path(place.run.home)).postgres_data)
    if repository is None or not repository.is_configured:
        return []
    if repository.is_suspended:
        remedy = "./territoire pitr resume quand cette base remplace l'autre, puis redémarrez-la"
        return [warning(Kind.ARCHIVE_SUSPENDED, "suspendue depuis la restauration de cette base", remedy)]
    what = "configurée, mais la base tourne encore sans"
    return [warning(Kind.ARCHIVE_NOT_YET, what, "sudo systemctl restart territoire")]
