"""Which bins a round would empty, before it is planned."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import Field

from api.auth import Reader
from api.extent import CommuneOrCode
from api.fields import PRINTABLE, Answer, Day
from api.pages import Page
from api.round_types import CHOSEN_TEXT, LEFT_TEXT, PART_TEXT
from api.routes.rounds import A_WEEK, DENSITIES, zone_of
from core.runtime.http.errors import PROBLEM_RESPONSES, FieldError, Problem
from indicators.waste.bins_now import BinNow, read_bins_now
from indicators.waste.rounds.candidate_store import read_bins
from indicators.waste.rounds.candidates import Candidate, Criteria, candidates
from indicators.waste.rounds.model import ChosenBy, LeftReason, Part
from indicators.waste.rounds.planner import BINS_MOST

router = APIRouter(prefix="/v1/rounds", tags=["waste"], responses=PROBLEM_RESPONSES)

# Where a bin says nothing of what it holds, its weight is unknown here, and not why it is left.
NO_DENSITY = 1.0
OPENS_AT = time(6)


class RoundCandidateAnswer(Answer):
    """Une borne que la tournée viderait, ou dont personne ne connaît le niveau."""

    asset_id: int
    name: str
    street: str
    commune: str
    latitude: float | None
    longitude: float | None
    chosen_by: ChosenBy = Field(description=CHOSEN_TEXT)
    level: float | None = Field(description="Le niveau qui vaut encore, en pour cent ; null : inconnu")
    level_at: datetime | None
    source: Literal["sensor", "manual"] | None = Field(
        description="D'où vient le dernier niveau : `manual`, quelqu'un l'a relevé ; null : aucun"
    )
    full_at: datetime | None = Field(description="Quand elle est prévue au seuil de prévision")
    left_reason: LeftReason | None = Field(description=LEFT_TEXT)


@router.get("/candidates", operation_id="listRoundCandidates", summary="Dire quelles bornes une tournée viderait")
async def list_round_candidates(
    caller: Reader,
    kind: Annotated[
        str, Query(min_length=1, max_length=63, pattern=PRINTABLE, description="Type des bornes")
    ] = "glass_container",
    commune: CommuneOrCode = None,
    planned_for: Annotated[Day | None, Query(description="Le jour de la tournée ; absent : aujourd'hui")] = None,
    next_round_on: Annotated[
        Day | None, Query(description="Le jour de la tournée suivante ; absent : sept jours après")
    ] = None,
    threshold: Annotated[int, Query(ge=1, le=100, description="Vidée à partir de ce niveau")] = 75,
    forecast_threshold: Annotated[int, Query(ge=1, le=100, description="Ou prévue à ce niveau avant")] = 90,
    forecast_part: Annotated[Part, Query(description=PART_TEXT)] = "p50",
) -> Page[RoundCandidateAnswer]:
    """Rien n'est gardé. Un relevé manuel compte comme une mesure, aussi longtemps qu'elle."""
    now = datetime.now(UTC)
    async with caller.reading() as connection:
        zone = await zone_of(caller, connection)
        bins = await read_bins(
            connection,
            kind,
            commune,
            (),
            full=forecast_threshold,
            volume_l=None,
            density_kg_m3=DENSITIES.get(kind, NO_DENSITY),
            most=BINS_MOST + 1,
        )
        if len(bins) > BINS_MOST:
            raise _rejected("commune", f"plus de {BINS_MOST} bornes : précisez « commune »")
        opens_at = _opening(planned_for or now.astimezone(zone).date(), next_round_on)
        criteria = Criteria(threshold, forecast_part, datetime.combine(opens_at, OPENS_AT, zone).astimezone(UTC))
        found = candidates(bins, criteria, now)
        known = await read_bins_now(connection, [one.bin.asset_id for one in found])
    items = [_answer(one, known[one.bin.asset_id]) for one in found if one.bin.asset_id in known]
    return Page(items=sorted(items, key=lambda one: (-(one.level or -1), one.commune, one.name)), next=None)


def _opening(planned_for: date, next_round_on: date | None) -> date:
    following = next_round_on or planned_for + A_WEEK
    if following - planned_for < timedelta(days=1):
        raise _rejected("next_round_on", "la tournée suivante vient après celle-ci")
    return following


def _rejected(field: str, message: str) -> Problem:
    return Problem(422, message, errors=[FieldError(field=f"query.{field}", code="range", message=message)])


def _answer(one: Candidate, known: BinNow) -> RoundCandidateAnswer:
    place = one.bin.place
    return RoundCandidateAnswer(
        asset_id=one.bin.asset_id,
        name=known.name,
        street=known.street,
        commune=known.commune,
        latitude=None if place is None else place.latitude,
        longitude=None if place is None else place.longitude,
        chosen_by=one.chosen_by,
        level=one.level,
        level_at=one.bin.level_at,
        source=known.source,
        full_at=one.full_at,
        left_reason=one.left_reason,
    )
