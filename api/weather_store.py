"""Degree days of months, from the temperatures that were imported."""

from collections.abc import Sequence
from datetime import date
from itertools import pairwise
from typing import Literal

from core.model.calendar_buckets import moved
from core.runtime.postgres import Connection
from indicators.buildings.degree_days import DayTemperatures, DegreeDays, degree_days
from registry import weather_days

MethodName = Literal["meteo", "energy_professionals"]


async def read_degree_days(
    connection: Connection, station: str, method: MethodName, months: Sequence[date]
) -> dict[date, DegreeDays]:
    """Of each of these months, which follow each other, by its first day."""
    edges = [*months, moved(months[-1], "month", 1)]
    days = await weather_days.list_days(connection, station, edges[0], edges[-1])
    known = {one.day: DayTemperatures(one.tn, one.tx) for one in days}
    return {since: degree_days(known, since, until, method) for since, until in pairwise(edges)}
