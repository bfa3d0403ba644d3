"""Plans a round: chooses bins, measures distances, has it solved, and compares it with a round over all bins."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time
from zoneinfo import ZoneInfo

from indicators.waste.rounds.candidates import Bin, Candidate, Criteria, candidates, visits_of_all
from indicators.waste.rounds.distances import UnusableDistances, given_matrix, great_circle
from indicators.waste.rounds.model import (
    DEPOT,
    OUTLET,
    Distances,
    Fleet,
    LeftReason,
    Part,
    Place,
    Plan,
    PlannedStop,
    Visit,
)
from indicators.waste.rounds.osrm import road_distances
from indicators.waste.rounds.planning import fits, metres_of, plan_of, problem_of, shortest_way_s
from indicators.waste.rounds.solver import Solved, Solver, SolverFailed
from indicators.waste.rounds.solving import ITERATIONS
from indicators.waste.rounds.store import NewRound, NewStop

# What is solved within seconds; more are asked for commune by commune.
BINS_MOST = 250


class Unplannable(Exception):
    """What is wrong with what was asked for, in French, and in which field."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True, slots=True)
class Matrix:
    """A table that somebody gives: first the depot, then the outlet, then these bins in their order."""

    asset_ids: tuple[int, ...]
    metres: Sequence[Sequence[float]]
    seconds: Sequence[Sequence[float]] | None


@dataclass(frozen=True, slots=True)
class WantedRound:
    """What somebody asks for."""

    name: str
    planned_for: date
    next_round_on: date
    kind: str
    commune: str | None
    threshold: int
    forecast_threshold: int
    forecast_part: Part
    forced: tuple[int, ...]
    excluded: tuple[int, ...]
    trucks: int
    truck_volume_l: int
    truck_weight_kg: int
    opens_at: time
    closes_at: time
    service_s: int
    unloading_s: int
    speed_kmh: float
    depot: Place
    outlet: Place
    matrix: Matrix | None
    seed: int

    def fleet(self, zone: ZoneInfo) -> Fleet:
        """Its trucks, and between which instants of its day they are out."""
        return Fleet(
            self.trucks,
            self.truck_volume_l,
            self.truck_weight_kg,
            datetime.combine(self.planned_for, self.opens_at, zone).astimezone(UTC),
            datetime.combine(self.planned_for, self.closes_at, zone).astimezone(UTC),
            self.service_s,
            self.unloading_s,
        )

    def criteria(self, zone: ZoneInfo) -> Criteria:
        """Which bins it empties."""
        next_round_at = datetime.combine(self.next_round_on, self.opens_at, zone).astimezone(UTC)
        return Criteria(self.threshold, self.forecast_part, next_round_at, self.forced, self.excluded)


async def plan_round(
    wanted: WantedRound, bins: Sequence[Bin], solver: Solver, osrm_url: str, zone: ZoneInfo, now: datetime
) -> tuple[NewRound, list[NewStop]]:
    """The round, with every bin that is to be emptied: in a trip, or left with the reason.

    Raises:
        Unplannable: it cannot be planned as it is asked for.
        SolverBusy, SolverFailed: nobody solved it.
    """
    _check(wanted, bins)
    looked_at = [one for one in bins if one.asset_id not in wanted.excluded]
    fleet = wanted.fleet(zone)
    chosen = candidates(looked_at, wanted.criteria(zone), now)
    before = [one for one in visits_of_all(looked_at, now) if fits(one, fleet)]
    after = [one.visit for one in chosen if one.visit is not None and fits(one.visit, fleet)]
    places = {one.asset_id: one.place for one in [*before, *after]}
    whole = await _distances(wanted, places, osrm_url)
    if shortest_way_s(whole, fleet) > fleet.open_s:
        raise Unplannable(
            "closes_at", "entre ces heures un camion n'a pas le temps d'aller à l'exutoire et d'en revenir"
        )
    of_before, of_after = (_of(whole, list(places), visits) for visits in (before, after))
    solved = await solver.solve(
        [problem_of(after, fleet, of_after), problem_of(before, fleet, of_before, has_hours=False)],
        wanted.seed,
        ITERATIONS,
    )
    routes, routes_before = solved.routes
    if routes is None:
        raise SolverFailed("no order that holds")
    plan = plan_of(routes, after, fleet, of_after)
    metres_before = None if routes_before is None else metres_of(routes_before, of_before)
    made = _round(wanted, plan, whole, solved, metres_before, len(before))
    return made, _stops(chosen, plan, fleet)


def _check(wanted: WantedRound, bins: Sequence[Bin]) -> None:
    if not bins:
        raise Unplannable("kind", "aucune borne de ce type à cet endroit")
    if len(bins) > BINS_MOST:
        raise Unplannable("commune", f"plus de {BINS_MOST} bornes : précisez « commune »")
    known = {one.asset_id for one in bins}
    unknown = [id_ for id_ in wanted.forced if id_ not in known]
    if unknown:
        raise Unplannable("include_asset_ids", f"pas de borne de ce type sous l'identifiant {unknown[0]}")
    if any(one.density_kg_m3 is None for one in bins):
        raise Unplannable("density_kg_m3", "masse volumique inconnue pour ce type de borne : donnez-la, en kg/m³")
    if wanted.matrix is not None and len(wanted.matrix.metres) != len(wanted.matrix.asset_ids) + 2:
        raise Unplannable(
            "distances.metres", "une ligne pour le dépôt, une pour l'exutoire, une par borne attendues"
        )


async def _distances(wanted: WantedRound, places: Mapping[int, Place], osrm_url: str) -> Distances:
    """From each place to each: the depot, the outlet, then these bins."""
    if wanted.matrix is not None:
        return _from_matrix(wanted, wanted.matrix, list(places))
    listed = [wanted.depot, wanted.outlet, *places.values()]
    if osrm_url:
        return await road_distances(osrm_url, listed, wanted.speed_kmh)
    return great_circle(listed, wanted.speed_kmh)


def _from_matrix(wanted: WantedRound, matrix: Matrix, asset_ids: Sequence[int]) -> Distances:
    place_of = {id_: number for number, id_ in enumerate(matrix.asset_ids, 2)}
    missing = [id_ for id_ in asset_ids if id_ not in place_of]
    if missing:
        raise Unplannable("distances.asset_ids", f"la table n'a pas la borne {missing[0]}")
    rows = [DEPOT, OUTLET, *(place_of[id_] for id_ in asset_ids)]
    try:
        return given_matrix(matrix.metres, matrix.seconds, rows, wanted.speed_kmh)
    except UnusableDistances as unusable:
        raise Unplannable("distances", str(unusable)) from None


def _of(whole: Distances, asset_ids: Sequence[int], visits: Sequence[Visit]) -> Distances:
    """The distances of these visits alone."""
    place_of = {id_: number for number, id_ in enumerate(asset_ids, 2)}
    rows = [DEPOT, OUTLET, *(place_of[one.asset_id] for one in visits)]
    metres, seconds = (
        tuple(tuple(table[row][column] for column in rows) for row in rows)
        for table in (whole.metres, whole.seconds)
    )
    return replace(whole, metres=metres, seconds=seconds)


def _round(
    wanted: WantedRound,
    plan: Plan,
    distances: Distances,
    solved: Solved,
    metres_before: int | None,
    bins_before: int,
) -> NewRound:
    return NewRound(
        name=wanted.name,
        planned_for=wanted.planned_for,
        kind=wanted.kind,
        commune=wanted.commune,
        threshold=wanted.threshold,
        forecast_threshold=wanted.forecast_threshold,
        forecast_part=wanted.forecast_part,
        next_round_on=wanted.next_round_on,
        trucks=wanted.trucks,
        truck_volume_l=wanted.truck_volume_l,
        truck_weight_kg=wanted.truck_weight_kg,
        opens_at=wanted.opens_at,
        closes_at=wanted.closes_at,
        service_s=wanted.service_s,
        unloading_s=wanted.unloading_s,
        speed_kmh=wanted.speed_kmh,
        depot_latitude=wanted.depot.latitude,
        depot_longitude=wanted.depot.longitude,
        outlet_latitude=wanted.outlet.latitude,
        outlet_longitude=wanted.outlet.longitude,
        distance_source=distances.source,
        distance_note=distances.note,
        seed=wanted.seed,
        iterations=ITERATIONS,
        solver=solved.solver,
        metres_before=metres_before,
        bins_before=bins_before,
        metres_after=plan.metres,
        trips=plan.trips,
    )


def _stops(chosen: Sequence[Candidate], plan: Plan, fleet: Fleet) -> list[NewStop]:
    planned = {stop.asset_id: stop for stop in plan.stops}
    return [_stop(one, planned.get(one.bin.asset_id), fleet) for one in chosen]


def _stop(one: Candidate, planned: PlannedStop | None, fleet: Fleet) -> NewStop:
    return NewStop(
        asset_id=one.bin.asset_id,
        chosen_by=one.chosen_by,
        truck=None if planned is None else planned.truck,
        trip=None if planned is None else planned.trip,
        position=None if planned is None else planned.position,
        arrival=None if planned is None else planned.arrival,
        left_reason=None if planned is not None else _left_reason(one, fleet),
        level=one.level,
        level_at=one.bin.level_at,
        full_at=one.full_at,
        volume_l=None if one.visit is None else one.visit.volume_l,
        weight_kg=None if one.visit is None else one.visit.weight_kg,
    )


def _left_reason(one: Candidate, fleet: Fleet) -> LeftReason:
    if one.left_reason is not None:
        return one.left_reason
    return "no_room" if one.visit is not None and fits(one.visit, fleet) else "too_large"
