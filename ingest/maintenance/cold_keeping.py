"""Puts readings of classes 0 and 1 into files before their chunk goes, and keeps files and database in agreement.

A row is deleted only in a transaction that has found it in a file, read from the folder anew, while the chunk
takes no other rows. Whoever is killed leaves a draft, or a file that no row names: the next pass takes it away.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from core.runtime.postgres import Connection, Pool
from ingest.binary_rows import Readings
from ingest.chunks import Chunk
from ingest.cold import files, store
from ingest.cold.files import ColdFailure, Content, Draft, Written
from ingest.cold.store import ColdFile
from ingest.maintenance.leader import SOON_OR_LATER, leading
from ingest.maintenance.telemetry import COLD_FAILURES, COLD_READINGS

# What comes late into an old chunk while it is written is found by the comparison, and all is written again.
ATTEMPTS = 3
Gone = Callable[[Readings], Any]
Then = Callable[[Connection, int], Awaitable[None]]

log = structlog.get_logger()


class Stale(Exception):
    """What the chunk holds of these tenants is not what their files hold."""

    def __init__(self, tenants: Collection[int]) -> None:
        super().__init__(f"cold files of tenants {sorted(tenants)}")
        self.tenants = tenants


@dataclass(slots=True)
class ColdFolder:
    """The folder as one pass of retention has it; `waiting`: chunks that stay because of a `failure`."""

    pool: Pool
    folder: Path | None
    is_open: bool = False
    failure: ColdFailure | None = None
    waiting: int = 0

    @property
    def root(self) -> Path:
        """The folder; raises ColdFailure where there is none any more."""
        if self.folder is None:
            raise ColdFailure("unset")
        return self.folder

    async def open(self) -> None:
        """Raises ColdFailure unless the folder is there, and this installation's."""
        state, may_mark = await store.read_state(self.pool), not await store.may_have_files(self.pool)
        await asyncio.to_thread(files.check_folder, self.root, state.folder_id, may_mark=may_mark)

    async def begin(self) -> None:
        """Folder and database agree, and what has become personal is in no file; or the pass knows why not.

        A file that is lost does not keep others from being written.
        """
        try:
            await self.open()
            self.is_open = True
            await self.tidy()
            await self.take_out_personal()
        except ColdFailure as failure:
            self.failed(failure, 0)

    async def write_missing(self, chunk: Chunk, again: Collection[int] = ()) -> None:
        """A file for each tenant that has readings of classes 0 and 1 in the chunk, if there is none yet.

        `again`: tenants whose file is not what the chunk holds.

        Raises:
            NotLeader: another replica runs these jobs.
            ColdFailure: the folder does not take it.
        """
        async with self.pool.acquire() as connection:
            due = await store.tenants_due(connection, chunk)
            there = await store.files_of_chunk(connection, chunk)
        for tenant in sorted((due - there.keys()) | set(again)):
            await self._write(chunk, tenant)

    async def _write(self, chunk: Chunk, tenant_id: int) -> None:
        async with leading(self.pool) as connection:
            await connection.execute(store.PATIENT)
            former = (await store.files_of_chunk(connection, chunk)).get(tenant_id)
            with await asyncio.to_thread(Draft, self.root, tenant_id, chunk.since) as draft:
                await store.copy_rows(connection, tenant_id, chunk, None, draft.take_readings)
                draft.check()
                if former is not None:
                    gone, _ = await store.gone_of(connection, former.datastream_ids, chunk.until)
                    if gone:
                        await asyncio.to_thread(self._copy, former, draft, lambda part: part.among(gone))
                written = await asyncio.to_thread(draft.finish)
            await store.record(connection, tenant_id, chunk.since, chunk.until, written)
        await self._replaced(former, written)
        readings = 0 if written is None else written.readings
        COLD_READINGS.inc(readings)
        log.info("cold_file_written", tenant=tenant_id, since=chunk.since.isoformat(), readings=readings)

    def _copy(self, former: ColdFile, draft: Draft, chosen: Gone) -> int:
        """What is chosen of a file into a draft; how many readings are not."""
        left_out = 0
        try:
            for part in files.read_file(self.root / former.name, None):
                mask = chosen(part)
                kept = part.where(mask)
                left_out += len(part) - len(kept)
                if len(kept):
                    draft.add_readings(kept)
        except FileNotFoundError:
            raise ColdFailure("broken", former.name) from None
        return left_out

    async def _replaced(self, former: ColdFile | None, written: Written | None) -> None:
        if former is not None and (written is None or written.name != former.name):
            await asyncio.to_thread(files.remove, self.root, former.name)

    async def keep(self, chunk: Chunk, act: Callable[[], Awaitable[bool]]) -> bool:
        """Write the files that a chunk lacks, then run `act`, which checks them with `demand`.

        Where rows have come meanwhile `act` finds files stale: they are written again, three times at most.

        Raises:
            ColdFailure: the folder does not take it, or the chunk has changed each time.
        """
        stale: Collection[int] = ()
        for _ in range(ATTEMPTS):
            await self.write_missing(chunk, stale)
            try:
                return await act()
            except Stale as wrong:
                stale = wrong.tenants
        raise ColdFailure("changing", chunk.table)

    async def demand(self, connection: Connection, chunk: Chunk, ids: Collection[int] | None = None) -> None:
        """Raises Stale unless files hold exactly what the chunk holds of classes 0 and 1 (of `ids`).

        Until the transaction ends the chunk takes no rows: what the files hold may go.
        """
        await connection.execute(store.PATIENT)
        await connection.execute(SOON_OR_LATER)
        await connection.execute(f"LOCK TABLE {chunk.table} IN SHARE MODE")
        there = await store.files_of_chunk(connection, chunk)
        found: set[int] = set()
        for tenant in await store.tenants_due(connection, chunk) | there.keys():
            rows = Content()
            await store.copy_rows(
                connection, tenant, chunk, None if ids is None else sorted(ids), rows.take_readings
            )
            if not await self._holds(connection, there.get(tenant), rows, ids):
                found.add(tenant)
        if found:
            raise Stale(found)

    async def _holds(
        self, connection: Connection, file: ColdFile | None, rows: Content, ids: Collection[int] | None
    ) -> bool:
        if file is None:
            return not rows.readings
        gone, personal = await store.gone_of(connection, file.datastream_ids, file.until)
        wanted = set(file.datastream_ids) - gone - personal
        if ids is not None:
            wanted &= set(ids)
        if not wanted:
            return not rows.readings
        return await asyncio.to_thread(self._content_of, file, wanted) == rows

    def _content_of(self, file: ColdFile, wanted: Collection[int]) -> Content | None:
        content = Content()
        try:
            for part in files.read_file(self.root / file.name, sorted(wanted)):
                content.add_readings(part)
        except (FileNotFoundError, ColdFailure) as wrong:
            log.warning("cold_file_not_read", file=file.name, error=str(wrong))
            return None
        return content

    async def rewrite(self, file_id: int, gone: Gone, then: Then | None = None) -> int:
        """A file without what is `gone`, and `then` in the same transaction; how many readings went.

        Raises:
            NotLeader, ColdFailure: as `write_missing`.
        """
        async with leading(self.pool) as connection:
            await connection.execute(store.PATIENT)
            former = await store.read_cold_file(connection, file_id)
            if former is None:
                return 0
            with await asyncio.to_thread(Draft, self.root, former.tenant_id, former.since) as draft:
                left_out = await asyncio.to_thread(self._copy, former, draft, lambda part: ~gone(part))
                if not left_out:
                    return 0
                written = await asyncio.to_thread(draft.finish)
            await store.record(connection, former.tenant_id, former.since, former.until, written)
            if then is not None:
                await then(connection, left_out)
        await self._replaced(former, written)
        log.info("cold_file_rewritten", tenant=former.tenant_id, since=former.since.isoformat(), gone=left_out)
        return left_out

    async def take_out_personal(self) -> None:
        """What has become personal is in no file; raises as `rewrite`."""
        for file in await store.personal_files(self.pool):
            personal = await store.personal_of(self.pool, file.datastream_ids)
            await self.rewrite(file.id, lambda part, ids=personal: part.among(ids))

    async def tidy(self) -> set[str]:
        """Remove files that no row names; where a row's file is missing, name the youngest of its chunk.

        A database that was restored names a file of its time, and the folder has one of later, or several. A copy
        of the folder that was put back may have one that was replaced before: what was erased since is in it. It
        is not named, nor removed: nobody may have another. Returns those.
        """
        async with leading(self.pool) as connection:
            await connection.execute(store.PATIENT)
            named = await store.names(connection)
            there = await asyncio.to_thread(files.names_in, self.root)
            unnamed, replaced, outdated = there - named, await store.replaced(connection), set[str]()
            for lost in await store.files_named(connection, named - there):
                stem = lost.name.rpartition("-")[0]
                of_chunk = {one for one in unnamed if one.rpartition("-")[0] == stem}
                found = await asyncio.to_thread(files.youngest, self.root, of_chunk - replaced)
                if found is None:
                    outdated |= of_chunk
                    self.failed(ColdFailure("broken", lost.name), 0)
                    continue
                written = await asyncio.to_thread(self._examine, found)
                unnamed.discard(found)
                await store.record(connection, lost.tenant_id, lost.since, lost.until, written)
                log.warning("cold_file_named_again", file=found)
            unnamed -= outdated
            for name in unnamed:
                await asyncio.to_thread(files.remove, self.root, name)
            await store.removed(connection, unnamed, there - unnamed)
        return outdated

    def _examine(self, name: str) -> Written:
        ids: set[int] = set()
        readings = 0
        for part in files.read_file(self.root / name, None):
            ids.update(part.ids.tolist())
            readings += len(part)
        path = self.root / name
        return Written(name, readings, path.stat().st_size, files.digest_of(path), sorted(ids))

    def failed(self, failure: ColdFailure, chunks: int) -> None:
        """So many chunks stay."""
        COLD_FAILURES.labels(failure.reason).inc()
        self.failure, self.waiting = failure, self.waiting + chunks
        log.error("cold_folder_failed", reason=failure.reason, error=str(failure), chunks=chunks)

    async def report(self) -> None:
        """For `doctor` and the metrics: what this pass has met."""
        await store.report(self.pool, None if self.failure is None else self.failure.reason, self.waiting)
