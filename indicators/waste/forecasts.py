"""When each bin that is visible will be full: its own weeks, or its neighbours', played from its last level."""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from core.runtime.postgres import Connection
from indicators.waste import forecast_store
from indicators.waste.forecast import FULL, Forecast, daily_gains, fill_speed, forecast, has_weeks
from indicators.waste.forecast_store import LevelNow
from indicators.waste.neighbours import Bands, PlacedBin, neighbours_of


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
    commune: str | None = None,
    wanted: Container[int] | None = None,
    full: float = FULL,
) -> list[BinForecast]:
    """Of the first so many bins, by commune and name, of a kind; neighbours are among them.

    `commune`, `wanted`: of this commune, of these datastreams alone. `full`: the level at which a bin is full.
    """
    placed = await forecast_store.select_placed_bins(connection, most)
    bins = [one for one in placed if kind in (None, one.kind)]
    asked = [
        one for one in bins if commune in (None, one.commune) and (wanted is None or one.datastream_id in wanted)
    ]
    ids = [one.datastream_id for one in asked]
    levels = await forecast_store.read_levels_now(connection, ids)
    gains = await _read_gains(connection, ids)
    near = _neighbours(asked, levels, bins, gains)
    # The weeks of another bin are read where they are played, and nowhere else.
    others = {id_ for of_one in near.values() for id_ in of_one}.difference(ids)
    gains |= await _read_gains(connection, sorted(others))
    return [_forecast(one, levels.get(one.datastream_id), near, gains, full) for one in asked]


async def _read_gains(connection: Connection, ids: Sequence[int]) -> dict[int, dict[date, float]]:
    ends = await forecast_store.read_day_ends(connection, ids) if ids else {}
    return {id_: daily_gains(of_bin) for id_, of_bin in ends.items()}


def _neighbours(
    asked: Sequence[PlacedBin],
    levels: Mapping[int, LevelNow],
    bins: Sequence[PlacedBin],
    gains: Mapping[int, Mapping[date, float]],
) -> dict[int, list[int]]:
    """Of each whose level is known and whose own weeks are too few, the nearest."""
    bands = Bands(bins)
    return {
        one.datastream_id: [other.datastream_id for other in neighbours_of(one, bands.around(one))]
        for one in asked
        if (now := levels.get(one.datastream_id)) is not None
        and not has_weeks(gains.get(one.datastream_id, {}), now.day)
    }


def _forecast(
    one: PlacedBin,
    now: LevelNow | None,
    near: Mapping[int, Sequence[int]],
    gains: Mapping[int, Mapping[date, float]],
    full: float,
) -> BinForecast:
    if now is None:
        return BinForecast(one, None, None, None)
    own = gains.get(one.datastream_id, {})
    others = [gains[id_] for id_ in near.get(one.datastream_id, ()) if id_ in gains]
    found = forecast(now.level, now.day, own, others, full)
    return BinForecast(one, now, found, fill_speed(own, now.day))
