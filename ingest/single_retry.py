"""Uplinks one at a time, each in a transaction of its own: when a batch was refused, or has ended the service."""

from collections.abc import AsyncGenerator, Sequence

import structlog

from core.runtime.lease import Lease, note_done, note_in_hand
from core.runtime.ownership import ShardsLost
from core.runtime.postgres import BAD_DATA, DATABASE_AWAY, ForeignKeyViolationError, PostgresError
from ingest.batch import Delivered, Prepared, quarantine_of
from ingest.pipeline import readable
from ingest.prepare import Registry, prepare
from ingest.store import Store, Written

log = structlog.get_logger()

# Not the uplink's fault: the pass is tried again.
PASSING = (ShardsLost, ForeignKeyViolationError, *DATABASE_AWAY)
Done = tuple[Prepared, Written]


class OneByOne:
    """Prepares and writes single uplinks; what cannot be stored goes to quarantine, and its neighbours are."""

    def __init__(self, registry: Registry, store: Store) -> None:
        self._registry = registry
        self._store = store

    async def store_each(self, leases: Sequence[Lease], delivered: Sequence[Delivered]) -> AsyncGenerator[Done]:
        """Store every uplink of these messages. Raises one of PASSING, and other errors of the database."""
        for message in delivered:
            for place in range(len(message.uplinks)):
                yield await self._store_one(leases, single(message, place))

    async def store_carefully(self, lease: Lease, delivered: Delivered) -> AsyncGenerator[Done]:
        """As `store_each`, recording each uplink in the lease row first (docs/architecture.md, "Poison").

        Raises also LeaseLost.
        """
        sequence = delivered.sequence
        for place in range(len(delivered.uplinks)):
            one = single(delivered, place)
            if lease.is_poison(sequence, place):
                log.error("uplink_quarantined", sequence=sequence, item=place, crashes=lease.crashes)
                reason = f"Écarté sans être lu : le service s'est arrêté {lease.crashes} fois en le traitant"
                yield await self._write([lease], Prepared(quarantined=quarantine_of(one, "poison", reason)))
            else:
                await note_in_hand(self._registry.pool, lease, sequence, place)
                yield await self._store_one([lease], one)
                await note_done(self._registry.pool, lease)

    async def _store_one(self, leases: Sequence[Lease], one: Delivered) -> Done:
        try:
            return await self._write(leases, await prepare([one], self._registry))
        except PASSING:
            raise
        except BAD_DATA as refused:
            kind, reason = "refused_value", f"Refusé par la base : {refused}"
        except PostgresError:
            raise
        except Exception as defect:
            log.exception("uplink_not_stored", sequence=one.sequence)
            kind, reason = "defect", f"Défaut du traitement : {type(defect).__name__} {defect}"
        return await self._write(leases, Prepared(quarantined=quarantine_of(one, kind, readable(reason))))

    async def _write(self, leases: Sequence[Lease], prepared: Prepared) -> Done:
        return prepared, await self._store.write(leases, prepared)


def single(delivered: Delivered, place: int) -> Delivered:
    """One uplink of a message."""
    return delivered._replace(uplinks=[delivered.uplinks[place]])
