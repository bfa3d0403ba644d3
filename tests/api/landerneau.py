"""Landerneau, of which reports are made: a school with a meter since a year, a bin that spoke for ten days."""

from dataclasses import dataclass
from datetime import date
from typing import Any

from core.runtime.postgres import Pool
from indicators.waste.refresh import refresh_fill_days
from tests.api.metering import HOUR, Metering, daily, local


@dataclass(frozen=True, slots=True)
class Landerneau:
    school: int
    index: int
    bin: int
    bin_asset: int


async def make_landerneau(metering: Metering, registry, observations, pool: Pool) -> Landerneau:
    school = await metering.building(surface_m2=1000)
    index = await metering.index(school, "active_energy_import", interval_s=86_400)

    # 10 kWh a day, in Wh, from May 2025 to August 2026; 12 kWh a day in July 2026.
    def a_day(day: date) -> float:
        return 12_000 if (day.year, day.month) == (2026, 7) else 10_000

    await metering.write(index, daily(date(2025, 5, 31), 430, a_day))
    asset = await registry.asset(name="Verre Mairie")
    device = await registry.device(await registry.profile(expected_interval_s=6 * 3600), asset_id=asset["id"])
    bin_ = await observations.datastream(device["dev_eui"], asset["id"], "fill_level", "%")
    levels = {local(2026, 7, 1) + 6 * HOUR * n: 10.0 for n in range(4 * 8)}  # Eight days.
    levels |= {local(2026, 7, 9) + 6 * HOUR * n: 80.0 for n in range(4 * 2)}  # Two days full.
    levels |= {local(2026, 7, 11): 5.0, local(2026, 7, 11) + HOUR: 5.0}  # Then silence.
    await observations.readings(bin_, levels)
    await refresh_fill_days(pool)
    return Landerneau(school, index, bin_, asset["id"])


async def write_late(pool: Pool, observations, bin_: int) -> None:
    """The bin was full for six hours and more on the 20th, which comes late."""
    levels = {local(2026, 7, 20): 90.0, local(2026, 7, 20) + 6 * HOUR: 90.0}
    await observations.readings(bin_, levels)
    await pool.execute(
        "INSERT INTO observation.feed (n, datastream_ids, times) VALUES ($1, $2, $3)",
        len(levels), [bin_] * len(levels), list(levels),
    )  # fmt: skip
    await refresh_fill_days(pool)


def figures(content: dict[str, Any]) -> dict[str, Any]:
    return {one["id"]: one for section in content["sections"] for one in section["figures"]}
