"""A process that dispatches and delivers for real, and kills itself (SIGKILL) at chosen places: run as a program.

It forks one life after another, so that a death costs milliseconds. A life reads commands (`number instant`, one a
line) from the standard input and answers on the standard output: `born pid`, `done number`, `at when statement`;
the parent of all lives adds `dead`. A life that is killed says nothing more: no `finally` runs, no buffer is
flushed, the server finds its connections closed.

Usage: python -m tests.alerting.mortal_sender DATABASE_URL SEED
"""

import asyncio
import mmap
import os
import random
import signal
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from datetime import date, datetime
from types import ModuleType
from typing import Any, cast

from alerting import delivery, dispatch, notifications, queue, worker
from alerting.queue import SETTINGS, QueryQueueBuilder
from core.model.region import METROPOLITAN, read_school_holidays
from core.runtime.postgres import Pool, open_bare_connection, open_pool
from registry.keys import KeyWrap

KEYS = KeyWrap("kek-1", bytes(16))
NAME = "mortal"
SCHEDULE_S = (0.02,) * 30
OUTPUT = os.dup(1)
# Before and after each of these it dies, at one of its first so many times.
DIES_WITHIN = {
    "TAKE_TURN": 300, "DUE_TEAMS": 300, "READ_TEAMS": 300, "UNANSWERED": 300, "COMMIT": 300,
    "TAKE_HELD": 4, "READ_NAMES": 4, "OF_TEAM": 20, "ENQUEUE": 20, "INSERT_NOTICE": 12, "ADD_EVENT": 12,
    "READ_ENDPOINT_IDS": 30, "CLAIM": 60, "READ_TARGET": 30, "RECORD_ATTEMPT": 30, "FINISH": 20, "RETRY": 2,
}  # fmt: skip
PLACES = [(when, name) for name in DIES_WITHIN for when in ("before", "after")]
BURY = """
SELECT count(*) FILTER (WHERE pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE application_name LIKE $1 AND pid <> pg_backend_pid()
"""
# As if the seconds had passed after which the jobs of the dead are taken over.
AGE = "UPDATE jobs.pgqueuer SET heartbeat = heartbeat - interval '1 hour' WHERE status = 'picked'"


def deaths_of(seed: int) -> dict[tuple[str, str], int]:
    """Which time of each place ends a life."""
    chance = random.Random(seed)
    return {place: chance.randint(1, DIES_WITHIN[place[1]]) for place in PLACES}


def _statements(*modules: ModuleType) -> dict[str, str]:
    found = {text: name for module in modules for name, text in vars(module).items() if name in DIES_WITHIN}
    ours = QueryQueueBuilder(SETTINGS)
    return found | {ours.build_log_job_query(): "FINISH", ours.build_retry_job_query(): "RETRY"}


class Fate:
    """Counts, over all lives, how often each place was passed; the counts outlive the process that made them."""

    def __init__(self, seed: int) -> None:
        self._deaths = deaths_of(seed)
        self._counts = memoryview(mmap.mmap(-1, 4 * len(PLACES))).cast("I")
        self._names = _statements(delivery, dispatch, notifications, queue, worker)

    def meet(self, when: str, statement: str) -> None:
        name = "CLAIM" if "next_queued" in statement else self._names.get(statement, statement)
        if name not in DIES_WITHIN:
            return
        place = PLACES.index((when, name))
        self._counts[place] += 1
        if self._counts[place] == self._deaths[when, name]:
            os.write(OUTPUT, f"at {when} {name}\n".encode())
            os.kill(os.getpid(), signal.SIGKILL)


class Doomed:
    """A connection, or a pool, that may not survive a statement."""

    def __init__(self, inner: Any, fate: Fate) -> None:
        self._inner, self._fate = inner, fate

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)
        if name not in ("execute", "fetch", "fetchrow", "fetchval"):
            return method

        async def run(statement: str, *arguments: object) -> Any:
            self._fate.meet("before", statement)
            result = await method(statement, *arguments)
            self._fate.meet("after", statement)
            return result

        return run

    @asynccontextmanager
    async def acquire(self) -> AsyncGenerator["Doomed"]:
        async with self._inner.acquire() as connection:
            yield Doomed(connection, self._fate)

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[None]:
        async with self._inner.transaction():
            yield
            self._fate.meet("before", "COMMIT")
        self._fate.meet("after", "COMMIT")


async def _commands() -> AsyncIterator[tuple[int, datetime]]:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        number, instant = line.decode().split()
        yield int(number), datetime.fromisoformat(instant)


async def _bury(pool: Pool) -> None:
    """Nothing of the life before is under way any more."""
    while await pool.fetchval(BURY, f"{NAME}%"):  # noqa: ASYNC110 - The server has no event for it.
        await asyncio.sleep(0.005)
    await pool.execute(AGE)


async def live(url: str, fate: Fate) -> None:
    """Until the commands end, or fate has it otherwise."""
    os.write(OUTPUT, f"born {os.getpid()}\n".encode())

    @asynccontextmanager
    async def doomed_connection(*arguments: Any, **options: Any) -> AsyncGenerator[Doomed]:
        async with open_bare_connection(*arguments, **options) as connection:
            yield Doomed(connection, fate)

    cast(Any, worker).open_bare_connection = doomed_connection  # The queue's own, too.
    async with open_pool(url, NAME, size=4) as pool:
        await _bury(pool)
        doomed = cast(Pool, Doomed(pool, fate))
        deliverer = delivery.Deliverer(doomed, KEYS, schedule_s=SCHEDULE_S)
        stopping = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(worker.WebhookWorker(doomed, url, NAME, deliverer).work(stopping))
            async for number, now in _commands():
                await dispatch.dispatch(doomed, now)
                os.write(OUTPUT, f"done {number}\n".encode())
            stopping.set()


def main(url: str, seed: int) -> int:
    """Lives until one of them ends by itself; its exit status."""
    os.dup2(2, 1)  # The log is no answer.
    # Once for all lives, not in each at its first dispatch: both take a third of a second.
    read_school_holidays()
    METROPOLITAN.is_public_holiday(date(2026, 11, 11))
    fate = Fate(seed)
    while True:
        child = os.fork()
        if child == 0:
            asyncio.run(live(url, fate))
            return 0
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            return os.waitstatus_to_exitcode(status)
        os.write(OUTPUT, b"dead\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
