"""Maintenance with a folder for cold files, and exports as lists of readings."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from core.runtime.postgres import Pool
from ingest.exports import store
from ingest.exports.runner import export_next
from ingest.maintenance.cold_keeping import ColdFolder
from ingest.maintenance.erasures import Eraser, Streams
from ingest.maintenance.retention import Term, forget
from registry.erasures import request_erasure
from registry.keys import KeyWrap

ROOM = 1 << 30
NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
LONG_AGO = datetime(2015, 1, 1, tzinfo=UTC)
KEYS = KeyWrap("k", bytes(16))
Row = tuple[int, datetime, float, str]


def ago(days: float) -> datetime:
    """An instant so many days before the tests' own."""
    return NOW.replace(minute=30) - timedelta(days=days)


async def tenant_of(pool: Pool, datastream: int) -> int:
    """Whose it is."""
    return await pool.fetchval("SELECT tenant_id FROM datastream WHERE id = $1", datastream)


@dataclass(slots=True)
class Cold:
    """Maintenance of an installation that has a folder for cold files."""

    pool: Pool
    folder: Path

    async def forget(self, term: Term, now: datetime = NOW) -> ColdFolder:
        """Retention, as `keep_house` does it."""
        cold_files = ColdFolder(self.pool, self.folder)
        await cold_files.begin()
        await forget(self.pool, term, now, cold_files)
        await cold_files.report()
        return cold_files

    async def export(
        self,
        tenant: int,
        ids: Sequence[int],
        *,
        since: datetime = LONG_AGO,
        until: datetime = NOW,
        form: str = "csv",
    ) -> bytes:
        """The file of an export that a tenant asks for."""
        async with self.pool.acquire() as connection:
            job = await connection.fetchval(
                "INSERT INTO export_job (tenant_id, format, since, until, requested_by, streams) "
                "VALUES ($1, $2, $3, $4, 'essai', $5) RETURNING id",
                *(tenant, form, since, until, len(ids)),
            )
            await connection.execute(store.ADD_STREAMS, job, tenant, list(ids))
        await export_next(self.pool, "m1", ROOM, self.folder)
        done = await store.read_export(self.pool, job)
        assert done is not None
        if done.state != "done":
            raise AssertionError(done.reason)
        parts = await self.pool.fetch("SELECT content FROM export_part WHERE job_id = $1 ORDER BY number", job)
        return b"".join(part["content"] for part in parts)

    async def rows(self, tenant: int, ids: Sequence[int], **period: datetime) -> list[Row]:
        """Its readings."""
        found = csv.DictReader(io.StringIO((await self.export(tenant, ids, **period)).decode()))
        return [
            (
                int(row["datastream_id"]),
                datetime.fromisoformat(row["time"]),
                float(row["value"]),
                row["flags"],
            )
            for row in found
        ]

    async def erase(self, asking: Pool, tenant: int, kind: str, subject: int) -> None:
        """An erasure to its end."""
        await self.ask_to_erase(asking, tenant, kind, subject)
        eraser = self.eraser()
        for _ in range(2):
            await eraser.work()

    async def ask_to_erase(self, asking: Pool, tenant: int, kind: str, subject: int) -> None:
        """An erasure that nobody has begun."""
        await request_erasure(
            asking,  # type: ignore[arg-type] - It asks for a connection, and a pool will do.
            *(tenant, kind, subject, "essai", "essai"),
            by_operator=True,
        )

    def eraser(self) -> Eraser:
        """Of maintenance with this folder."""
        return Eraser(self.pool, KEYS, None, timedelta(0), lambda ask: ask(_Read()), self.folder)

    def files(self) -> list[str]:
        """What lies in the folder."""
        return sorted(str(path.relative_to(self.folder)) for path in self.folder.glob("*/*"))


class _Read(Streams):
    async def positions(self) -> dict[str, int]:
        return {}

    async def is_read_up_to(self, positions: dict[str, int]) -> bool:
        return True
