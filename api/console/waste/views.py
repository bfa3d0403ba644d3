"""Figures about bins: days at a level or above, emptyings, when each will be full."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Query, Response

from api.console.pages import page_router
from api.console.visits import ReadersVisit
from api.console.waste.filters import GROUPINGS, INVALID, PAGE, Filter, Filtered, common
from api.routes import waste as routes
from api.routes.waste import DaysAboveAnswer, ForecastAnswer
from core.runtime.http.errors import Problem

router = page_router()

SHOWN = 200
THRESHOLD = 75
NEVER = datetime.max.replace(tzinfo=UTC)
Percent = Annotated[int, Query(ge=1, le=100)]


async def answered(asking: Callable[[], Awaitable[Any]]) -> tuple[list[Any], Problem | None]:
    """The items of a list, or what is wrong with what was asked for."""
    try:
        return [*(await asking()).items], None
    except Problem as refused:
        if refused.status != INVALID:
            raise
        return [], refused


@router.get(PAGE + "/jours")
async def show_days(visit: ReadersVisit, wanted: Filtered, seuil: Percent = THRESHOLD) -> Response:
    """Days at a level or above, below it and unknown, the most first."""
    grouping: Any = GROUPINGS.get("" if wanted.par == "flux" else wanted.par, GROUPINGS["borne"])[0]
    items, problem = await answered(
        lambda: routes.list_days_above(visit.caller, wanted.wanted(visit), seuil, [grouping])
    )
    return visit.form_page(
        "waste/days.html",
        problem,
        items=_ordered(items, grouping)[:SHOWN],
        is_more=len(items) > SHOWN,
        grouping=grouping,
        threshold=seuil,
        query=wanted.query(visit, threshold=seuil, by=grouping),
        **await common(visit, wanted),
    )


def _ordered(items: list[DaysAboveAnswer], grouping: str) -> list[DaysAboveAnswer]:
    """Months as they follow, anything else by how long it was full, then by how long nobody knew."""
    if grouping == "month":
        return sorted(items, key=lambda one: one.month or "")
    return sorted(items, key=lambda one: (-one.above / one.days, -one.unknown / one.days, one.name or ""))


@router.get(PAGE + "/vidages")
async def show_emptyings(visit: ReadersVisit, wanted: Filtered) -> Response:
    """When bins were emptied, the last first, and who knows it."""
    found, problem = None, None
    try:
        found = await routes.list_emptyings(visit.caller, wanted.wanted(visit), SHOWN)
    except Problem as refused:
        if refused.status != INVALID:
            raise
        problem = refused
    items = [] if found is None else found.items
    return visit.form_page(
        "waste/emptyings.html",
        problem,
        items=items,
        by_round=[] if found is None else found.by_round,
        is_more=len(items) == SHOWN,
        query=wanted.query(visit, limit=routes.MOST_EMPTYINGS),
        **await common(visit, wanted),
    )


@router.get(PAGE + "/previsions")
async def show_forecasts(visit: ReadersVisit, wanted: Filtered) -> Response:
    """When each bin will be full, the first one first; those of which nobody can say it at the end."""
    found = await routes.list_forecasts(visit.caller, None, wanted.genre or None, wanted.commune or None)
    items = sorted(found.items, key=_when_full)
    return visit.page(
        "waste/forecasts.html",
        items=items[:SHOWN],
        is_more=len(items) > SHOWN,
        query={"kind": wanted.genre, "commune": wanted.commune},
        **await common(visit, Filter(wanted.genre, wanted.commune)),
    )


def _when_full(one: ForecastAnswer) -> tuple[datetime, datetime, bool, str]:
    return one.p50 or NEVER, one.p10 or NEVER, one.level is None, one.name
