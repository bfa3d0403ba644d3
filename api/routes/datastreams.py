"""Datastreams: the quantities of assets; and the catalogue of quantities."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import Field

from api import store
from api.auth import Reader
from api.extent import Placed
from api.fields import PRINTABLE, Answer, AssetKind, Eui, Id, IdQuery, answer_of
from api.list_fields import SORT_TEXT, Quarter, Tag
from api.pages import Page, Paged, ask_of, cursor_of
from api.resources import Resource
from api.store import DatastreamRow
from core.model.quantities import QUANTITIES
from core.runtime.http.errors import PROBLEM_RESPONSES
from registry.places import ANYWHERE
from registry.wanted_datastreams import WantedDatastreams

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


DatastreamSort = Literal[
    "id", "-id", "asset", "-asset", "quantity", "-quantity", "commune", "-commune", "distance", "-distance"
]
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
    kind: AssetKind = None,
    tag: Tag = None,
    quarter: Quarter = None,
    sort: Annotated[DatastreamSort, Query(description=SORT_TEXT)] = "id",
    place: Placed = ANYWHERE,
) -> Page[DatastreamAnswer]:
    """Les flux de mesures, par actif, capteur ou grandeur."""
    ids, device = None if asset_id is None else [asset_id], None if dev_eui is None else bytes.fromhex(dev_eui)
    wanted = WantedDatastreams(ids, device, quantity, kind, tag, quarter, place)
    ask = ask_of(paging, sort, store.LIST_DATASTREAMS)
    async with caller.reading() as connection:
        part = await store.list_datastreams(connection, ask, wanted)
        found = await store.read_in_order(connection, part.ids)
    return Page(items=[DATASTREAMS.show(one) for one in found], next=cursor_of(sort, part.following))


@router.get("/datastreams/{id}", summary="Lire un flux de mesures")
async def read_datastream(id: Id, caller: Reader) -> DatastreamAnswer:
    """Un flux."""
    return await DATASTREAMS.read(caller, id)
