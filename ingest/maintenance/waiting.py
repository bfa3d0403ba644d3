"""Runs what somebody has asked for: one question, for all jobs of that kind, says whether anything waits."""

import asyncio
from collections.abc import Sequence

from core.runtime.errors import describe
from core.runtime.postgres import Pool
from ingest.maintenance.jobs import EXPECTED, Job

# A column has the name of its job, and is true whenever the job would find a row to go on with.
WAITING = """
SELECT EXISTS (SELECT FROM erasure WHERE state NOT IN ('done', 'refused')) AS erasures,
       EXISTS (SELECT FROM import_job WHERE state IN ('waiting', 'running')) AS imports,
       EXISTS (SELECT FROM export_job WHERE state IN ('waiting', 'running')) AS exports,
       EXISTS (SELECT FROM export_drop WHERE state IN ('waiting', 'writing', 'sending') AND next_at <= now())
    OR EXISTS (SELECT FROM export_schedule
               WHERE enabled AND next_at <= now() AND (target = 'folder' OR host_key IS NOT NULL))
    OR EXISTS (SELECT FROM export_schedule WHERE test_wanted) AS drops,
       EXISTS (SELECT FROM commune_outline WHERE settled_at IS NULL) AS communes,
       EXISTS (SELECT FROM redecode WHERE state IN ('waiting', 'running')) AS redecode
"""


async def read_waiting(pool: Pool) -> frozenset[str]:
    """The names of the jobs for which something waits."""
    row = await pool.fetchrow(WAITING)
    return frozenset() if row is None else frozenset(name for name, waits in row.items() if waits)


class WaitingWork:
    """Jobs that are run only while something waits for them, side by side, each every so often at most."""

    def __init__(self, pool: Pool, jobs: Sequence[Job]) -> None:
        self._pool = pool
        self._jobs = jobs
        self._running: dict[str, asyncio.Task[None]] = {}
        self._next_at: dict[str, float] = {}

    async def repeat(self, every_s: float) -> None:
        """Ask now and every so often, until cancelled."""
        for job in self._jobs:
            job.expect_success()
        async with asyncio.TaskGroup() as tasks:
            while True:
                await self.look(tasks)
                await asyncio.sleep(every_s)

    async def look(self, tasks: asyncio.TaskGroup) -> None:
        """Ask, and begin the jobs for which something waits."""
        now = asyncio.get_running_loop().time()
        idle = [job for job in self._jobs if not self._is_running(job) and now >= self._next_at.get(job.name, now)]
        try:
            waiting = await read_waiting(self._pool)
        except EXPECTED as failure:
            for job in idle:
                job.record_failure(describe(failure))
            return
        for job in idle:
            if job.name in waiting:
                self._next_at[job.name] = now + job.every_s
                self._running[job.name] = tasks.create_task(job.run_once(), name=job.name)
            else:
                job.record_success()

    def _is_running(self, job: Job) -> bool:
        return job.name in self._running and not self._running[job.name].done()
