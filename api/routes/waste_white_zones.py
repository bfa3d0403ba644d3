"""Bins that the network does not reach: somebody has to look at them, and what they read counts."""

from datetime import date, datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import Field

from api.auth import Reader
from api.extent import Commune
from api.pages import Page
from api.routes.network_coverage import DAYS, Covered, DaysQuery, whole_days
from core.runtime.http.errors import PROBLEM_RESPONSES
from indicators.network.coverage import coverage_of
from indicators.network.store import CoveredAsset, list_coverage
from indicators.waste.bins_now import BinNow, read_bins_now

router = APIRouter(prefix="/v1/waste", tags=["waste"], responses=PROBLEM_RESPONSES)

Unreached = Literal["white", "unknown"]


class WhiteZoneBin(Covered):
    """Une borne que le réseau n'atteint pas, ou dont on ne sait pas s'il l'atteint."""

    state: Unreached = Field(
        description="`white` : plus de 50 % de trames perdues ; `unknown` : moins de 20 trames émises"
    )
    last_heard_at: datetime | None = Field(description="Dernier signe de vie du capteur ; null : jamais")
    datastream_id: int | None = Field(
        description="Le flux où saisir un relevé (`manual-readings`) ; null : aucun niveau n'y a jamais été mesuré"
    )
    level: float | None = Field(description="Le dernier niveau, en pour cent")
    level_at: datetime | None
    source: Literal["sensor", "manual"] | None = Field(
        description="D'où il vient : `manual`, quelqu'un l'a relevé ; null : aucun niveau"
    )


@router.get(
    "/white-zones", operation_id="listWasteWhiteZones", summary="Lister les bornes que le réseau n'atteint pas"
)
async def list_white_zones(
    caller: Reader,
    days: DaysQuery = DAYS,
    commune: Commune = None,
    state: Annotated[Unreached | None, Query(description="Absent : zones blanches et inconnues")] = None,
) -> Page[WhiteZoneBin]:
    """D'après le trafic de production ; un relevé manuel y compte comme une mesure dans tous les chiffres."""
    async with caller.reading() as connection:
        since, until = await whole_days(caller, connection, days)
        rows = await list_coverage(connection, since, until, commune)
        wanted: tuple[Unreached, ...] = ("white", "unknown") if state is None else (state,)
        unreached = [row for row in rows if coverage_of(row.sums).state in wanted]
        bins = await read_bins_now(connection, [row.asset_id for row in unreached])
    found = [_bin(row, bins[row.asset_id], since, until) for row in unreached if row.asset_id in bins]
    return Page(
        items=sorted(found, key=lambda one: (one.state != "white", one.commune, one.name, one.id)), next=None
    )


def _bin(row: CoveredAsset, now: BinNow, since: date, until: date) -> WhiteZoneBin:
    return WhiteZoneBin.of_asset(
        row,
        since,
        until,
        state="white" if coverage_of(row.sums).state == "white" else "unknown",
        last_heard_at=now.last_heard_at,
        datastream_id=now.datastream_id,
        level=now.level,
        level_at=now.level_at,
        source=now.source,
    )
