"""Which datastreams a question is of: those that are visible and wanted, with what their profiles say."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from core.model.consumption import Modulus
from core.model.quantities import QUANTITIES, Kind
from core.runtime.postgres import Connection
from ingest.series.buckets import AT_THE_EDGE, HOUR, finite
from registry.listing import numbered, planned_anew
from registry.wanted_datastreams import ASSET_WANTED, WantedDatastreams

NOTHING = timedelta(0)

SELECT_SERIES = numbered(f"""
SELECT d.id, d.asset_id, a.name AS asset_name, d.quantity, d.unit
FROM datastream d LEFT JOIN asset a ON a.id = d.asset_id
WHERE (:ids::int[] IS NULL OR d.id = ANY(:ids)) AND {ASSET_WANTED}
ORDER BY d.id LIMIT :most
""")
KNOWN_ASSETS = "SELECT id FROM asset WHERE id = ANY($1::int[])"
PROFILES = "SELECT datastream_id, since, modulus, expected_interval FROM datastream_profiles($1) ORDER BY 1, 2"


@dataclass(frozen=True, slots=True)
class Series:
    """A datastream that is visible and asked for; `expected` is how often its device is to speak."""

    id: int
    asset_id: int | None
    asset_name: str | None
    quantity: str
    unit: str
    expected: timedelta = HOUR
    moduli: Sequence[Modulus] = ()

    @property
    def kind(self) -> Kind:
        """How its values may be aggregated."""
        known = QUANTITIES.get(self.quantity)
        return Kind.GAUGE if known is None else known.kind

    @property
    def boundary(self) -> timedelta:
        """An index at an edge ends a bucket, anything else begins one."""
        return AT_THE_EDGE if self.kind is Kind.COUNTER else NOTHING


async def select_series(
    connection: Connection, ids: Sequence[int] | None, wanted: WantedDatastreams, most: int
) -> list[Series]:
    """Those that are visible, by id."""
    given = {name: value for name, value in wanted.values().items() if name != "dev_eui"}
    async with planned_anew(connection):
        values = SELECT_SERIES.values({**given, "ids": ids, "most": most})
        rows = await connection.fetch(SELECT_SERIES.sql, *values)
    return [Series(*row) for row in rows]


async def unknown_assets(connection: Connection, ids: Sequence[int]) -> list[int]:
    """Those of these assets that this reader does not see."""
    known = {row["id"] for row in await connection.fetch(KNOWN_ASSETS, ids)}
    return sorted(set(ids) - known)


async def with_profiles(connection: Connection, series: Sequence[Series]) -> list[Series]:
    """The same with what their devices' profiles say of them."""
    moduli: dict[int, list[Modulus]] = {}
    expected: dict[int, timedelta] = {}
    for id_, since, modulus, interval in await connection.fetch(PROFILES, [one.id for one in series]):
        moduli.setdefault(id_, []).append(Modulus(finite(since), modulus))
        expected[id_] = interval
    return [
        Series(
            one.id, one.asset_id, one.asset_name, one.quantity, one.unit, expected.get(one.id, HOUR),
            moduli.get(one.id, ()),
        )
        for one in series
    ]  # fmt: skip
