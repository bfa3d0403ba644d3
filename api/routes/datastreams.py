"""Datastreams: the quantities of assets; and the catalogue of quantities."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from api import store
from api.auth import Reader
from api.fields import PRINTABLE, Answer, Eui, Id, IdQuery, answer_of
from api.pages import Page, Paged
from api.resources import Resource
from api.store import DatastreamRow
from core.model.quantities import QUANTITIES
from core.runtime.http.errors import PROBLEM_RESPONSES

router = APIRouter(prefix="/v1", tags=["measurements"], responses=PROBLEM_RESPONSES)

QuantityName = Annotated[
    str | None,
    Query(max_length=63, pattern=PRINTABLE, description="Grandeur, de /v1/quantities", examples=["fill_level"]),
]


class QuantityAnswer(Answer):
    """Une grandeur du catalogue ; l'unité est un code UCUM."""

    name: str = Field(examples=["fill_level"])
    unit: str = Field(examples=["%"])
    kind: str = Field(examples=["gauge"])
    label_fr: str = Field(examples=["Remplissage"])
    label_en: str = Field(examples=["Fill level"])
    minimum: float | None = Field(description="Sous elle une mesure est suspecte, sauf plage propre au capteur")
    maximum: float | None
    lowest: float | None = Field(description="Sous elle une mesure est physiquement impossible")
    highest: float | None
    labels: list[str]


class DatastreamAnswer(answer_of(DatastreamRow, {"created_at"})):
    """Une grandeur d'un actif, ou d'un capteur qui n'en sert aucun."""

    dev_eui: Eui = Field(description="Le capteur qui l'alimente")
    quantity: str = Field(examples=["fill_level"])
    unit: str = Field(examples=["%"])
    label_fr: str = Field(examples=["Remplissage"])


DATASTREAMS = Resource("datastream", "flux", store.read_datastream, DatastreamAnswer.model_validate)


@router.get("/quantities", summary="Lister les grandeurs")
async def list_quantities(_caller: Reader) -> Page[QuantityAnswer]:
    """Le catalogue des grandeurs."""
    return Page(
        items=[QuantityAnswer.model_validate(quantity, from_attributes=True) for quantity in QUANTITIES.values()],
        next=None,
    )


@router.get("/datastreams", summary="Lister les flux de mesures")
async def list_datastreams(
    caller: Reader,
    paging: Paged,
    asset_id: IdQuery = None,
    dev_eui: Annotated[str | None, Query(pattern="^[0-9a-fA-F]{16}$", description="DevEUI du capteur")] = None,
    quantity: QuantityName = None,
) -> Page[DatastreamAnswer]:
    """Les flux de mesures, par actif, capteur ou grandeur."""
    return await DATASTREAMS.page(
        caller,
        paging,
        store.list_datastreams,
        after=paging.after,
        most=paging.most,
        asset_ids=None if asset_id is None else [asset_id],
        dev_eui=None if dev_eui is None else bytes.fromhex(dev_eui),
        quantity=quantity,
    )


@router.get("/datastreams/{id}", summary="Lire un flux de mesures")
async def read_datastream(id: Id, caller: Reader) -> DatastreamAnswer:
    """Un flux."""
    return await DATASTREAMS.read(caller, id)
