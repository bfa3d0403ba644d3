"""Equipment: the list, an asset with what it measures, and a device with its radio."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from operator import attrgetter
from typing import Annotated, Any, Literal
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from fastapi import Query, Response

from api import asset_state_store as store
from api.auth import Caller
from api.console.forms import errors_by_field
from api.console.navigation import marked
from api.console.pages import page_router
from api.console.territory.views import Filter, Filtered, read_choices
from api.console.visits import FieldAgentsVisit, PersonsVisit, ReadersVisit, values_of
from api.fields import EuiPath, Id
from api.pages import Paging
from api.routes import (
    alerts,
    assets,
    device_status,
    device_traffic,
    devices,
    measurements,
    rejections,
    years,
)
from core.runtime.http.errors import Problem

router = page_router()

PAGE, DEVICES_PAGE = "/equipements", "/capteurs"
SHOWN = 100
INVALID, MISSING, CONFLICT = 422, 404, 409
DEV_EUI = re.compile("[0-9a-f]{16}")


@dataclass(frozen=True, slots=True)
class Range:
    """How far back a chart looks, and in what steps."""

    name: str
    lasts: timedelta
    bucket: Literal["hour", "day", "week", "month"] | None


RANGES = {
    "24h": Range(marked("24 heures"), timedelta(days=1), None),
    "7j": Range(marked("7 jours"), timedelta(days=7), "hour"),
    "30j": Range(marked("30 jours"), timedelta(days=30), "day"),
    "1a": Range(marked("1 an"), timedelta(days=365), "day"),
}
COMPARISONS = ("", "avant", "annee")


@router.get(PAGE)
async def show_list(
    visit: ReadersVisit, wanted: Filtered, suite: Annotated[int, Query(ge=0, le=2**31 - 1)] = 0
) -> Response:
    """The list, under the map's filter; a DevEUI leads to its device."""
    asked = wanted.q.strip().lower()
    if DEV_EUI.fullmatch(asked):
        found = (await devices.list_devices(visit.caller, Paging(2), q=asked)).items
        if len(found) == 1:
            return visit.go(f"{DEVICES_PAGE}/{found[0].dev_eui}")
    async with visit.caller.reading() as connection:
        listed = await store.list_states(connection, wanted.wanted(), wanted.states(), suite, SHOWN + 1)
    shown = listed[:SHOWN]
    following = f"{PAGE}?{_following(wanted, shown[-1].id)}" if len(listed) > SHOWN else ""
    choices = await read_choices(visit.caller)
    return visit.page(
        "equipment/list.html", wanted=wanted, choices=choices, listed=shown, following=following, first=not suite
    )


def _following(wanted: Filter, last: int) -> str:
    return "&".join(filter(None, (wanted.address, urlencode({"suite": last}))))


@router.get(PAGE + "/{id}")
async def show_asset(
    id: Id,  # noqa: A002 - The path's word.
    visit: ReadersVisit,
    flux: Annotated[int | None, Query(ge=1, le=2**31 - 1)] = None,
    periode: Annotated[str, Query(max_length=4)] = "7j",
    compare: Annotated[str, Query(max_length=10)] = "",
) -> Response:
    """One asset: how it is, what it measures, its curve, its alerts, its devices."""
    return await _asset_page(visit, id, flux, periode, compare)


async def _asset_page(
    visit: PersonsVisit,
    asset_id: int,
    flux: int | None = None,
    periode: str = "7j",
    compare: str = "",
    problem: Problem | None = None,
) -> Response:
    caller = visit.caller
    asset = await assets.read_asset(asset_id, caller)
    async with caller.reading() as connection:
        states = await store.list_states(connection, store.Wanted(id=asset_id))
    latest: list[Any] = [*(await measurements.list_latest(caller, asset_id=[asset_id])).items]
    chosen = next((one for one in latest if one.id == flux), latest[0] if latest else None)
    span = RANGES.get(periode, RANGES["7j"])
    compared = compare if compare in COMPARISONS else ""
    curve = None if chosen is None else await _curve(caller, chosen.id, span, visit.language.zone.key, compared)
    return visit.page(
        "equipment/asset.html",
        200 if problem is None else problem.status,
        asset=asset,
        state=states[0],
        latest=latest,
        chosen=chosen,
        ranges=RANGES,
        range=next(name for name, one in RANGES.items() if one is span),
        compare=compared,
        curve=curve,
        alerts=(await alerts.list_alerts(caller, Paging(20), asset_id=asset_id)).items,
        problem=problem,
        errors=errors_by_field(problem),
        values=values_of(visit.form),
    )


@dataclass(frozen=True, slots=True)
class Point:
    """One line of the table below a curve, and one point of it."""

    at: datetime
    value: float | None
    low: float | None = None
    high: float | None = None
    former: float | None = None


async def _curve(caller: Caller, datastream: int, span: Range, zone: str, compare: str) -> list[Point]:
    """The points of a datastream over a range, with those of the range or the year before beside them."""
    if compare == "annee" and span.bucket == "day":
        return await _beside_last_year(caller, datastream, span, zone)
    until = datetime.now(UTC)
    points = await _points(caller, datastream, until - span.lasts, until, span, zone)
    if not compare:
        return points
    shift = span.lasts if compare == "avant" else _a_year_at(until, zone)
    former = await _points(caller, datastream, until - span.lasts - shift, until - shift, span, zone)
    by_instant = {point.at + shift: point.value for point in former}
    return [Point(point.at, point.value, point.low, point.high, by_instant.get(point.at)) for point in points]


async def _beside_last_year(caller: Caller, datastream: int, span: Range, zone: str) -> list[Point]:
    """The days of a range, also those of which nothing is known, with the same dates of the year before."""
    year: Any = await years.read_year(datastream, caller)
    return [
        Point(datetime.combine(one.day, time(), ZoneInfo(zone)), one.value, former=one.former)
        for one in year.items[-span.lasts.days :]
    ]


def _a_year_at(until: datetime, zone: str) -> timedelta:
    """From the same date of the year before to this one."""
    today = until.astimezone(ZoneInfo(zone)).date()
    return today - (years.a_year_before(today) or today - timedelta(days=366))


async def _points(
    caller: Caller, datastream: int, since: datetime, until: datetime, span: Range, zone: str
) -> list[Point]:
    if span.bucket is None:
        read = await measurements.list_measurements(datastream, caller, since, until, "asc", 1000)
        return [Point(one.time, one.value) for one in read.items]
    found: Any = await measurements.list_aggregates(datastream, caller, span.bucket, since, until, zone)
    return [
        Point(one.since, one.difference if one.mean is None else one.mean, one.minimum, one.maximum)
        for one in found.items
    ]


@router.post(PAGE + "/{id}/capteur")
async def place_device(id: Id, visit: FieldAgentsVisit) -> Response:  # noqa: A002 - The path's word.
    """Put a device here, in place of the one that serves."""
    try:
        await assets.assign_device(id, visit.form.of(assets.AssignedDevice), visit.caller)
    except Problem as problem:
        if problem.status not in {INVALID, MISSING, CONFLICT}:
            raise
        return await _asset_page(visit, id, problem=problem)
    return visit.go(f"{PAGE}/{id}", visit.gettext("Le capteur est posé ici à partir de maintenant."))


@router.get(DEVICES_PAGE + "/{dev_eui}")
async def show_device(dev_eui: EuiPath, visit: ReadersVisit) -> Response:
    """One device: whether it is heard, why not, what it sent and what waits for it."""
    caller = visit.caller
    device = await devices.read(dev_eui, caller)
    uplinks = (await device_traffic.list_uplinks(dev_eui, caller, limit=25)).items
    downlinks = (await device_traffic.list_downlinks_of_device(dev_eui, caller, limit=10)).items
    refused: list[rejections.RefusalAnswer] = []
    status: device_status.DeviceStatusAnswer | None = None
    try:
        refused = (await rejections.list_device_refusals(dev_eui, caller, 20)).items
        status = await device_status.read(dev_eui, caller)
    except Problem as problem:
        if problem.status != MISSING:  # What belongs to another tenant and is shared shows less.
            raise
    asset = None if device.asset_id is None else await assets.read_asset(device.asset_id, caller)
    return visit.page(
        "equipment/device.html",
        device=device,
        asset=asset,
        status=status,
        uplinks=uplinks,
        downlinks=downlinks,
        refused=refused,
        best=[max(one.receptions, key=attrgetter("rssi"), default=None) for one in uplinks],
    )
