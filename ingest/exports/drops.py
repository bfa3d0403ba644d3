"""Scheduled drops: what is due is asked for as an export, with the rights of who made the schedule.

Its file is put down whole: under a name of its own first, then renamed. Each step is a row first. Whoever goes on
after a crash finds how far the drop is, writes the file anew under the same name, and replaces no other file than
the drop's own.
"""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import structlog

from core.model.rights import effective_rights, rights_of
from core.runtime.errors import TargetFailure
from core.runtime.postgres import DATABASE_AWAY, Connection, Pool
from ingest.exports import folder, store
from ingest.exports import schedule_store as schedules
from ingest.exports.runner import DEFECT_TEXT, DENIED_TEXT
from ingest.exports.schedule_store import ExportDrop, ExportSchedule, Place, WrittenExport
from ingest.exports.store import STREAMS_MOST, Selection
from ingest.exports.timetable import file_name_of, next_due, previous_period
from lorawan.crypto import WrongKek
from registry.alert_requests import request_export_alert
from registry.audit import audit_personal_reads, write_audit
from registry.keys import KeyWrap

if TYPE_CHECKING:
    from core.runtime.sftp import SftpServer

# After the first attempt: two hours in all.
WAITS = tuple(timedelta(minutes=minutes) for minutes in (1, 2, 5, 10, 30, 60))
LOOK_EVERY = timedelta(seconds=1)
# Who answers slowly holds up three others at most.
AT_ONCE = 4
TEST_NAME = ".territoire-essai.part"
RIGHT_TEXT = "qui l'a demandé n'a plus le droit de gérer la collectivité"
NOTHING_TEXT = "aucun flux lisible ne correspond à ces filtres : un partage a peut-être pris fin"
WITHDRAWN_TEXT = "un droit sur une partie de ces mesures a été retiré pendant l'écriture"
THERE_TEXT = "un autre fichier nommé « {name} » est déjà là : rien n'est écrasé"
ACCEPT_TEXT = "comparez la clé de machine du serveur avec celle que donne son exploitant, puis acceptez-la"
SECRET_TEXT = "le mot de passe ou la clé ne s'ouvre plus : donnez-le de nouveau"  # noqa: S105 - A sentence.

log = structlog.get_logger()


class Target(Protocol):
    """Files of one folder, wherever it is; each raises TargetFailure."""

    async def has(self, name: str) -> bool:
        """Whether there is a file of this name."""
        ...

    async def write(self, name: str, octets: AsyncIterable[bytes]) -> None:
        """A new file, or another content of it."""
        ...

    async def place(self, name: str, final: str, *, replace: bool) -> None:
        """Give it its final name; one that has it goes, with `replace`."""
        ...

    async def remove(self, name: str) -> None:
        """It is gone, if we may."""
        ...


class _NotOurs(Exception):
    """Another process has the drop."""


class _FileGone(Exception):
    """The export's file is not whole any more: it is asked for again."""


class Dropper:
    """Goes on with the drops of every tenant; `runner` names this process, `root` is where folders are."""

    def __init__(self, pool: Pool, keys: KeyWrap, runner: str, root: Path | None) -> None:
        self._pool = pool
        self._keys = keys
        self._runner = runner
        self._root = root
        self._held: set[int] = set()
        self._claiming = asyncio.Lock()  # A row that this process holds is its own to take again.

    async def work(self) -> None:
        """Begin what is due, try the places that are to be tried, go on with what is under way.

        Raises one of DATABASE_AWAY: all goes on with the next call.
        """
        while await begin_due(self._pool):
            pass
        while await self.test_next():
            pass
        # What is to be looked at again a little later is so by the next call, however long this one takes.
        due, _ = await schedules.clock(self._pool)
        ended = await asyncio.gather(*(self._work_on(due) for _ in range(AT_ONCE)), return_exceptions=True)
        for failure in ended:
            if failure is not None:
                raise failure

    async def _work_on(self, due: datetime) -> None:
        while await self.drop_next(due):
            pass

    async def test_next(self) -> bool:
        """Try the next place that is to be tried; False when there is none."""
        schedule = await schedules.claim_test(self._pool)
        if schedule is None:
            return False
        reason: str | None = None
        seen: str | None = None
        try:
            place = await self._place_of(schedule.id)
            if place.target == "sftp":
                seen = await self._host_key_of(place)
            if schedule.waits_for_host_key:
                reason = ACCEPT_TEXT
            else:
                async with self._open(place) as target:
                    try:
                        await target.write(TEST_NAME, _once(b"essai\n"))
                    finally:
                        await target.remove(TEST_NAME)
        except TargetFailure as failure:
            reason = str(failure)
        await schedules.save_test(self._pool, schedule.id, reason, seen)
        log.info("export_place_tested", schedule=schedule.id, takes_files=reason is None)
        return True

    async def drop_next(self, due: datetime) -> bool:
        """Go on with the next drop that was due by then; False when there is none."""
        async with self._claiming:
            drop = await schedules.claim_drop(self._pool, self._runner, sorted(self._held), due)
            if drop is None:
                return False
            self._held.add(drop.id)
        try:
            await self._go_on(drop)
        except _NotOurs:
            log.info("export_drop_left", drop=drop.id)
        except _FileGone:
            await self._retry(drop, "waiting", "le fichier de l'export n'est plus entier : il est redemandé")
        except TargetFailure as failure:
            await self._retry(drop, "sending", str(failure), is_final=failure.is_final)
        except DATABASE_AWAY:
            raise
        except Exception:
            log.exception("export_drop_failed", drop=drop.id)
            await self._end(drop, DEFECT_TEXT)
        finally:
            self._held.discard(drop.id)
        return True

    async def _go_on(self, drop: ExportDrop) -> None:
        if drop.state == "waiting" or drop.export_id is None:
            await self._ask(drop)
            return
        file = await schedules.read_export_of(self._pool, drop.export_id)
        if file is None or file.state == "cancelled":
            raise _FileGone
        if file.state == "failed":
            await self._retry(drop, "waiting", file.reason or DEFECT_TEXT)
        elif file.state == "done":
            await self._send(drop, drop.export_id, file)
        elif not await schedules.look_again(self._pool, drop.id, self._runner, "writing", LOOK_EVERY):
            raise _NotOurs

    async def _ask(self, drop: ExportDrop) -> None:
        """Ask for the file, in a transaction that may read what who made the schedule may read now."""
        schedule = await schedules.read_schedule(self._pool, drop.schedule_id)
        if schedule is None:
            raise _NotOurs
        async with self._pool.acquire() as connection, connection.transaction():
            denied = await _denied(connection, schedule.id)
            streams = [] if denied else await store.choose_readable(connection, Selection(**schedule.selection))
            if streams and len(streams) <= STREAMS_MOST:
                await audit_personal_reads(
                    connection,
                    schedule.requested_by,
                    {"drop": drop.id, "schedule": schedule.name},
                    streams=streams,
                )
                job = await store.request_export(
                    connection,
                    schedule.tenant_id,
                    streams,
                    form=schedule.format,
                    is_spreadsheet=schedule.spreadsheet,
                    since=drop.since,
                    until=drop.until,
                    selection=schedule.selection,
                    requested_by=schedule.requested_by,
                    key_id=schedule.key_id,
                    person_id=schedule.person_id,
                    bucket=schedule.bucket,
                )
                if not await schedules.set_writing(connection, drop.id, self._runner, job.id, len(streams)):
                    raise _NotOurs
                return
        if denied:
            await self._end(drop, denied, stop=True)
        elif not streams:
            await self._end(drop, NOTHING_TEXT)
        else:
            await self._end(drop, f"plus de {STREAMS_MOST} flux correspondent : choisissez un type, une commune")

    async def _send(self, drop: ExportDrop, export_id: int, file: WrittenExport) -> None:
        async with self._pool.acquire() as connection, connection.transaction(readonly=True):
            denied = await _denied(connection, drop.schedule_id)
            is_readable = not denied and await schedules.is_readable(connection, export_id)
        if denied:
            await self._end(drop, denied, stop=True)
            return
        if not is_readable:
            await self._retry(drop, "waiting", WITHDRAWN_TEXT)
            return
        schedule = await schedules.read_schedule(self._pool, drop.schedule_id)
        if schedule is None or file.digest is None:
            raise _FileGone
        place = await self._place_of(schedule.id)
        async with self._open(place) as target:
            await self._put_down(target, schedule, drop, export_id, file.digest)
        await self._end(drop, None, file=file)

    async def _put_down(
        self, target: Target, schedule: ExportSchedule, drop: ExportDrop, export_id: int, digest: bytes
    ) -> None:
        """The file, and beside it its checksum, whole or not at all; no file but the drop's own is replaced."""
        name, checksum = drop.file_name, f"{drop.file_name}.sha256"
        part = f".{name}.{drop.id}.part"
        is_ours = drop.placed
        if is_ours is None:  # A rename was under way: it was done, if what was to be renamed is not there.
            is_ours = not await target.has(part)
        if not is_ours:
            await self._set_placed(drop, placed=False)
            for wanted in (name, checksum) if schedule.checksum_file else (name,):
                if await target.has(wanted):
                    raise TargetFailure(THERE_TEXT.format(name=wanted), is_final=True)
        sent = hashlib.sha256()
        try:
            await target.write(part, self._parts(drop, export_id, sent.update))
        except Exception:
            await target.remove(part)
            raise
        if sent.digest() != digest:
            await target.remove(part)
            raise _FileGone
        if not is_ours:
            await self._set_placed(drop, placed=None)
        await target.place(part, name, replace=is_ours)
        if schedule.checksum_file:
            beside = f".{checksum}.{drop.id}.part"
            await target.write(beside, _once(f"{digest.hex()}  {name}\n".encode()))
            await target.place(beside, checksum, replace=True)

    async def _parts(
        self, drop: ExportDrop, export_id: int, sent: Callable[[bytes], None]
    ) -> AsyncIterator[bytes]:
        number = 0
        while (part := await schedules.read_part(self._pool, export_id, number)) is not None:
            if not await schedules.hold(self._pool, drop.id, self._runner):
                raise _NotOurs
            sent(part)
            yield part
            number += 1

    async def _set_placed(self, drop: ExportDrop, *, placed: bool | None) -> None:
        if not await schedules.set_placed(self._pool, drop.id, self._runner, placed=placed):
            raise _NotOurs

    async def _retry(self, drop: ExportDrop, state: str, reason: str, *, is_final: bool = False) -> None:
        """Later, or, when that has no use or has been long enough, not at all."""
        if is_final or drop.attempts >= len(WAITS):
            await self._end(drop, reason)
            return
        await schedules.try_again(self._pool, drop.id, self._runner, state, reason, WAITS[drop.attempts])
        log.info("export_drop_waits", drop=drop.id, attempts=drop.attempts + 1)

    async def _end(
        self, drop: ExportDrop, reason: str | None, *, file: WrittenExport | None = None, stop: bool = False
    ) -> None:
        """With its receipt, a line of the audit, and where it has failed an alert request: one transaction."""
        async with self._pool.acquire() as connection, connection.transaction():
            schedule = await schedules.read_schedule(connection, drop.schedule_id)
            if schedule is None or not await schedules.end_drop(connection, drop, self._runner, reason, file):
                return
            if stop and reason is not None:
                await schedules.stop_schedule(connection, schedule.id, reason)
            if reason is not None:
                now, _ = await schedules.clock(connection)
                await request_export_alert(connection, drop.tenant_id, schedule.name, reason, now)
            details = {
                "on_behalf_of": schedule.requested_by,
                "file": drop.file_name,
                "from": drop.since.isoformat(),
                "to": drop.until.isoformat(),
                "reason": reason,
                "octets": None if file is None else file.octets,
            }
            await write_audit(
                connection, drop.tenant_id, "export", "export.drop", "export_schedule", schedule.id, details
            )
        log.info("export_drop_ended", drop=drop.id, done=reason is None)

    async def _place_of(self, schedule_id: int) -> Place:
        place = await schedules.read_place(self._pool, schedule_id)
        if place is None:
            raise _NotOurs
        return place

    async def _host_key_of(self, place: Place) -> str:
        from core.runtime import sftp  # noqa: PLC0415 - 22 MB, of who has such a schedule.

        return await sftp.read_host_key(self._server_of(place), sftp.AllowList.parse(place.webhook_allow_list))

    def _server_of(self, place: Place) -> "SftpServer":
        from core.runtime.sftp import SftpServer  # noqa: PLC0415 - As above.

        try:
            secret = place.secret(self._keys)
        except WrongKek:
            raise TargetFailure(SECRET_TEXT, is_final=True) from None
        is_password = place.authentication == "password"
        return SftpServer(
            place.host or "",
            place.port or 0,
            place.username or "",
            secret if is_password else None,
            None if is_password else secret,
        )

    @asynccontextmanager
    async def _open(self, place: Place) -> AsyncGenerator[Target]:
        if place.target == "folder":
            async with folder.open_folder(self._root, place.slug, place.directory) as target:
                yield target
            return
        from core.runtime import sftp  # noqa: PLC0415 - As above.

        if place.host_key is None:
            raise TargetFailure(ACCEPT_TEXT, is_final=True)
        allow = sftp.AllowList.parse(place.webhook_allow_list)
        async with sftp.open_folder(self._server_of(place), place.host_key, place.directory, allow) as target:
            yield target


async def begin_due(pool: Pool) -> bool:
    """Begin the drop of the next schedule that is due; False when none is."""
    async with pool.acquire() as connection, connection.transaction():
        schedule = await schedules.next_due_schedule(connection)
        if schedule is None:
            return False
        now, zone = await schedules.clock(connection)
        if schedule.covers == "previous":
            since, until = previous_period(schedule.timetable, schedule.next_at, zone)
        else:
            since, until = schedule.covered_until, schedule.next_at
        # Since the last one: while one is under way, it is not known what that is.
        is_known = schedule.covers == "previous" or not await schedules.has_open_drop(connection, schedule.id)
        if is_known and since < until:
            name = file_name_of(schedule.file_name, since, until, zone)
            await schedules.begin_drop(connection, schedule, since, until, name)
        # What was missed meanwhile is caught up, period by period; of what follows the last drop there is one.
        after = schedule.next_at if schedule.covers == "previous" else now
        await schedules.set_next(connection, schedule.id, next_due(schedule.timetable, after, zone))
    return True


async def _denied(connection: Connection, schedule_id: int) -> str | None:
    """Enter the schedule's tenant; why it may not go on, in French, or None."""
    roles, role = await schedules.enter_schedule(connection, schedule_id)
    if roles is None and role is None:
        return DENIED_TEXT
    rights = effective_rights(roles) if roles is not None else rights_of(role or "")
    return None if {"read", "manage"} <= rights else RIGHT_TEXT


async def _once(octets: bytes) -> AsyncIterator[bytes]:
    yield octets
