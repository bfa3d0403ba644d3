"""The two programs of an upgrade: the last release and this one, or this one and itself with two migrations."""

import asyncio
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from lab.chaos.outcome import CaseFailed, NotRun
from lab.chaos.stack.processes import send
from lab.programs import NotInstalled, Program, install_commit, unpack_commit
from lab.release.last import UnusableRelease, last_release
from lab.stack_process import background_stack
from services.supervisor.home import Home
from services.supervisor.run_info import RunInfo
from services.supervisor.stack import Stack, checkout

MIGRATE_WITHIN_S = 120.0
COLUMN = "rehearsed_upgrade"
# What one release adds and what another takes away, on a table that every service reads.
EXPAND = f"""-- locks: device ACCESS EXCLUSIVE instant

ALTER TABLE device ADD COLUMN {COLUMN} text;
"""
CONTRACT = f"""-- needs: {{needs:04}}
-- locks: device ACCESS EXCLUSIVE instant

ALTER TABLE device DROP COLUMN {COLUMN};
"""


@dataclass(frozen=True, slots=True)
class Upgrade:
    """From the last release to what is checked out.

    Until there is one, from this commit to the same with two migrations more: one adds, one takes away.
    """

    former: Program
    newer: Program
    version: str | None
    """Of the release; None: there is none yet."""

    @asynccontextmanager
    async def start(self, home: Path, replicas: Mapping[str, int]) -> AsyncGenerator[RunInfo]:
        """A stack of the former program; of a release on today's schema, into which today's load is registered."""
        async with background_stack(home, replicas, self.former) as run:
            _renew_bus_accounts(run)
            if self.version is not None:
                await migrate(run, self.newer)
            yield run


@asynccontextmanager
async def prepared_upgrade() -> AsyncGenerator[Upgrade]:
    """Both programs, installed while the block runs.

    Raises:
        CaseFailed: deploy/releases.toml names no release that can be played, or its libraries cannot be had.
    """
    try:
        release = last_release(checkout())
        with tempfile.TemporaryDirectory(prefix="territoire-upgrade-", dir="/var/tmp") as folder:
            former = await install_commit("HEAD" if release is None else release.commit, Path(folder, "former"))
            if release is None:
                yield Upgrade(former, await asyncio.to_thread(_made_next, former, Path(folder, "next")), None)
            else:
                yield Upgrade(former, Program.this(), release.version)
    except (UnusableRelease, NotInstalled) as refused:
        raise CaseFailed(str(refused)) from refused


def _made_next(former: Program, tree: Path) -> Program:
    shutil.copytree(former.tree, tree, ignore=shutil.ignore_patterns(".venv", ".tools"))
    number = former.migrations
    files = {
        f"{number + 1:04}_expand_rehearsal.sql": EXPAND,
        f"{number + 2:04}_contract_rehearsal.sql": CONTRACT.format(needs=number),
    }
    _add_migrations(tree, files)
    return Program(former.python, tree)


@asynccontextmanager
async def with_migrations(files: Mapping[str, str]) -> AsyncGenerator[Program]:
    """This commit with these migrations more, by the names of their files, by today's libraries.

    Raises:
        NotRun: this is no checkout.
    """
    with tempfile.TemporaryDirectory(prefix="territoire-next-", dir="/var/tmp") as folder:
        tree = Path(folder, "next")
        try:
            await asyncio.to_thread(unpack_commit, "HEAD", tree)
        except NotInstalled as refused:
            raise NotRun(str(refused)) from refused
        _add_migrations(tree, files)
        yield Program(sys.executable, tree)


def _add_migrations(tree: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        (tree / "registry" / "migrations" / name).write_text(text)


async def migrate(run: RunInfo, program: Program) -> None:
    """The schema of this program, by itself.

    Raises:
        CaseFailed: it ends with an error; the last line that it wrote.
    """
    await finish_migrate(await start_migrate(run, program))


async def start_migrate(run: RunInfo, program: Program) -> asyncio.subprocess.Process:
    """Begin to bring the stack's database to the schema of this program."""
    environment = {
        "PATH": os.environ["PATH"],
        **program.environment,
        "TERRITOIRE_DATABASE_URL": run.database_admin_url,
        "TERRITOIRE_NATS_URL": run.nats_url,
    }
    return await asyncio.create_subprocess_exec(
        *(program.python, "-P", "-m", "services.migrate"),
        env=environment,
        cwd="/tmp",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )


async def finish_migrate(process: asyncio.subprocess.Process) -> None:
    """Return once it has done all of it.

    Raises:
        CaseFailed: it ends with an error; the last line that it wrote.
    """
    async with asyncio.timeout(MIGRATE_WITHIN_S):
        said, _ = await process.communicate()
    if process.returncode != 0:
        raise CaseFailed(f"migrate : {said.decode('utf-8', 'replace').strip().splitlines()[-1]}")


def _renew_bus_accounts(run: RunInfo) -> None:
    """What each service may on the bus is the newer program's before its first replica starts, as in a cluster."""
    for server in Stack.running(Home(Path(run.home))).servers.bus.values():
        server.prepare()
    send(run.service("nats").pid or 0, signal.SIGHUP)
