"""How it stands with the restores that `pitr drill` tries: for maintenance's metrics, and for `doctor`."""

from dataclasses import dataclass
from datetime import datetime

from core.runtime.postgres import Connection, Pool
from registry.rows import fetch_one

# Until there has been a good one, an installation is as late as it has known of them.
READ = """
SELECT coalesce((SELECT max(ended_at) FROM restore_drill WHERE outcome = 'good'),
                (SELECT applied_at FROM schema_migration WHERE name LIKE '%restore_drills.sql')) AS good_at,
       coalesce((SELECT outcome FROM restore_drill ORDER BY id DESC LIMIT 1), '') AS last_outcome,
       coalesce((SELECT detail FROM restore_drill ORDER BY id DESC LIMIT 1), '') AS last_detail,
       EXISTS (SELECT FROM restore_drill WHERE outcome = 'good') AS was_ever_good
"""


@dataclass(frozen=True, slots=True)
class Drills:
    """When a restore last went well, or since when one is due; how the last one ended, empty: there is none."""

    good_at: datetime
    last_outcome: str
    last_detail: str
    was_ever_good: bool

    @property
    def has_failed(self) -> bool:
        """Whether the last one did not go well."""
        return self.last_outcome not in {"", "good"}


async def read_drills(connection: Connection | Pool) -> Drills:
    """How it stands with them."""
    drills = await fetch_one(connection, Drills, READ)
    assert drills is not None  # noqa: S101 - One row.
    return drills
