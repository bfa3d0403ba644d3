"""When each bin that is visible will be full: its own weeks, or its neighbours', played from its last level."""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from core.runtime.postgres import Connection
from indicators.waste import forecast_store
from indicators.waste.forecast import FULL, Forecast, daily_gains, fill_speed, forecast
from indicators.waste.forecast_store import LevelNow
from indicators.waste.neighbours import PlacedBin, neighbours_of


@dataclass(frozen=True, slots=True)
class BinForecast:
    """A bin: its level of now (None: nothing was read for a week), when it will be full, how fast it fills."""

    bin: PlacedBin
    now: LevelNow | None
    forecast: Forecast | None
    speed: float | None

    def instant(self, days: float | None) -> datetime | None:
        """So many days from when it was read; None: unknown, or not within a year."""
        return None if days is None or self.now is None else self.now.at + timedelta(days=days)


async def read_forecasts(
    connection: Connection,
    most: int,
    *,
    kind: str | None = None,
    wanted: Container[int] | None = None,
    full: float = FULL,
) -> list[BinForecast]:
    """Of the first so many bins, by commune and name, of a kind; neighbours are among them.

    `wanted`: of these datastreams alone. `full`: the level at which a bin is said to be full.
    """
    placed = await forecast_store.select_placed_bins(connection, most)
    bins = [one for one in placed if kind in (None, one.kind)]
    ids = [one.datastream_id for one in bins]
    ends = await forecast_store.read_day_ends(connection, ids)
    levels = await forecast_store.read_levels_now(connection, ids)
    gains = {id_: daily_gains(of_bin) for id_, of_bin in ends.items()}
    return [
        _forecast(one, levels.get(one.datastream_id), bins, gains, full)
        for one in bins
        if wanted is None or one.datastream_id in wanted
    ]


def _forecast(
    one: PlacedBin,
    now: LevelNow | None,
    bins: Sequence[PlacedBin],
    gains: Mapping[int, Mapping[date, float]],
    full: float,
) -> BinForecast:
    if now is None:
        return BinForecast(one, None, None, None)
    own = gains.get(one.datastream_id, {})
    others = [gains[other.datastream_id] for other in neighbours_of(one, bins) if other.datastream_id in gains]
    found = forecast(now.level, now.day, own, others, full)
    return BinForecast(one, now, found, fill_speed(own, now.day))
