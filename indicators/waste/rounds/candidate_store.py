"""SQL of what rounds choose from: bins with their last levels and forecasts, as the reader may see them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from core.messages.measurements import SOUND
from core.runtime.postgres import Connection
from indicators.waste.forecast import Forecast
from indicators.waste.forecasts import read_forecasts
from indicators.waste.rounds.candidates import Bin
from indicators.waste.rounds.model import Place
from registry.rows import fetch_all

# Neighbours are looked for among so many levels.
PLACED_MOST = 2_000
VOLUME, DENSITY = "volume_l", "density_kg_m3"

# $1: kind; $2: commune, by name or code; $3: bins that are wanted wherever they are; $4: how many. Of a bin with
# several sensors the one that spoke last.
BINS = f"""
SELECT DISTINCT ON (a.id) a.id AS asset_id, a.latitude, a.longitude, a.attributes, d.id AS datastream_id,
       l.value AS level, l.time AS level_at, p.expected_interval
FROM asset a
LEFT JOIN datastream d ON d.asset_id = a.id AND d.quantity = 'fill_level' AND d.privacy_class < 2
LEFT JOIN latest l ON l.datastream_id = d.id AND l.{SOUND}
LEFT JOIN assignment s ON s.asset_id = a.id AND s.position = d.position AND s.during @> now()
LEFT JOIN device v ON v.id = coalesce(s.device_id, d.device_id)
LEFT JOIN device_profile p ON p.id = v.device_profile_id
WHERE a.kind = $1 AND a.archived_at IS NULL AND a.privacy_class < 2
  AND ($2::text IS NULL OR a.commune = $2 OR a.insee = $2 OR a.id = ANY($3::int[]))
ORDER BY a.id, l.time DESC NULLS LAST, d.id LIMIT $4
"""


@dataclass(frozen=True, slots=True)
class _Row:
    asset_id: int
    latitude: float | None
    longitude: float | None
    attributes: dict[str, Any]
    datastream_id: int | None
    level: float | None
    level_at: datetime | None
    expected_interval: timedelta | None


async def read_bins(
    connection: Connection,
    kind: str,
    commune: str | None,
    forced: Sequence[int],
    *,
    full: float,
    volume_l: float | None,
    density_kg_m3: float | None,
    most: int,
) -> list[Bin]:
    """Bins of a kind, each with when it will be as full as `full`; volume and density where it states none."""
    rows = await fetch_all(connection, _Row, BINS, kind, commune, forced, most)
    forecasts = await _forecasts(connection, kind, rows, full)
    return [
        Bin(
            row.asset_id,
            None if row.latitude is None or row.longitude is None else Place(row.latitude, row.longitude),
            _number(row.attributes, VOLUME) or volume_l,
            _number(row.attributes, DENSITY) or density_kg_m3,
            row.level,
            row.level_at,
            row.expected_interval,
            None if row.datastream_id is None else forecasts.get(row.datastream_id),
        )
        for row in rows
    ]


def _number(attributes: Mapping[str, Any], name: str) -> float | None:
    value = attributes.get(name)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and value > 0 else None


async def _forecasts(connection: Connection, kind: str, rows: Sequence[_Row], full: float) -> dict[int, Forecast]:
    """Of each level that has one."""
    wanted = {row.datastream_id for row in rows if row.datastream_id is not None}
    found = await read_forecasts(connection, PLACED_MOST, kind=kind, wanted=wanted, full=full)
    return {one.bin.datastream_id: one.forecast for one in found if one.forecast is not None}
