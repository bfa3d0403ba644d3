"""What the lamps of assets should do now, by the programs that they follow."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from core.model.lighting import Expected, LampPlace, Lamps, expected
from core.model.lighting_programs import stored_program
from core.model.region import region_of, school_zone_of
from core.runtime.postgres import Connection, Pool
from registry.rows import fetch_all

# Assets without a program are here, too: their lamps burn from dusk to dawn. A circuit of which nobody knows where
# it is is where its cabinet is. Of a shared asset the owner's department is not shown: the deployment's zone then.
READ_LAMPS = """
SELECT s.id AS asset_id, coalesce(s.latitude, c.latitude) AS latitude,
       coalesce(s.longitude, c.longitude) AS longitude, t.department,
       (SELECT timezone FROM deployment) AS timezone, f.version_id, f.program,
       coalesce(f.rated_power_w, lighting_rated_power_w(s.id, s.attributes)) AS rated_power_w
FROM asset s
LEFT JOIN tenant t ON t.id = s.tenant_id
LEFT JOIN asset c ON c.id = s.parent_id AND s.latitude IS NULL
LEFT JOIN lighting_program_in_force f ON f.asset_id = s.id
WHERE s.id = ANY($1::int[])
"""


@dataclass(frozen=True, slots=True)
class LampRow:
    """What the database says of an asset's lamps; without `version_id` they follow no program."""

    asset_id: int
    latitude: float | None
    longitude: float | None
    department: str | None
    timezone: str
    version_id: int | None
    program: object
    rated_power_w: float | None

    @property
    def place(self) -> LampPlace:
        """Where they are."""
        return LampPlace(
            self.latitude,
            self.longitude,
            region_of(self.department, self.timezone),
            school_zone_of(self.department),
        )

    @property
    def lamps(self) -> Lamps:
        """What they should do, and what they draw."""
        return Lamps(stored_program(self.program), self.rated_power_w)


async def read_lamps(connection: Connection | Pool, asset_ids: Sequence[int]) -> dict[int, LampRow]:
    """What is known of the lamps of these assets, by their ids; of one that is not visible nothing."""
    rows = await fetch_all(connection, LampRow, READ_LAMPS, list(asset_ids))
    return {row.asset_id: row for row in rows}


async def expected_of(
    connection: Connection | Pool, asset_ids: Sequence[int], now: datetime
) -> Mapping[int, Expected | None]:
    """What should burn now, by asset; None: nobody can say, as around each switching.

    An asset that is not visible is None as well.
    """
    rows = await read_lamps(connection, asset_ids)
    found: dict[int, Expected | None] = dict.fromkeys(asset_ids)
    for asset_id, row in rows.items():
        found[asset_id] = expected(row.lamps.program, row.place, now)
    return found
