"""The only writer of `observation.quarantine`: items that cannot be read or stored, kept with the reason."""

from collections.abc import Sequence

from core.model.quarantine import Quarantined
from core.runtime.postgres import Connection, Pool

MOST_DETAIL = 1_000

# An item that comes again after a crash is kept once.
INSERT = """
INSERT INTO observation.quarantine (service, subject, sequence, reason, data, detail)
SELECT $1, * FROM unnest($2::text[], $3::bigint[], $4::text[], $5::bytea[], $6::text[])
ON CONFLICT DO NOTHING
"""


async def quarantine(connection: Connection | Pool, service: str, items: Sequence[Quarantined]) -> None:
    """Keep these items of a service."""
    if items:
        await connection.execute(
            INSERT,
            service,
            [item.subject for item in items],
            [item.sequence for item in items],
            [item.reason for item in items],
            [item.data for item in items],
            [item.detail.replace("\0", "")[:MOST_DETAIL] for item in items],
        )
