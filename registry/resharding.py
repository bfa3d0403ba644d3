"""Divides the work in another number of shards, while nothing of it is under way."""

from core.messages import topics
from core.runtime.bus import Bus
from core.runtime.errors import OperatorError
from core.runtime.lease import read_shards
from core.runtime.postgres import Connection
from registry.audit import write_audit
from registry.releases import living_services

WRITE_SHARDS = "UPDATE deployment SET shards = $1"
# A lease names a shard by its number, and with it what its reader had in hand.
FORGET_LEASES = "DELETE FROM shard_lease"


class StillAtWork(OperatorError):
    """A process lives that routes by the number of shards, or a message waits where that number has put it."""


async def reshard(connection: Connection, bus: Bus, shards: int, actor: str) -> int:
    """Write the new number; returns the one before. A process asks the database for it when it starts.

    Leases go with it, and the bus forgets its readers: those of the new shards begin where theirs begin.

    Raises:
        StillAtWork: nothing is changed.
    """
    if living := await living_services(connection):
        raise StillAtWork(
            f"services are alive: {', '.join(living)}",
            f"des services tournent encore : {', '.join(living)}. Arrêtez-les et attendez une minute",
        )
    for stream in (topics.FRAMES, topics.UPLINKS):
        if waiting := await bus.stream_messages(stream):
            raise StillAtWork(
                f"{stream} holds {waiting} messages",
                f"messages de {stream} qui attendent d'être lus : {waiting}. Ils sont rangés selon l'ancien "
                "nombre de parts : démarrez network et ingest, sans pont ni intake, le temps qu'ils les lisent",
            )
    await bus.forget_readers()
    return await write_shards(connection, shards, actor)


async def write_shards(connection: Connection, shards: int, actor: str) -> int:
    """Write the new number where nothing is under way, as in a database that was just restored; the one before."""
    async with connection.transaction():
        former = await read_shards(connection)
        await connection.execute(WRITE_SHARDS, shards)
        await connection.execute(FORGET_LEASES)
        change = {"before": {"shards": former}, "after": {"shards": shards}}
        await write_audit(connection, None, actor, "reshard", "deployment", "deployment", change)
    return former
