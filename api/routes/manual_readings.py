"""Readings that somebody took, of a bin without coverage, of a meter: flagged, and otherwise like any other."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter
from pydantic import Field

from api import store
from api.auth import FieldAgent
from api.fields import Answer, Body, Id, Instant, Text, example
from api.routes.datastreams import DATASTREAMS
from api.store import ManualOutcome
from core.messages.measurements import Flag, Measurement
from core.messages.topics import slot_of_asset
from core.model.instants import placed
from core.model.plausibility import Plausibility, plausibility
from core.model.quantities import QUANTITIES, Kind
from core.runtime.http.errors import PROBLEM_RESPONSES, Problem, invalid, read_only
from lorawan.instants import from_us, to_us

router = APIRouter(prefix="/v1/datastreams/{id}", tags=["measurements"], responses=PROBLEM_RESPONSES)


class NewManualReading(Body):
    """Un relevé fait à la main."""

    model_config = example({"time": "2026-11-25T09:30:00Z", "value": 80, "note": "Relevé en tournée"})

    time: Instant = Field(
        description="Instant du relevé, un an en arrière au plus", examples=["2026-11-25T09:30:00Z"]
    )
    value: Annotated[float, Field(allow_inf_nan=False, examples=[80])] = Field(description="Dans l'unité du flux")
    note: Text = Field("", description="Gardée dans le journal", examples=["Relevé en tournée"])


class ManualReadingAnswer(Answer):
    """Le relevé, tel qu'il est enregistré."""

    datastream_id: int
    time: datetime
    value: float
    unit: str
    manual: bool = True
    suspect: bool = Field(description="Hors de la plage plausible de sa grandeur : gardé, et signalé")
    corrected: bool = Field(description="Il a pris la place d'une autre valeur de cet instant")


@router.post(
    "/manual-readings", operation_id="createManualReading", status_code=201, summary="Enregistrer un relevé manuel"
)
async def create(id: Id, body: NewManualReading, caller: FieldAgent) -> ManualReadingAnswer:
    """Enregistrer un relevé, marqué manuel ; les alertes en tiennent compte.

    Une autre valeur du même instant est corrigée : elle reste visible (`/corrections`), les agrégats suivent,
    personne n'est notifié.
    """
    now = datetime.now(UTC)
    at = placed(to_us(body.time), to_us(now))
    if at.is_suspect:
        raise invalid("time", "range", "le relevé doit dater d'un an au plus, et ne pas être à venir")
    async with caller.changing() as change:
        stream = await DATASTREAMS.get(change.connection, id)
        flags = _flags(stream.quantity, body.value)
        time = from_us(at.time_us)
        former = await store.reading_at(change.connection, id, time)
        entered = await store.enter_manual_reading(change.connection, id, time, body.value, int(flags))
        if entered is None:
            raise read_only(f"flux {id}")
        if entered is ManualOutcome.KNOWN:
            raise Problem(409, "cette valeur est déjà enregistrée pour cet instant")
        is_correction = entered is ManualOutcome.CORRECTED
        action = "correct" if is_correction else "create"
        await change.audit(action, "manual_reading", id, before=former, after=body)
        owner = await store.slot_owner(change.connection, id)
    if not is_correction:
        row = Measurement(id, at.time_us, body.value, int(flags))
        await caller.platform.publish_measurement(slot_of_asset(owner), row)
    return ManualReadingAnswer(
        datastream_id=id,
        time=time,
        value=body.value,
        unit=stream.unit,
        suspect=bool(flags & Flag.SUSPECT),
        corrected=is_correction,
    )


def _flags(quantity: str, value: float) -> Flag:
    """Raises 422 for what the quantity cannot be at all."""
    known = QUANTITIES.get(quantity)
    if known is None:
        return Flag.MANUAL
    if known.kind is Kind.BOOLEAN and value not in (0, 1):
        raise invalid("value", "boolean", f"« {known.label_fr} » vaut 0 ou 1")
    if known.kind is Kind.ENUMERATION and not float(value).is_integer():
        raise invalid("value", "enumeration", f"« {known.label_fr} » est un code entier")
    is_plausible = plausibility(value, known) is Plausibility.PLAUSIBLE
    return Flag.MANUAL if is_plausible else Flag.MANUAL | Flag.SUSPECT
