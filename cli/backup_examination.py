"""Examines the backups, by the manifests that `territoire backup` writes beside them."""

import shlex
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cli.backup import newest_backup, newest_manifest
from cli.database_report import examining
from cli.finding_kinds import Kind, Subject
from cli.findings import BACKUP_OLD, Finding, critical, good, warning
from cli.place import Place
from core.runtime.postgres import DATABASE_AWAY, PostgresError
from services.supervisor.home import Home

AHEAD_MOST = timedelta(hours=1)
READ_BORN_AT = "SELECT min(applied_at) FROM schema_migration"


async def examine_backups(folder: Path | None, place: Place) -> list[Finding]:
    """How old the newest one is; a new installation, whose first night is still to come, needs none yet."""
    if folder is None:
        return []
    newest = newest_backup(folder)
    now = datetime.now(UTC)
    if newest is not None:
        return [_examine_newest(newest, folder, now)]
    born_at = await _born_at(place)
    if born_at is not None and timedelta() <= now - born_at < BACKUP_OLD:
        return [good(Subject.BACKUP, f"pas encore : la première se fait la nuit qui vient, dans {folder}")]
    return [critical(Kind.BACKUP_NONE, f"aucune dans {folder}", _remedy(folder))]


async def _born_at(place: Place) -> datetime | None:
    """When this installation was started for the first time; None: nothing here says it."""
    if place.folder is not None and (started_at := Home(place.folder).first_held_at) is not None:
        return started_at
    if place.database_url is None:
        return None
    try:
        async with examining(place.database_url) as connection:
            return await connection.fetchval(READ_BORN_AT)
    except (PostgresError, *DATABASE_AWAY):
        return None


def _remedy(folder: Path) -> str:
    return f"./territoire backup {shlex.quote(str(folder))}, et voyez « systemctl status territoire-backup.timer »"


def _examine_newest(newest: datetime, folder: Path, now: datetime) -> Finding:
    age = now - newest
    if age < -AHEAD_MOST:
        what = f"la dernière est datée du {newest:%d/%m/%Y}, qui est à venir : rien ne dit plus si elles se font"
        return critical(Kind.BACKUP_AHEAD, what, f"mettez la machine à l'heure, puis {_remedy(folder)}")
    if age > BACKUP_OLD:
        what = f"la dernière a {age.total_seconds() / 3600:.0f} heures"
        return critical(Kind.BACKUP_OLD, what, _remedy(folder))
    last = newest_manifest(folder)
    if last is not None and last.goes_on_plain:
        return warning(
            Kind.BACKUP_PLAIN,
            "en clair, comme celles d'avant ; elles contiennent des données personnelles",
            "nommez une clé publique (TERRITOIRE_BACKUP_RECIPIENTS=age1…, docs/serveur.md), ou dites que c'est "
            "voulu (TERRITOIRE_BACKUP_PLAIN=true)",
        )
    return good(Subject.BACKUP, f"la dernière date du {newest:%d/%m/%Y à %H:%M} UTC")
