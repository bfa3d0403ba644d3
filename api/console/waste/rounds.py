"""Rounds: which bins they would empty, planned with trucks and places, shown on a map, printed, cancelled."""

import json
from datetime import datetime, timedelta
from typing import Any

from fastapi import Response

from api.console.forms import checked, number_of
from api.console.navigation import marked
from api.console.pages import page_router
from api.console.visits import ManagersVisit, PersonsVisit, ReadersVisit
from api.console.waste.filters import PAGE, Filter, common, day_of
from api.fields import Id
from api.pages import Paging
from api.round_types import NewRoundBody, RoundCancellationBody
from api.round_words import CHOSEN_BY, LEFT_REASONS, OUTCOMES, SKIP_REASONS
from api.routes import round_candidates, rounds
from core.runtime.http.errors import Problem, invalid

router = page_router()

HERE = PAGE + "/tournees"
SHOWN = 50
TO_SHOW = (409, 422, 503)
POINT_PARTS = 2
LITRES, KILOGRAMMES, SECONDS = 1000, 1000, 60
GLASS = "glass_container"
# As the sheet on paper says it; extracted from here for other languages.
NAMES = (
    marked("pleine maintenant"), marked("pleine avant la tournée suivante"), marked("ajoutée à la main"),
    marked("niveau inconnu"), marked("niveau inconnu : capteur muet depuis trop longtemps"),
    marked("niveau inconnu : jamais mesuré"), marked("sans position"), marked("sans volume"),
    marked("plus que ce qu'un camion vide peut prendre"), marked("pas le temps pendant les horaires"),
    marked("vidée"), marked("non vidée"), marked("inaccessible"), marked("pas assez pleine"),
    marked("borne abîmée"), marked("contenu non conforme"), marked("camion plein"), marked("pas le temps"),
    marked("autre motif"),
)  # fmt: skip
WORDS: dict[str, Any] = {
    "chosen_by": CHOSEN_BY,
    "left_reasons": LEFT_REASONS,
    "outcomes": OUTCOMES,
    "skip_reasons": SKIP_REASONS,
    "home": PAGE,
}
SHAPES = {"emptied": "ok", "skipped": "warning"}


@router.get(HERE)
async def show_rounds(visit: ReadersVisit) -> Response:
    """The last planned first."""
    found = await rounds.list_rounds(visit.caller, Paging(SHOWN))
    return visit.page("waste/rounds.html", items=found.items, is_more=found.next is not None, **WORDS)


@router.get(HERE + "/nouvelle")
async def show_form(visit: ManagersVisit) -> Response:
    """Which bins it would empty, and the form of its trucks and places, as they were the last time."""
    return await _form(visit)


async def _form(visit: PersonsVisit, problem: Problem | None = None) -> Response:
    asked = _asked(visit)
    candidates: list[Any] = []
    try:
        found = await round_candidates.list_round_candidates(
            visit.caller,
            asked["kind"],
            asked["commune"] or None,
            asked["planned_for"],
            asked["next_round_on"],
            asked["threshold"],
            asked["forecast_threshold"],
        )
        candidates = [*found.items]
    except Problem as refused:
        if refused.status not in TO_SHOW:
            raise
        problem = problem or refused
    former = (await rounds.list_rounds(visit.caller, Paging(1))).items
    values = _as_last(former[0] if former else None) | dict(visit.form.carried())
    return visit.form_page(
        "waste/plan.html",
        problem,
        asked=asked,
        candidates=[one for one in candidates if one.chosen_by != "unknown"],
        unknown=[one for one in candidates if one.chosen_by == "unknown"],
        values=values,
        left=set(visit.form.texts("laisser")),
        added=set(visit.form.texts("ajouter")),
        **await common(visit, Filter(genre=asked["kind"], commune=asked["commune"])) | WORDS,
    )


def _asked(visit: PersonsVisit) -> dict[str, Any]:
    """Of which bins, on which day: from the address, or from the form that came with it."""

    def text(name: str) -> str:
        return (visit.form.text(name) or visit.request.query_params.get(name, ""))[:200]

    def percent(name: str, usual: int) -> int:
        return min(number_of(text(name)) or usual, 100)

    tomorrow = datetime.now(visit.language.zone).date() + timedelta(days=1)
    planned_for = day_of(text("planned_for")) or tomorrow
    return {
        "kind": text("kind") or GLASS,
        "commune": text("commune"),
        "planned_for": planned_for,
        "next_round_on": day_of(text("next_round_on")) or planned_for + timedelta(days=7),
        "threshold": percent("threshold", 75),
        "forecast_threshold": percent("forecast_threshold", 90),
    }


def _as_last(former: Any) -> dict[str, str]:
    """The trucks and places of the last round, which seldom change."""
    if former is None:
        return {
            "trucks": "1", "opens_at": "06:00", "closes_at": "14:00", "service": "5", "unloading": "20",
            "speed_kmh": "30",
        }  # fmt: skip
    return {
        "trucks": str(former.trucks),
        "truck_volume": f"{former.truck_volume_l / LITRES:g}".replace(".", ","),
        "truck_weight": f"{former.truck_weight_kg / KILOGRAMMES:g}".replace(".", ","),
        "opens_at": f"{former.opens_at:%H:%M}",
        "closes_at": f"{former.closes_at:%H:%M}",
        "service": f"{former.service_s / SECONDS:g}".replace(".", ","),
        "unloading": f"{former.unloading_s / SECONDS:g}".replace(".", ","),
        "speed_kmh": f"{former.speed_kmh:g}".replace(".", ","),
        "depot": f"{former.depot_latitude}, {former.depot_longitude}",
        "outlet": f"{former.outlet_latitude}, {former.outlet_longitude}",
    }


@router.post(HERE + "/nouvelle")
async def plan(visit: ManagersVisit) -> Response:
    """Plan it, and show it."""
    try:
        made: Any = await rounds.create_round(_body(visit), visit.caller)
    except Problem as problem:
        if problem.status not in TO_SHOW:
            raise
        return await _form(visit, problem)
    return visit.go(f"{HERE}/{made.id}", visit.gettext("La tournée est planifiée."))


def _body(visit: PersonsVisit) -> NewRoundBody:
    form, asked = visit.form, _asked(visit)
    given: dict[str, Any] = asked | {
        "commune": asked["commune"] or None,
        "name": form.text("name"),
        "trucks": form.text("trucks"),
        "truck_volume_l": times("truck_volume", form.text("truck_volume"), LITRES),
        "truck_weight_kg": times("truck_weight", form.text("truck_weight"), KILOGRAMMES),
        "opens_at": form.text("opens_at"),
        "closes_at": form.text("closes_at"),
        "service_s": times("service", form.text("service"), SECONDS),
        "unloading_s": times("unloading", form.text("unloading"), SECONDS),
        "speed_kmh": form.text("speed_kmh").replace(",", "."),
        "depot": place_of("depot", form.text("depot")),
        "outlet": place_of("outlet", form.text("outlet")),
        "exclude_asset_ids": [id_ for text in form.texts("laisser") if (id_ := number_of(text))],
        "include_asset_ids": [id_ for text in form.texts("ajouter") if (id_ := number_of(text))],
    }
    for name in ("default_volume", "density_kg_m3"):
        if form.text(name):
            field, unit = ("default_volume_l", LITRES) if name == "default_volume" else (name, 1)
            given[field] = times(name, form.text(name), unit)
    return checked(NewRoundBody, given)


def times(field: str, text: str, unit: int) -> int:
    """A number as people write it, in units a thousand or sixty times smaller; raises 422 for what is none."""
    try:
        return round(float("".join(text.split()).replace(",", ".")) * unit)
    except (ValueError, OverflowError):
        raise invalid(field, "number", "nombre attendu") from None


def place_of(field: str, text: str) -> dict[str, str]:
    """Latitude, longitude, as maps give them; raises 422 for what is no such pair."""
    parts = [part.strip() for part in text.split(";" if ";" in text else ",")]
    if len(parts) != POINT_PARTS or not all(parts):
        raise invalid(field, "point", "latitude et longitude attendues, 48.4499, -4.2516 par exemple")
    return {"latitude": parts[0].replace(",", "."), "longitude": parts[1].replace(",", ".")}


@router.get(HERE + "/{id}")
async def show_round(id: Id, visit: ReadersVisit) -> Response:  # noqa: A002 - The path's word.
    """A round on the map, its kilometres before and after, its bins in order, what is in no trip."""
    return await _round(visit, id)


async def _round(visit: PersonsVisit, round_id: int, problem: Problem | None = None) -> Response:
    found: Any = await rounds.read_round(round_id, visit.caller)
    stops = [one for one in found.bins if one.position is not None]
    return visit.form_page(
        "waste/round.html",
        problem,
        round=found,
        stops=stops,
        left_out=[one for one in found.bins if one.position is None],
        points=json.dumps([_point(one) for one in stops if one.latitude is not None]),
        places=json.dumps(
            [[found.depot_latitude, found.depot_longitude], [found.outlet_latitude, found.outlet_longitude]]
        ),
        shapes=SHAPES,
        **WORDS,
    )


def _point(one: Any) -> list[Any]:
    return [one.latitude, one.longitude, one.truck, one.trip, one.position, one.name, one.outcome or ""]


@router.post(HERE + "/{id}")
async def cancel(id: Id, visit: ManagersVisit) -> Response:  # noqa: A002 - The path's word.
    """A round that does not take place."""
    try:
        await rounds.cancel_round(id, visit.form.of(RoundCancellationBody), visit.caller)
    except Problem as problem:
        if problem.status not in TO_SHOW:
            raise
        return await _round(visit, id, problem)
    return visit.go(HERE, visit.gettext("La tournée est annulée."))
