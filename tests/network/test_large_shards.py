"""A shard may have tens of thousands of devices: it is read while the rest goes on."""

import time

import pytest

from core.messages.topics import slots_of_shard
from core.runtime.postgres import Pool
from lab.bench.takeover import KEYS, SHARD, SHARDS, plant, take_shard
from network import store
from registry.keys import KeyWrap

DEVICES, SLOW_S = 150, 0.01


@pytest.fixture
async def crowded(pool: Pool) -> Pool:
    """Many devices in one shard."""
    await plant(pool, DEVICES)
    return pool


async def test_the_transaction_does_not_stand_idle_while_keys_are_unwrapped(
    crowded: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL ends one that does, after three seconds: the shard would never be anybody's again."""
    unwrap = store._held

    def slowly(*row) -> store.HeldSession:
        time.sleep(SLOW_S)
        return unwrap(*row)

    monkeypatch.setattr(store, "_held", slowly)
    monkeypatch.setattr(store, "PAGE", 5)
    async with crowded.acquire() as connection, connection.transaction():
        # Half of what all of it takes, and fifteen times what a page does: a loaded machine may oversleep.
        await connection.execute("SET LOCAL idle_in_transaction_session_timeout = '750ms'")
        found = await store.read_all_sessions(connection, slots_of_shard(SHARD, SHARDS), KEYS)
        still_there = await connection.fetchval("SELECT 1")

    assert len(found.held) == DEVICES
    assert still_there == 1


async def test_every_session_and_device_of_the_shard_is_there(crowded: Pool) -> None:
    figures = await take_shard(crowded, DEVICES)

    assert (figures["held"], figures["sealed"]) == (DEVICES, 0)


async def test_sessions_under_another_key_encryption_key_are_named(crowded: Pool) -> None:
    async with crowded.acquire() as connection, connection.transaction():
        found = await store.read_all_sessions(
            connection, slots_of_shard(SHARD, SHARDS), KeyWrap("kek-1", bytes(32))
        )

    assert found.held == []
    assert len(found.sealed) == DEVICES
