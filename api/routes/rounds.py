"""Rounds: planned from levels and forecasts, and carried out stop by stop."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Path, Query

from api.auth import Caller, Change, FieldAgent, Manager, Reader
from api.fields import INT4_MOST, AssetKind, Day, Id
from api.pages import Page, Paged
from api.resources import Resource
from api.round_types import (
    NewRoundBody,
    RoundAnswer,
    RoundCancellationBody,
    RoundStopAnswer,
    StopOutcomeBody,
    WholeRoundAnswer,
)
from api.round_words import method_of
from core.model.region import region_of
from core.runtime.http.errors import PROBLEM_RESPONSES, Problem, invalid
from core.runtime.postgres import Connection
from indicators.waste.rounds import store
from indicators.waste.rounds.candidate_store import read_bins
from indicators.waste.rounds.model import Place
from indicators.waste.rounds.planner import BINS_MOST, Matrix, Unplannable, WantedRound, plan_round
from indicators.waste.rounds.solver import SolverBusy, SolverFailed
from indicators.waste.rounds.store import NewOutcome, NewRound, NewStop, RoundStop, WasteRound
from registry.tenants import read_with_timezone

router = APIRouter(prefix="/v1/rounds", tags=["waste"], responses=PROBLEM_RESPONSES)

# Of glass, where a bin says nothing else (docs/indicateurs.md, « Tournées »).
DENSITIES = {"glass_container": 330.0}
A_WEEK = timedelta(days=7)
# A telephone's clock may be ahead.
AHEAD = timedelta(minutes=5)
AssetIdPath = Annotated[int, Path(ge=1, le=INT4_MOST, description="L'actif : une borne de la tournée")]


def _shown(one: WasteRound) -> RoundAnswer:
    fields = {name: getattr(one, name) for name in WasteRound.__dataclass_fields__}
    return RoundAnswer.model_validate({**fields, "method": method_of(one)})


def _whole(one: WasteRound, stops: list[RoundStop]) -> WholeRoundAnswer:
    bins = [RoundStopAnswer.model_validate(stop) for stop in stops]
    return WholeRoundAnswer.model_validate({**_shown(one).model_dump(), "bins": bins})


ROUNDS: Resource[WasteRound, RoundAnswer] = Resource("waste_round", "tournée", store.read_round, _shown)


@router.get("", summary="Lister les tournées")
async def list_rounds(
    caller: Reader,
    paging: Paged,
    state: Annotated[Literal["planned", "cancelled"] | None, Query(description="Absent : toutes")] = None,
    kind: AssetKind = None,
    planned_for: Annotated[Day | None, Query(description="Celles de ce jour")] = None,
) -> Page[RoundAnswer]:
    """Les vôtres, la dernière planifiée d'abord."""
    return await ROUNDS.page(
        caller,
        paging,
        store.list_rounds,
        before=paging.before,
        state=state,
        kind=kind,
        planned_for=planned_for,
        most=paging.most,
    )


@router.post("", status_code=201, summary="Planifier une tournée")
async def create_round(body: NewRoundBody, caller: Manager) -> WholeRoundAnswer:
    """Choisir les bornes à vider, et l'ordre le plus court que trouve un nombre fixe d'essais.

    Aucun camion ne prend plus que son volume ni son poids : plein, il va à l'exutoire et repart, s'il en a le
    temps. Ce que les horaires ne permettent pas, et ce dont personne ne connaît le niveau, est listé avec la
    raison.
    """
    now = datetime.now(UTC)
    async with caller.reading_alone() as connection:
        zone = await zone_of(caller, connection)
        bins = await read_bins(
            connection,
            body.kind,
            body.commune,
            body.include_asset_ids,
            full=body.forecast_threshold,
            volume_l=body.default_volume_l,
            density_kg_m3=body.density_kg_m3 or DENSITIES.get(body.kind),
            most=BINS_MOST + 1,
        )
    if body.planned_for < now.astimezone(zone).date():
        raise invalid("planned_for", "past", "ce jour est passé")
    platform = caller.platform
    try:
        planned = await plan_round(_wanted(body), bins, platform.solver, platform.access.osrm_url, zone, now)
    except Unplannable as wrong:
        raise invalid(wrong.field, "unplannable", str(wrong)) from None
    except SolverBusy:
        message = "d'autres tournées se calculent déjà : réessayez dans une minute"
        raise Problem(503, message, headers={"Retry-After": "60"}) from None
    except SolverFailed:
        raise Problem(503, "la tournée n'a pas pu être calculée : réessayez, ou avec moins de bornes") from None
    return await _kept(caller, *planned)


async def _kept(caller: Caller, new: NewRound, stops: list[NewStop]) -> WholeRoundAnswer:
    async with caller.changing() as change:
        made = await store.create_round(change.connection, change.tenant_id, change.actor, new, stops)
        await change.audit("create", ROUNDS.entity, made.id, after=_shown(made))
        return _whole(made, await store.list_stops(change.connection, made.id))


def _wanted(body: NewRoundBody) -> WantedRound:
    given = body.distances
    return WantedRound(
        name=body.name,
        planned_for=body.planned_for,
        next_round_on=_next_round(body),
        kind=body.kind,
        commune=body.commune,
        threshold=body.threshold,
        forecast_threshold=body.forecast_threshold,
        forecast_part=body.forecast_part,
        forced=tuple(body.include_asset_ids),
        excluded=tuple(body.exclude_asset_ids),
        trucks=body.trucks,
        truck_volume_l=body.truck_volume_l,
        truck_weight_kg=body.truck_weight_kg,
        opens_at=body.opens_at,
        closes_at=body.closes_at,
        service_s=body.service_s,
        unloading_s=body.unloading_s,
        speed_kmh=body.speed_kmh,
        depot=Place(body.depot.latitude, body.depot.longitude),
        outlet=Place(body.outlet.latitude, body.outlet.longitude),
        matrix=None if given is None else Matrix(tuple(given.asset_ids), given.metres, given.seconds),
        seed=body.seed,
    )


def _next_round(body: NewRoundBody) -> date:
    return body.next_round_on or body.planned_for + A_WEEK


async def zone_of(caller: Caller, connection: Connection) -> ZoneInfo:
    """The time zone of the tenant."""
    tenant, timezone = await read_with_timezone(connection, caller.principal.tenant_id)
    return region_of(tenant.department, timezone).zone


@router.get("/{id}", summary="Lire une tournée")
async def read_round(id: Id, caller: Reader) -> WholeRoundAnswer:
    """Avec ses bornes et ce qu'il en est advenu."""
    async with caller.reading() as connection:
        found = await ROUNDS.get(connection, id)
        return _whole(found, await store.list_stops(connection, id))


@router.get("/{id}/stops", summary="Lister les bornes d'une tournée")
async def list_round_stops(id: Id, caller: Reader) -> Page[RoundStopAnswer]:
    """Dans l'ordre de chaque camion, puis celles d'aucun trajet ; en CSV ou en GeoJSON par l'en-tête Accept."""
    async with caller.reading() as connection:
        await ROUNDS.get(connection, id)
        stops = await store.list_stops(connection, id)
    return Page(items=[RoundStopAnswer.model_validate(stop) for stop in stops], next=None)


@router.post("/{id}/stops/{asset_id}/outcome", summary="Dire ce qu'il est advenu d'une borne")
async def record_round_stop(
    id: Id, asset_id: AssetIdPath, body: StopOutcomeBody, caller: FieldAgent
) -> RoundStopAnswer:
    """Vidée, ou non et pourquoi. Dit de nouveau, c'est corrigé : ce qui avait été dit reste à l'audit."""
    now = datetime.now(UTC)
    at = body.at or now
    if at > now + AHEAD:
        raise invalid("at", "future", "cet instant n'est pas encore passé")
    missing = f"la tournée {id} n'a pas la borne {asset_id} dans ses trajets"
    async with caller.changing() as change:
        former = await stop_to_change(change, id, asset_id, lambda stop: stop.position is not None, missing)
        new = NewOutcome(body.outcome, body.reason, at, body.level_seen, body.remark)
        await store.add_outcome(change.connection, change.tenant_id, id, asset_id, new, change.actor)
        return await changed_stop(change, "record", former)


async def stop_to_change(
    change: Change, round_id: int, asset_id: int, is_there: Callable[[RoundStop], bool], missing: str
) -> RoundStop:
    """A stop of a round that nobody cancels meanwhile.

    Raises:
        Problem: there is no such round, no such stop (`missing` says so), or the round is cancelled.
    """
    state = await store.lock_round(change.connection, round_id)
    if state is None:
        raise ROUNDS.missing(round_id)
    stop = await store.read_stop(change.connection, round_id, asset_id)
    if stop is None or not is_there(stop):
        raise Problem(404, missing)
    if state == "cancelled":
        raise Problem(409, "cette tournée est annulée")
    return stop


async def changed_stop(change: Change, action: str, former: RoundStop) -> RoundStopAnswer:
    """As it is now, once the audit has both."""
    now = await store.read_stop(change.connection, former.round_id, former.asset_id)
    before, after = RoundStopAnswer.model_validate(former), RoundStopAnswer.model_validate(now)
    about = {"asset_id": former.asset_id}
    await change.audit(action, ROUNDS.entity, former.round_id, about, before=before, after=after)
    return after


@router.post("/{id}/cancel", summary="Annuler une tournée")
async def cancel_round(id: Id, body: RoundCancellationBody, caller: Manager) -> RoundAnswer:
    """Tant que rien n'a été dit d'aucune de ses bornes ; elle reste dans la liste."""
    async with caller.changing() as change:
        former = await ROUNDS.own(change, id)
        await store.lock_round(change.connection, id)
        if not await store.cancel_round(change.connection, id, change.actor, body.reason):
            raise Problem(409, "cette tournée est commencée, ou déjà annulée")
        cancelled = await ROUNDS.get(change.connection, id)
        await change.audit("cancel", ROUNDS.entity, id, before=_shown(former), after=_shown(cancelled))
        return _shown(cancelled)
