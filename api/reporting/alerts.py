"""Alerts and sensors out of order in a monthly report."""

import re
from dataclasses import dataclass
from datetime import date

from alerting.health import find_sensors, list_unavailable
from alerting.health_store import API, SensorFilter
from api.reporting.asked import Asked
from core.runtime.postgres import Connection
from indicators.reports.model import Amount, Section, Service, Unknown, figures_of, table_of
from registry.places import Place
from registry.rows import fetch_one

# Of which kinds the alerts and sensors are that a report about one service has.
KINDS: dict[Service, str] = {
    "all": "",
    "waste": "_container$",
    "buildings": "^building$|room$|_meter$",
    "lighting": "^lighting_|^light_point$",
    "network": "",
    "cost": "^$",
}
SILENT_MOST = 10
ASSETS_AT_ONCE = 1_000
# $1: commune; $2: pattern of kinds; $3, $4: from when and until when.
COUNT = """
SELECT count(*) FILTER (WHERE l.opened_at >= $3)::int AS opened,
       count(*) FILTER (WHERE l.opened_at >= $3 AND l.severity IN ('major', 'critical'))::int AS grave,
       count(*) FILTER (WHERE l.resolved_at IS NULL OR l.resolved_at >= $4)::int AS open_at_end,
       count(*) FILTER (WHERE l.resolved_at >= $3 AND l.resolved_at < $4)::int AS ended,
       (avg(extract(epoch FROM l.resolved_at - l.opened_at))
            FILTER (WHERE l.resolved_at >= $3 AND l.resolved_at < $4) / 3600)::float8 AS hours
FROM alert l JOIN asset a ON a.id = l.asset_id
WHERE a.commune = $1 AND a.privacy_class < 2 AND a.kind ~ $2 AND l.opened_at < $4
  AND coalesce(l.resolved_at, $4) >= $3
"""


@dataclass(frozen=True, slots=True)
class _Counts:
    opened: int
    grave: int
    open_at_end: int
    ended: int
    hours: float | None


async def read_alerts(connection: Connection, asked: Asked) -> Section:
    """How many there were, and how long they lasted."""
    amounts = {month: await _alerts(connection, asked, month) for month in asked.months}
    return Section("alerts", tuple(figures_of(asked.month, amounts)))


async def _alerts(connection: Connection, asked: Asked, month: date) -> dict[str, Amount]:
    begin, end = asked.span(month)
    found = await fetch_one(connection, _Counts, COUNT, asked.commune, KINDS[asked.service], begin, end)
    assert found is not None  # noqa: S101 - Counts are one row.
    return {
        "alerts.opened": Amount(found.opened),
        "alerts.grave": Amount(found.grave),
        "alerts.open_at_end": Amount(found.open_at_end),
        "alerts.hours": Amount(found.hours, unknown=None if found.ended else Unknown.NOTHING_THERE),
    }


async def read_sensors(connection: Connection, asked: Asked, personal: frozenset[int]) -> Section | None:
    """Which assets nothing was heard of, by the alerts of silence; None where no sensor serves anything."""
    amounts: dict[date, dict[str, Amount]] = {}
    rows: list[tuple[str | float | None, ...]] = []
    for month in asked.months:
        served = [one for one in await _unheard(connection, asked, month) if one[0] not in personal]
        if month == asked.month:
            if not served:
                return None
            rows = [
                (name, days, of_days)
                for _, name, of_days, days in sorted(served, key=lambda one: (-(one[3] or 0.0), one[0]))
                if days is not None and days >= 1
            ]
        amounts[month] = _silence([days for _, _, _, days in served])
    amounts[asked.month]["sensors.ill"] = await _ill(connection, asked, personal)
    figures = figures_of(asked.month, amounts, ["sensors.ill"])
    return Section("sensors", tuple(figures), (), tuple(table_of("sensors.silent", rows, SILENT_MOST)))


async def _unheard(
    connection: Connection, asked: Asked, month: date
) -> list[tuple[int, str, float, float | None]]:
    """Id, name, days served and days unheard of each asset that a sensor served in the month."""
    found: list[tuple[int, str, float, float | None]] = []
    after = 0
    while True:
        part = await list_unavailable(
            connection, *asked.span(month), after=after, most=ASSETS_AT_ONCE, commune=asked.commune
        )
        found += [
            (one.id, one.name, one.served_days, one.unavailable_days)
            for one in part
            if _is_of(one.kind, asked.service)
        ]
        if len(part) < ASSETS_AT_ONCE:
            return found
        after = part[-1].id


def _is_of(kind: str, service: Service) -> bool:
    return re.search(KINDS[service], kind) is not None


def _silence(days: list[float | None]) -> dict[str, Amount]:
    known = [one for one in days if one is not None]
    unknown = None if known else Unknown.NO_RULE
    if not days:
        unknown = Unknown.NOTHING_THERE
    counted = (len(known), len(days))
    return {
        "sensors.served": Amount(len(days)),
        "sensors.silent": Amount(float(sum(one >= 1 for one in known)) if known else None, *counted, unknown),
        "sensors.silent_days": Amount(round(sum(known), 3) if known else None, *counted, unknown),
    }


async def _ill(connection: Connection, asked: Asked, personal: frozenset[int]) -> Amount:
    """How sensors are now: their health is judged when it is read."""
    if not asked.is_last:
        return Amount(None, unknown=Unknown.NOT_OF_THEN)
    wanted = SensorFilter(place=Place(commune=asked.commune))
    looked_at = ill = after = 0
    more: int | None = 0
    while more is not None:
        part = await find_sensors(connection, API, wanted, asked.now, after=after, most=ASSETS_AT_ONCE)
        judged = [
            one
            for one in part.sensors
            if _is_of(one.sensor.asset_kind or "", asked.service) and one.sensor.asset_id not in personal
        ]
        looked_at += len(judged)
        ill += sum(bool(one.health.findings) for one in judged)
        more = part.after
        after = more or 0
    return Amount(ill, looked_at, looked_at)
