"""What somebody has asked for is looked for by one statement, and run beside what else is."""

import asyncio
from collections.abc import Callable

import pytest

from core.runtime.postgres import Pool, connect
from ingest.maintenance.jobs import Job
from ingest.maintenance.waiting import WaitingWork, read_waiting

# Each as it is when somebody has asked for it, of tenant 1, and as it is when that has ended.
ASKED = {
    "erasures": (
        "INSERT INTO erasure (tenant_id, kind, subject_id, reason, requested_by) VALUES (1, 'asset', 7, 'x', 'x')",
        "UPDATE erasure SET state = 'done'",
    ),
    "imports": (
        """INSERT INTO import_job (tenant_id, kind, format, coordinates, dry_run, requested_by, state)
        VALUES (1, 'cabinets', 'csv', 'wgs84', true, 'x', 'waiting')""",
        "UPDATE import_job SET state = 'done'",
    ),
    "exports": (
        """INSERT INTO export_job (tenant_id, format, since, until, requested_by, streams)
        VALUES (1, 'csv', now() - interval '1 day', now(), 'x', 1)""",
        "UPDATE export_job SET state = 'done'",
    ),
    "drops": (
        """INSERT INTO export_schedule (tenant_id, name, format, frequency, covers, file_name, target,
        requested_by, next_at)
        VALUES (1, 'x', 'csv', 'day', 'previous', 'x', 'folder', 'x', now() + interval '1 day')""",
        "UPDATE export_schedule SET test_wanted = false",
    ),
    "communes": (
        """INSERT INTO commune_outline (insee, name, polygons, west, south, east, north)
        VALUES ('29019', 'Brest', '[]', -4.6, 48.3, -4.4, 48.5)""",
        "UPDATE commune_outline SET settled_at = now()",
    ),
    "redecode": (
        """INSERT INTO redecode (tenant_id, since, until, requested_by)
        VALUES (1, now() - interval '1 day', now(), 'x')""",
        "UPDATE redecode SET state = 'done'",
    ),
}
LATER_DROPS = (
    "UPDATE export_schedule SET next_at = now() - interval '1 s'",
    "UPDATE export_schedule SET next_at = now() + interval '1 day'",
    """INSERT INTO export_drop (tenant_id, schedule_id, since, until, file_name)
    SELECT tenant_id, id, now() - interval '1 day', now(), 'x' FROM export_schedule""",
    "UPDATE export_drop SET state = 'done'",
)


@pytest.fixture
async def owner(database):
    """A connection that may write everything, in a database with tenant 1."""
    connection = await connect(database.admin_url)
    await connection.execute(
        "INSERT INTO tenant (id, slug, name) OVERRIDING SYSTEM VALUE VALUES (1, 'brest', 'Brest')"
    )
    yield connection
    await connection.close()


@pytest.mark.parametrize("name", ASKED)
async def test_each_job_is_known_to_wait_until_it_has_ended(owner, pool: Pool, name: str) -> None:
    ask, end = ASKED[name]
    before = await read_waiting(pool)
    await owner.execute(ask)
    waiting = await read_waiting(pool)
    await owner.execute(end)

    assert (before, waiting, await read_waiting(pool)) == (set(), {name}, set())


async def test_a_drop_waits_from_when_its_schedule_is_due_until_its_file_is_there(owner, pool: Pool) -> None:
    for statement in ASKED["drops"]:
        await owner.execute(statement)
    found: list[bool] = []
    for statement in LATER_DROPS:
        await owner.execute(statement)
        found.append("drops" in await read_waiting(pool))

    assert found == [True, False, True, False]


def jobs(work: Callable[[str], object]) -> list[Job]:
    """One job for each kind, whose work is this."""

    def job(name: str) -> Job:
        async def run() -> None:
            outcome = work(name)
            if asyncio.iscoroutine(outcome):
                await outcome

        return Job(name, 0.0, run)

    return [job(name) for name in ASKED]


async def test_a_look_without_work_is_one_statement_and_no_job_runs(pool: Pool) -> None:
    began: list[str] = []
    asked: list[str] = []
    async with pool.acquire() as connection:
        # The one that the pool gives next: what it runs is written down.
        connection.add_query_logger(lambda record: asked.append(record.query))
    async with asyncio.TaskGroup() as tasks:
        await WaitingWork(pool, jobs(began.append)).look(tasks)

    assert (len(asked), began) == (1, [])


async def test_a_long_job_holds_up_no_other_and_is_begun_once(owner, pool: Pool) -> None:
    began: list[str] = []
    release = asyncio.Event()

    async def wait() -> None:
        await release.wait()

    def work(name: str) -> object:
        began.append(name)
        return wait() if name == "imports" else None

    waiting = WaitingWork(pool, jobs(work))
    async with asyncio.TaskGroup() as tasks:
        for name in ("imports", "exports"):
            await owner.execute(ASKED[name][0])
            await waiting.look(tasks)
            await asyncio.sleep(0)
        release.set()

    assert began == ["imports", "exports"]


async def test_a_job_is_not_begun_again_before_its_pause_is_over(owner, pool: Pool) -> None:
    began: list[str] = []
    job = next(job for job in jobs(began.append) if job.name == "communes")
    job.every_s = 60.0
    waiting = WaitingWork(pool, [job])
    await owner.execute(ASKED["communes"][0])
    async with asyncio.TaskGroup() as tasks:
        for _ in range(3):
            await waiting.look(tasks)
            await asyncio.sleep(0)

    assert began == ["communes"]


async def test_jobs_are_not_ready_while_the_question_fails(owner, pool: Pool) -> None:
    waiting = WaitingWork(pool, every := jobs(lambda _: None))
    await owner.execute("ALTER TABLE redecode RENAME TO away")
    async with asyncio.TaskGroup() as tasks:
        await waiting.look(tasks)
        problems = [job.problem for job in every]
        await owner.execute("ALTER TABLE away RENAME TO redecode")
        await waiting.look(tasks)

    assert all(problems)
    assert [job.problem for job in every] == [None] * len(every)
