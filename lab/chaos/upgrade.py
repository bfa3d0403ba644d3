"""An upgrade while the load goes on: the schema first, then replica by replica, and one release back."""

import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from core.runtime.postgres import connect
from lab.chaos.faults import Act
from lab.chaos.processes import CaseFailed, NotRun, Processes
from lab.chaos.scene import Scene
from lab.radio.clock import now_us
from registry.schema import migrations, read_ledger

READY_WITHIN_S = 60.0
MIGRATE_WITHIN_S = 120.0
CHECKOUT = Path(__file__).resolve().parents[2]
COLUMN = "rehearsed_upgrade"
# What one release adds and what another takes away, on a table that every service reads.
EXPAND = f"""-- locks: device ACCESS EXCLUSIVE instant

ALTER TABLE device ADD COLUMN {COLUMN} text;
"""
CONTRACT = f"""-- needs: {{needs:04}}
-- locks: device ACCESS EXCLUSIVE instant

ALTER TABLE device DROP COLUMN {COLUMN};
"""


def upgrade_and_back(*services: str) -> Act:
    """To the next release and back again, each replica once the former is ready."""

    async def act(scene: Scene) -> None:
        number = len(migrations())
        files = {
            f"{number + 1:04}_expand_rehearsal.sql": EXPAND,
            f"{number + 2:04}_contract_rehearsal.sql": CONTRACT.format(needs=number),
        }
        async with next_release(files) as tree:
            await scene.lead()
            await finish_migrate(await start_migrate(scene.processes, tree))
            newer = {"PYTHONPATH": str(tree)}
            try:
                for service in services:
                    await scene.processes.replace_in_turn(service, newer, _cut(scene, service), READY_WITHIN_S)
                await _require_next(scene, len(migrations()) + 2)
                for service in reversed(services):
                    await scene.processes.give_back_in_turn(service, _cut(scene, service), READY_WITHIN_S)
            finally:
                for service in services:
                    await scene.processes.give_back(service)  # Where it has not come so far.
            scene.recover_from_now()

    return act


def _cut(scene: Scene, service: str) -> Callable[[], None]:
    return lambda: scene.cut_off(service, now_us())


@asynccontextmanager
async def next_release(migrations_more: Mapping[str, str]) -> AsyncGenerator[Path]:
    """This commit, by `git archive`, with these migrations more, by the names of their files."""
    with tempfile.TemporaryDirectory(prefix="territoire-next-", dir="/var/tmp") as folder:
        tree = Path(folder)
        archive = await asyncio.to_thread(
            subprocess.run, ["git", "-C", str(CHECKOUT), "archive", "HEAD"], capture_output=True, check=False
        )
        if archive.returncode != 0:
            raise NotRun(f"pas de dépôt git ici : {archive.stderr.decode().strip()}")
        await asyncio.to_thread(subprocess.run, ["tar", "-x", "-C", str(tree)], input=archive.stdout, check=True)
        for name, text in migrations_more.items():
            (tree / "registry" / "migrations" / name).write_text(text)
        yield tree


async def start_migrate(processes: Processes, tree: Path) -> asyncio.subprocess.Process:
    """Begin to bring the stack's database to the release in this folder."""
    run = processes.run
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(tree),
        "TERRITOIRE_DATABASE_URL": run.database_admin_url,
        "TERRITOIRE_NATS_URL": run.nats_url,
    }
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "services.migrate"),
        env=environment,
        cwd="/tmp",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


async def finish_migrate(process: asyncio.subprocess.Process) -> None:
    """Return once it has done all of it.

    Raises:
        CaseFailed: it has not.
    """
    async with asyncio.timeout(MIGRATE_WITHIN_S):
        said, _ = await process.communicate()
    if process.returncode != 0:
        raise CaseFailed(f"migrate : {said.decode('utf-8', 'replace').strip().splitlines()[-1]}")


async def _require_next(scene: Scene, number: int) -> None:
    connection = await connect(scene.processes.run.database_admin_url, "chaos")
    try:
        ledger = await read_ledger(connection)
        releases = await connection.fetch("SELECT service, instance, knows FROM service_release ORDER BY 1, 2")
    finally:
        await connection.close()
    if ledger.number != number:
        raise CaseFailed(f"le schéma est à {ledger.number} au lieu de {number}")
    newer = sum(row["knows"] == number for row in releases)
    scene.notes.append(f"schéma {number}, {newer} processus de la version suivante")
