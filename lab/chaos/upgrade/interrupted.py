"""A migration cut short under load: in its transaction, and between two of its steps; then it is run again."""

import asyncio
import signal
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

from core.runtime.postgres import DATABASE_AWAY, Pool, PostgresError, connect
from lab.chaos.case import Act
from lab.chaos.outcome import CaseFailed
from lab.chaos.scene import Scene
from lab.chaos.stack.releases import finish_migrate, start_migrate, with_migrations
from lab.postgres_servers import until
from lab.programs import Program
from registry.schema import migrations, read_ledger

ENDS_WITHIN_S, LOOK_EVERY_S = 60.0, 0.05
# A runner that is frozen in its transaction keeps every service waiting: not for longer than this.
LOCKED_FOR_S = 10.0
COLUMN = "rehearsed_harm"
# It is caught while it waits: in the transaction with its lock, and before each batch with some rows done.
EXPAND = f"""-- locks: device ACCESS EXCLUSIVE instant

ALTER TABLE device ADD COLUMN {COLUMN} text;
SELECT pg_sleep(1.5);
"""
FILL = f"""-- outside a transaction

-- step: until nothing changes
UPDATE device SET {COLUMN} = encode(dev_eui, 'hex')
WHERE id IN (SELECT id FROM device, pg_sleep(0.2) WHERE {COLUMN} IS NULL ORDER BY id LIMIT 25);
"""
IS_LOCKED = """
SELECT EXISTS (SELECT FROM pg_locks l JOIN pg_stat_activity a USING (pid)
               WHERE a.application_name = 'territoire-migrate' AND l.relation = 'device'::regclass
                   AND l.mode = 'AccessExclusiveLock' AND l.granted)
"""
HAS_COLUMN = f"""
SELECT EXISTS (SELECT FROM pg_attribute
               WHERE attrelid = 'device'::regclass AND attname = '{COLUMN}' AND NOT attisdropped)
"""
UNDO = f"ALTER TABLE device DROP COLUMN IF EXISTS {COLUMN}"
FORGET = "DELETE FROM schema_migration WHERE number > $1"


def harm_migrate(number: signal.Signals) -> Act:
    """This signal in the transaction of one file, then in the steps of another; a frozen one is woken again."""

    async def act(scene: Scene) -> None:
        known = len(migrations())
        files = {
            f"{known + 1:04}_expand_harm.sql": EXPAND,
            f"{known + 2:04}_expand_harm_fill.sql": FILL,
        }
        async with with_migrations(files) as program, _undone(scene, known):
            await scene.lead()
            scene.victims.add("migrate")
            await _harm(scene, program, number, _is_locked)
            await _harm(scene, program, number, _is_half_done)
            await finish_migrate(await start_migrate(scene.processes.run, program))
            await _require_all(scene, known + 2)
            scene.recover_from_now()

    return act


async def _harm(
    scene: Scene, program: Program, number: signal.Signals, caught: Callable[[Pool], Awaitable[bool]]
) -> None:
    process = await start_migrate(scene.processes.run, program)
    try:
        await until(partial(caught, scene.pool))
        process.send_signal(number)
        what = f"migrate {number.name} {'en transaction' if caught is _is_locked else 'entre deux étapes'}"
        scene.recover_from(what)
        if number is signal.SIGSTOP:
            await _frozen(scene, what)
            process.send_signal(signal.SIGCONT)
        async with asyncio.timeout(ENDS_WITHIN_S):
            await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()


async def _frozen(scene: Scene, what: str) -> None:
    """Look on, for as long as it is frozen.

    Raises:
        CaseFailed: what it holds keeps everybody waiting.
    """
    began = time.monotonic()
    locked_s = 0.0
    while time.monotonic() - began < scene.lasting_s:
        if await _is_locked(scene.pool):
            locked_s = time.monotonic() - began
        await asyncio.sleep(LOOK_EVERY_S)
    scene.notes.append(f"{what} : verrou tenu {locked_s:.1f} s".replace(".", ","))
    if locked_s > LOCKED_FOR_S:
        raise CaseFailed(f"{what} : la table est restée verrouillée {locked_s:.0f} s")


async def _is_locked(pool: Pool) -> bool:
    return await pool.fetchval(IS_LOCKED)


async def _is_half_done(pool: Pool) -> bool:
    # Who asks for a column that is being added waits for it.
    return await pool.fetchval(HAS_COLUMN) and await pool.fetchval(
        f"SELECT count(*) FILTER (WHERE {COLUMN} IS NULL) > 0 AND count({COLUMN}) > 0 FROM device"
    )


async def _require_all(scene: Scene, number: int) -> None:
    async with scene.pool.acquire() as connection:
        ledger = await read_ledger(connection)
        wrong = await connection.fetchval(
            f"SELECT count(*) FROM device WHERE {COLUMN} IS DISTINCT FROM encode(dev_eui, 'hex')"
        )
    if ledger.number != number or wrong:
        raise CaseFailed(
            f"migrate relancé : le schéma est à {ledger.number}, {wrong} équipements sans leur valeur"
        )


@asynccontextmanager
async def _undone(scene: Scene, known: int) -> AsyncGenerator[None]:
    """The schema is afterwards what it was before: other cases rehearse other releases."""
    try:
        yield
    finally:
        connection = await connect(scene.processes.run.database_admin_url, "chaos")
        try:
            await connection.execute(UNDO)
            await connection.execute(FORGET, known)
        except (PostgresError, *DATABASE_AWAY) as away:
            scene.notes.append(f"le schéma n'est pas remis : {away}")
        finally:
            await connection.close()
