"""A service as small as one can be, to be killed, frozen and poisoned: writes its messages' lines to `written`.

Run as a module, with DATABASE_URL, NATS_URL and INSTANCE in its environment.
"""

import asyncio
import os
import signal
from collections.abc import Sequence

from core.messages import topics
from core.runtime import poison_guard
from core.runtime.bus import Message, ShardReader, connect_bus
from core.runtime.lease import Lease
from core.runtime.ownership import Sharded, ShardOwner, batches, fenced
from core.runtime.postgres import Pool, open_pool

SHARDED = Sharded("ingest", topics.UPLINKS, topics.uplinks, 4)
TABLE = """
CREATE TABLE written (
    id bigserial, shard smallint, epoch bigint, owner text, line text UNIQUE, was_quarantined boolean
);
GRANT ALL ON written TO territoire_service;
GRANT USAGE ON written_id_seq TO territoire_service;
"""
WRITE = """
INSERT INTO written (shard, epoch, owner, line, was_quarantined) SELECT $1, $2, $3, unnest($4::text[]), $5
ON CONFLICT (line) DO NOTHING
"""
POISON = "poison"


class SmallService:
    """Its `serve` is what an owner of shards runs."""

    def __init__(self, pool: Pool, instance: str) -> None:
        self._pool = pool
        self._instance = instance
        self._hand = asyncio.Lock()  # One item in hand at a time, whatever the number of shards.

    async def serve(self, lease: Lease, reader: ShardReader) -> None:
        async for messages in batches(reader, 10):
            async with self._hand:
                await self._work(lease, messages)

    async def _work(self, lease: Lease, messages: Sequence[Message]) -> None:
        for message in messages:
            lines = message.data.decode().splitlines()
            if lease.is_guarded:
                for item, line in enumerate(lines):
                    await self._take_guarded(lease, message.sequence, item, line)
            else:
                await self._write(lease, lines)
            await message.ack()

    async def _take_guarded(self, lease: Lease, sequence: int, item: int, line: str) -> None:
        if lease.is_poison(sequence, item):
            await self._write(lease, [line], was_quarantined=True)
            return
        await poison_guard.begin(self._pool, lease, sequence, item)
        await self._write(lease, [line])
        await poison_guard.commit(self._pool, lease)

    async def _write(self, lease: Lease, lines: Sequence[str], *, was_quarantined: bool = False) -> None:
        if POISON in lines and not was_quarantined:
            os._exit(9)
        async with fenced(self._pool, [lease]) as connection:
            await connection.execute(WRITE, lease.shard, lease.epoch, self._instance, lines, was_quarantined)


async def run(database_url: str, nats_url: str, instance: str) -> None:
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    async with open_pool(database_url, instance) as pool, connect_bus(nats_url, instance) as bus:
        service = SmallService(pool, instance)
        owner = ShardOwner(pool, bus, SHARDED, instance, service.serve, stopping)
        owning = asyncio.create_task(owner.run())
        await stopping.wait()
        owning.cancel()
        await asyncio.wait((owning,))


if __name__ == "__main__":
    asyncio.run(run(os.environ["DATABASE_URL"], os.environ["NATS_URL"], os.environ["INSTANCE"]))
