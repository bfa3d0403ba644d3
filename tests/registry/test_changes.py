import asyncio

import pytest

from core.runtime.bus import connect_bus
from core.runtime.postgres import Pool
from registry.changes import LOOK_BACK_S, Change, RegistryWatcher

NOTE = """
INSERT INTO registry_change (entity, entity_id, changed_at)
VALUES ('device', $1, now() - make_interval(secs => $2))
"""


async def test_what_changed_while_the_database_was_out_of_reach_is_applied(
    pool: Pool, nats_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    applied: list[Change] = []

    async def apply(changes: list[Change]) -> None:
        applied.extend(changes)

    async with connect_bus(nats_url, "test") as bus:
        watcher = RegistryWatcher(pool, bus, apply)
        await watcher.poll()
        monkeypatch.setattr(watcher, "_read_at", asyncio.get_running_loop().time() - 600)
        await pool.execute(NOTE, 7, float(LOOK_BACK_S + 500))
        await pool.execute(NOTE, 8, 0.0)
        await watcher.poll()
        await watcher.poll()

    assert sorted(change.entity_id for change in applied) == [7, 8]
