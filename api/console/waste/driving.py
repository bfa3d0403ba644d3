"""A round on a telephone, with one hand: the next bin, two large buttons, and what was said may be taken back."""

from typing import Any

from fastapi import Response

from api.console.forms import number_of
from api.console.pages import page_router
from api.console.visits import FieldAgentsVisit, PersonsVisit
from api.console.waste.rounds import HERE, SHAPES, TO_SHOW, WORDS
from api.fields import Id
from api.round_types import RoundStopAnswer, StopOutcomeBody
from api.routes import round_withdrawals, rounds
from core.runtime.http.errors import Problem, invalid

router = page_router()


@router.get(HERE + "/{id}/terrain")
async def show_next(id: Id, visit: FieldAgentsVisit) -> Response:  # noqa: A002 - The path's word.
    """The bin that comes next, or the one that the address names."""
    return await _page(visit, id)


async def _page(visit: PersonsVisit, round_id: int, problem: Problem | None = None) -> Response:
    found: Any = await rounds.read_round(round_id, visit.caller)
    asked = visit.request.query_params
    truck = number_of(asked.get("camion", "")) if found.trucks > 1 else None
    stops = [one for one in found.bins if one.position is not None and truck in (None, one.truck)]
    chosen = number_of(visit.form.text("borne") or asked.get("borne", ""))
    stop = next((one for one in stops if one.asset_id == chosen), None) or following(stops)
    return visit.form_page(
        "waste/driving.html",
        problem,
        round=found,
        truck=truck,
        stops=stops,
        stop=stop,
        done=sum(one.outcome is not None for one in stops),
        before=next((one for one in stops if one.asset_id == number_of(asked.get("apres", ""))), None),
        address=f"{HERE}/{round_id}/terrain",
        shapes=SHAPES,
        **WORDS,
    )


def following(stops: list[RoundStopAnswer]) -> RoundStopAnswer | None:
    """The first of which nothing is said yet."""
    return next((one for one in stops if one.outcome is None), None)


@router.post(HERE + "/{id}/terrain")
async def say(id: Id, visit: FieldAgentsVisit) -> Response:  # noqa: A002 - The path's word.
    """What became of a bin; said again it is corrected, and it may be taken back."""
    form = visit.form
    asset_id = number_of(form.text("borne"))
    try:
        if asset_id is None:
            raise invalid("borne", "unknown", "borne inconnue")
        if form.text("reprendre"):
            await round_withdrawals.withdraw_round_stop(id, asset_id, visit.caller)
        else:
            await rounds.record_round_stop(id, asset_id, form.of(StopOutcomeBody), visit.caller)
    except Problem as problem:
        if problem.status not in TO_SHOW:
            raise
        return await _page(visit, id, problem)
    truck = number_of(form.text("camion"))
    named = f"borne={asset_id}" if form.text("reprendre") else f"apres={asset_id}"
    return visit.go(f"{HERE}/{id}/terrain?{named}{f'&camion={truck}' if truck else ''}")
