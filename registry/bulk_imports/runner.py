"""Runs bulk imports: each batch of lines is one transaction, with how far the job is in it.

After a crash a job goes on behind its last batch; a batch that was written twice would find that nothing is new.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from time import monotonic
from typing import Any

import structlog

from core.runtime.postgres import BAD_DATA, DATABASE_AWAY, Connection, Pool, UniqueViolationError
from lorawan.crypto import WrongKek
from registry.bulk_imports import devices, store, territory, weather, weighings
from registry.bulk_imports.files import Line, Table, UnreadableFile, read_table
from registry.bulk_imports.kinds import EVERY_KIND, KINDS, ImportKind, of_one_kind, read_columns
from registry.bulk_imports.plan import (
    NAMES_TOGETHER,
    Communes,
    KnownAsset,
    Plan,
    PlannedAsset,
    Reader,
    ReadLine,
    Rejection,
    Surroundings,
    plan_assets,
)
from registry.bulk_imports.rows import DoneLine, Place, Writers
from registry.bulk_imports.store import ImportJob
from registry.imports import Outcome
from registry.keys import KeyWrap

AT_ONCE = 1_000
DEVICES_AT_ONCE, OUTLINES_AT_ONCE = 200, 20
WRITERS: Writers = {
    "gateways": territory.write_gateways,
    "commune-outlines": territory.write_outlines,
    "weather-days": weather.write_weather_days,
    "weighings": weighings.write_weighings,
}
NO_WRITERS: Writers = {}
UNBOUNDED = 1_000_000
# After so long a job lets another tenant's go first, and is read again from its beginning to where it stood.
TURN_S = 30.0
DEFECT_TEXT = "le serveur n'a pas pu lire ce fichier jusqu'au bout ; ce qui est écrit le reste"
ROOM_TEXT = "quota d'actifs atteint : l'exploitant du réseau peut l'élever"

log = structlog.get_logger()


class NotOurs(Exception):
    """The job was cancelled, or another process has taken it."""


@dataclass(slots=True)
class Batch:
    """What became of the lines of one batch."""

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    rejections: list[Rejection] = field(default_factory=list[Rejection])

    @property
    def rejected(self) -> int:
        """Lines; one may have several reasons."""
        return len({one.line for one in self.rejections})

    def extend(self, other: "Batch") -> None:
        """What became of others, too."""
        self.created += other.created
        self.updated += other.updated
        self.unchanged += other.unchanged
        self.rejections += other.rejections


async def import_next(pool: Pool, keys: KeyWrap, runner: str, writers: Writers = NO_WRITERS) -> ImportJob | None:
    """Run the next job that no process has; None when there is none. `runner` names this process.

    `writers` write lines of kinds that are not the registry's.

    To its end, or until another tenant has waited long enough for its turn.

    Raises one of DATABASE_AWAY: the job goes on where it stands with the next call.
    """
    job = await store.claim_import(pool, runner)
    if job is None:
        return None
    log.info("import_began", job=job.id, kind=job.kind, reached=job.reached)
    try:
        is_done = await _Run(pool, keys, runner, job, {**WRITERS, **writers}).run()
    except NotOurs:
        log.info("import_left", job=job.id)
    except (UnreadableFile, WrongKek) as wrong:
        reason = str(wrong) if isinstance(wrong, UnreadableFile) else "une partie du fichier ne s'ouvre plus"
        await store.end_import(pool, job, runner, "failed", reason)
        log.info("import_failed", job=job.id, reason=type(wrong).__name__)
    except DATABASE_AWAY:
        raise
    except Exception as defect:  # noqa: BLE001 - Whatever a file brings up ends its own job, and no other.
        await store.end_import(pool, job, runner, "failed", DEFECT_TEXT)
        # Not what it says, which may quote a cell: a key stands in some.
        log.error("import_failed", job=job.id, reason=type(defect).__name__)
    else:
        if is_done:
            await store.end_import(pool, job, runner, "done")
            log.info("import_done", job=job.id)
        else:
            await store.give_way(pool, job.id, runner)
            log.info("import_gave_way", job=job.id)
    return job


class _Run:
    """One job, run by its owner."""

    def __init__(self, pool: Pool, keys: KeyWrap, runner: str, job: ImportJob, writers: Writers) -> None:
        self._pool = pool
        self._keys = keys
        self._runner = runner
        self._job = job
        self._writers = writers
        self._kind: ImportKind = KINDS[job.kind]
        self._communes = Communes()
        # Of a dry run, which takes no room: what it would have made.
        self._made = job.created if job.dry_run else 0

    async def run(self) -> bool:
        """Every line, from where the job stands; False when it gives way to another tenant's before its end.

        Raises:
            NotOurs: it was cancelled, or taken over.
            UnreadableFile: what follows cannot be read; what was read before is in.
        """
        job, kind = self._job, self._kind
        table = await self._read()
        if job.lines is None:
            await store.set_counted(self._pool, job.id, self._runner, table.count, table.header)
        reader = Reader(kind, table.header, read_columns(kind))
        lines = table.lines
        reader.remember(islice(lines, job.reached))
        if kind.asset_kind:
            self._communes = await store.read_communes(self._pool, job.tenant_id)
        reached = job.reached
        at_once = AT_ONCE if kind.asset_kind else OUTLINES_AT_ONCE if kind.has_outlines else DEVICES_AT_ONCE
        turn_ends = monotonic() + TURN_S
        for batch in _batches(lines, at_once):
            is_over = reached > job.reached and monotonic() >= turn_ends  # A batch at least.
            if is_over and await store.others_wait(self._pool, job.tenant_id):
                return False
            reached += len(batch)
            read, rejections = reader.read(batch)
            await self._commit(reader, read, rejections, reached)
        return True

    async def _read(self) -> Table:
        octets = await store.read_file(self._pool, self._keys, self._job.id)
        return read_table(octets, self._kind, self._job.format, self._job.coordinates)

    async def _commit(
        self, reader: Reader, read: Sequence[ReadLine], rejections: Sequence[Rejection], reached: int
    ) -> None:
        """These lines, and that they are done, in one transaction; a dry run takes back the former."""
        job = self._job
        async with self._pool.acquire() as connection, connection.transaction():
            if not await store.enter_import(connection, job.id, self._runner):
                raise NotOurs(f"import {job.id}")
            trying = connection.transaction()
            await trying.start()
            done = await self._write(connection, reader, read)
            if job.dry_run:
                await trying.rollback()
                self._made += done.created
            else:
                await trying.commit()
            done.rejections += rejections
            await store.record_rejections(connection, job, done.rejections)
            await store.record_progress(
                connection, job.id, reached, done.created, done.updated, done.unchanged, done.rejected
            )

    async def _write(self, connection: Connection, reader: Reader, read: Sequence[ReadLine]) -> Batch:
        if not read:
            return Batch()
        kind = self._kind
        if not kind.asset_kind:
            return _batch_of(reader, read, await self._write_rows(connection, [one.values for one in read]))
        if kind.asset_kind != EVERY_KIND:
            return await self._write_assets(connection, reader, read, kind)
        whole, parted = Batch(), dict[tuple[str, str], list[ReadLine]]()
        for one in read:
            parted.setdefault((one.values["kind"], one.values.get("parent_kind", "")), []).append(one)
        for asset_kind, parent_kind in parents_first(parted):
            lines = parted[asset_kind, parent_kind]
            one_kind = of_one_kind(kind, asset_kind, parent_kind)
            whole.extend(await self._write_assets(connection, reader, lines, one_kind))
        return whole

    async def _write_rows(self, connection: Connection, lines: Sequence[Mapping[str, Any]]) -> Sequence[DoneLine]:
        kind, tenant_id = self._kind, self._job.tenant_id
        room = await store.read_room(connection, kind.quota) - self._made if kind.quota else UNBOUNDED
        if kind.name == "devices":
            return await devices.import_devices(connection, self._keys, tenant_id, lines, room)
        return await self._writers[kind.name](Place(connection, self._keys, tenant_id, room), lines)

    async def _write_assets(
        self, connection: Connection, reader: Reader, read: Sequence[ReadLine], kind: ImportKind
    ) -> Batch:
        """Lines of one kind of asset."""
        there = await self._surroundings(connection, read, kind)
        return await self._write_plan(connection, reader, plan_assets(reader, read, there, kind), kind.asset_kind)

    async def _surroundings(
        self, connection: Connection, read: Sequence[ReadLine], kind: ImportKind
    ) -> Surroundings:
        """What is there of what these lines name."""
        tenant_id, asset_kind = self._job.tenant_id, kind.asset_kind
        room = await store.read_room(connection, "assets") - self._made
        known: dict[str, KnownAsset] = await store.read_known(
            connection, tenant_id, asset_kind, [one.key for one in read]
        )
        named = {
            (column.parent, one.values[column.name])
            for one in read
            for column in kind.columns
            if column.parent and column.name in one.values
        }
        holders = dict[str, int]()
        if asset_kind not in NAMES_TOGETHER:
            names = [one.name for one in read]
            holders = await store.read_holders(connection, tenant_id, asset_kind, names)
            unreferenced = await store.read_unreferenced(connection, tenant_id, asset_kind, names)
            adopted = {one.key: unreferenced[one.name] for one in read if one.name in unreferenced}
            known = adopted | known
        parents = await store.read_parents(connection, tenant_id, sorted(named))
        return Surroundings(known, parents, self._communes, holders, room, ROOM_TEXT)

    async def _write_plan(self, connection: Connection, reader: Reader, plan: Plan, asset_kind: str) -> Batch:
        """All of it at once; one after the other when the database refuses something of it."""
        tenant_id = self._job.tenant_id
        done = Batch(len(plan.created), len(plan.updated), plan.unchanged, plan.rejections)
        try:
            async with connection.transaction():
                await store.write_assets(connection, tenant_id, asset_kind, plan.created, plan.updated)
        except BAD_DATA:
            done.created = done.updated = 0
            for planned in (*plan.created, *plan.updated):
                if (why := await self._write_one(connection, planned, asset_kind)) is not None:
                    done.rejections.append(reader.rejection(planned.read.line, *why))
                elif planned.id is None:
                    done.created += 1
                else:
                    done.updated += 1
        return done

    async def _write_one(
        self, connection: Connection, planned: PlannedAsset, asset_kind: str
    ) -> tuple[str, str] | None:
        """None, or the column and the reason for which the database refuses it."""
        created, updated = ([planned], []) if planned.id is None else ([], [planned])
        try:
            async with connection.transaction():
                await store.write_assets(connection, self._job.tenant_id, asset_kind, created, updated)
        except UniqueViolationError:
            return "name", "ce nom, ou cette référence, vient d'être pris"
        except BAD_DATA as refused:
            if "class_is_confirmed" in str(getattr(refused, "constraint_name", "")):
                return "", "il dépendrait d'un logement : confirmez d'abord sa classe"
            return "", "la base refuse cette ligne"
        return None


def parents_first(parted: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Kinds of assets with the kind on which they hang, each after those on which it hangs."""
    left = list(parted)
    while left:
        kinds = {kind for kind, _ in left}
        first = next((one for one in left if one[1] not in kinds - {one[0]}), left[0])
        left.remove(first)
        yield first


def _batches(lines: Iterator[Line], at_once: int) -> Iterator[list[Line]]:
    while batch := list(islice(lines, at_once)):
        yield batch


def _batch_of(reader: Reader, read: Sequence[ReadLine], done: Sequence[DoneLine]) -> Batch:
    batch = Batch()
    for one, became in zip(read, done, strict=True):
        if became.outcome == Outcome.REFUSED:
            batch.rejections.append(reader.rejection(one.line, became.column, became.french))
        else:
            setattr(batch, became.outcome, getattr(batch, became.outcome) + 1)
    return batch
