"""Meters that were changed: what the former one showed last, and the new one first."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, ClassVar

from fastapi import APIRouter, Response
from pydantic import Field

from api.auth import Change, FieldAgent, Reader
from api.fields import Body, Id, Instant, Patch, Text, answer_of, example
from api.pages import Page
from api.routes.datastreams import DATASTREAMS
from core.model.quantities import QUANTITIES, Kind
from core.runtime.http.errors import PROBLEM_RESPONSES, Problem, invalid, not_found, read_only
from registry import meter_changes

AHEAD = timedelta(minutes=5)

router = APIRouter(prefix="/v1/datastreams/{id}/meter-changes", tags=["measurements"], responses=PROBLEM_RESPONSES)

Index = Annotated[float, Field(ge=0, allow_inf_nan=False, examples=[8412])]
FINAL = "Dernier index de l'ancien compteur ; absent : celui de son dernier relevé"
INITIAL = "Premier index du nouveau ; absent : celui de son premier relevé"


class NewMeterChange(Body):
    """Un changement de compteur."""

    model_config = example({"at": "2026-11-25T09:30:00Z", "final_index": 8412, "initial_index": 0})

    at: Instant = Field(description="Instant de la dépose", examples=["2026-11-25T09:30:00Z"])
    final_index: Index | None = Field(None, description=FINAL)
    initial_index: Index | None = Field(None, description=INITIAL)
    note: Text = Field("", examples=["Compteur gelé"])


class MeterChangePatch(Patch):
    """Les index que l'on apprend après coup ; un champ absent reste tel quel, null le vide."""

    model_config = example({"final_index": 8412})
    EMPTIED: ClassVar[Mapping[str, Any]] = {"final_index": None, "initial_index": None, "note": ""}

    final_index: Index | None = Field(None, description=FINAL)
    initial_index: Index | None = Field(None, description=INITIAL)
    note: Text | None = None


class MeterChangeAnswer(answer_of(meter_changes.MeterChangeRow, {"datastream_id"})):
    """Un changement de compteur ; `cause` : `replacement`, le capteur a été remplacé, ou `manual`."""

    cause: str = Field(examples=["manual"])


@router.get("", summary="Lister les changements de compteur d'un flux")
async def list_meter_changes(id: Id, caller: Reader) -> Page[MeterChangeAnswer]:
    """Les changements de compteur, du premier au dernier ; les consommations les traversent."""
    async with caller.reading() as connection:
        await DATASTREAMS.get(connection, id)
        await caller.audit_personal(connection, streams=[id])
        rows = await meter_changes.list_meter_changes(connection, id)
    return Page(items=[MeterChangeAnswer.model_validate(row) for row in rows], next=None)


@router.post("", status_code=201, summary="Déclarer un changement de compteur")
async def create_meter_change(id: Id, body: NewMeterChange, caller: FieldAgent) -> MeterChangeAnswer:
    """Déclarer un changement de compteur, passé ou présent ; les consommations en tiennent compte aussitôt."""
    if body.at > datetime.now(UTC) + AHEAD:
        raise invalid("at", "range", "le changement de compteur ne peut pas être à venir")
    async with caller.changing() as change:
        stream = await DATASTREAMS.get(change.connection, id)
        known = QUANTITIES.get(stream.quantity)
        if known is None or known.kind is not Kind.COUNTER:
            raise Problem(422, f"« {stream.quantity} » n'est pas un index")
        given = body.final_index, body.initial_index, body.note
        created = await meter_changes.create_meter_change(change.connection, id, body.at, *given)
        if created is None:
            if await meter_changes.is_change_at(change.connection, id, body.at):
                raise Problem(409, "un changement de cet instant existe déjà : complétez-le")
            raise read_only(f"flux {id}")
        shown = await _shown(change, id, created)
        await change.audit("create", "meter_change", created, {"datastream_id": id}, after=shown)
        return shown


@router.patch("/{change_id}", summary="Compléter un changement de compteur")
async def update_meter_change(
    id: Id, change_id: Id, body: MeterChangePatch, caller: FieldAgent
) -> MeterChangeAnswer:
    """Compléter un changement de compteur, aussi celui qu'un capteur remplacé a créé."""
    async with caller.changing() as change:
        former = await _shown(change, id, change_id)
        if not await meter_changes.complete_meter_change(change.connection, change_id, body.changed()):
            raise read_only(f"flux {id}")
        shown = await _shown(change, id, change_id)
        await change.audit("update", "meter_change", change_id, {"datastream_id": id}, before=former, after=shown)
        return shown


@router.delete("/{change_id}", status_code=204, summary="Retirer un changement de compteur")
async def delete_meter_change(id: Id, change_id: Id, caller: FieldAgent) -> Response:
    """Retirer un changement de compteur qui n'en était pas un : même compteur, seul le capteur a changé."""
    async with caller.changing() as change:
        shown = await _shown(change, id, change_id)
        if not await meter_changes.delete_meter_change(change.connection, change_id):
            raise read_only(f"flux {id}")
        await change.audit("delete", "meter_change", change_id, {"datastream_id": id}, before=shown)
    return Response(status_code=204)


async def _shown(change: Change, datastream_id: int, change_id: int) -> MeterChangeAnswer:
    for row in await meter_changes.list_meter_changes(change.connection, datastream_id):
        if row.id == change_id:
            return MeterChangeAnswer.model_validate(row)
    raise not_found(f"changement de compteur {change_id}")
