"""Work orders: made, assigned, done, with their history."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Literal

from fastapi import APIRouter, Query
from pydantic import BeforeValidator, Field, StringConstraints

from alerting import work_orders
from alerting.rules.work_order_states import ImpossibleChange
from alerting.work_orders import Actor, WantedWorkOrders, WorkOrder, WorkOrderEvent
from api.auth import Caller, FieldAgent, Reader
from api.extent import Placed
from api.fields import (
    INT8_MOST,
    PRINTABLE,
    AssetKind,
    Body,
    Id,
    IdQuery,
    IdRef,
    Instant,
    Name,
    Patch,
    Reference,
    answer_of,
    example,
)
from api.list_fields import SORT_TEXT, Quarter, Tag
from api.pages import Page, Paged, ask_of, cursor_of
from api.resources import Resource
from core.runtime.http.errors import PROBLEM_RESPONSES, Problem
from core.runtime.postgres import Connection
from registry.places import ANYWHERE

router = APIRouter(prefix="/v1/work-orders", tags=["work-orders"], responses=PROBLEM_RESPONSES)

State = Literal["open", "assigned", "in_progress", "done", "cancelled"]
Priority = Literal["low", "normal", "high", "urgent"]
Origin = Literal["person", "rule", "lighting"]
WorkOrderSort = Literal[
    "id", "-id", "created_at", "-created_at", "due_at", "-due_at", "priority", "-priority", "state", "-state",
    "distance", "-distance",
]  # fmt: skip
STATE_TEXT = (
    "`open` ouverte, `assigned` confiée, `in_progress` en cours, `done` faite, `cancelled` annulée ; les deux "
    "dernières demandent `resolution`"
)
PRIORITY_TEXT = "`low` basse, `normal` normale, `high` haute, `urgent` urgente"
ORIGIN_TEXT = (
    "`person` faite par quelqu'un, `rule` ouverte par une règle, `lighting` par un éclairage qui ne se rallume pas"
)
ACTION_TEXT = (
    "`opened` ouverte, `assigned` confiée, `started` commencée, `changed` modifiée, `commented` commentée, `done` "
    "faite, `cancelled` annulée, `reopened` rouverte"
)
LINKED_MOST = 100


def _lines(text: Any) -> Any:
    return text.replace("\r\n", "\n") if isinstance(text, str) else text


# Of several lines, as people type them.
Lines = Annotated[
    str,
    BeforeValidator(_lines),
    StringConstraints(max_length=4000, pattern=r"^[^\x00-\x09\x0b-\x1f\x7f]*$"),
]
AssetIds = Annotated[
    list[IdRef], Field(max_length=LINKED_MOST, description="Les actifs dont il s'agit", examples=[[42]])
]
AlertIds = Annotated[
    list[Annotated[int, Field(ge=1, le=INT8_MOST)]],
    Field(max_length=LINKED_MOST, description="Les alertes dont il s'agit", examples=[[7]]),
]
Resolution = Annotated[
    Lines, Field(description="Ce qui a été fait, ou pourquoi elle est annulée", examples=["Disjoncteur remplacé"])
]


class NewWorkOrder(Body):
    """Une intervention à faire."""

    model_config = example(
        {"title": "Remplacer la pile du capteur", "asset_ids": [42], "due_at": "2026-12-04T16:00:00Z"}
    )

    title: Name = Field(description="Ce qu'il y a à faire", examples=["Remplacer la pile du capteur"])
    description: Lines = Field("", description="Ce qu'il faut savoir", examples=["Clé au local technique."])
    priority: Priority = Field("normal", description=PRIORITY_TEXT)
    team_id: IdRef | None = Field(None, description="L'équipe qui s'en charge")
    assignee: Name | None = Field(None, description="À qui elle est confiée", examples=["M. Le Goff"])
    due_at: Instant | None = Field(None, description="Pour quand")
    campaign_id: IdRef | None = Field(None, description="La campagne d'éclairage dont elle vient")
    external_reference: Reference | None = Field(None, description="Son numéro dans votre GMAO ; unique")
    asset_ids: AssetIds = Field(default_factory=list[int])
    alert_ids: AlertIds = Field(
        default_factory=list[int], description="Les alertes dont il s'agit ; sans actif, leurs actifs sont repris"
    )


class WorkOrderPatch(Patch):
    """Ce qui change : un champ absent reste tel quel, null le vide."""

    model_config = example({"state": "done", "resolution": "Disjoncteur remplacé, rue rallumée."})
    EMPTIED: ClassVar[Mapping[str, Any]] = {
        "description": "",
        "team_id": None,
        "assignee": None,
        "due_at": None,
        "campaign_id": None,
        "external_reference": None,
        "resolution": "",
        "asset_ids": [],
        "alert_ids": [],
    }

    state: State | None = Field(None, description=STATE_TEXT)
    title: Name | None = Field(None, description="Ce qu'il y a à faire")
    description: Lines | None = Field(None, description="Ce qu'il faut savoir")
    priority: Priority | None = Field(None, description=PRIORITY_TEXT)
    team_id: IdRef | None = Field(None, description="L'équipe qui s'en charge ; null : aucune")
    assignee: Name | None = Field(None, description="À qui elle est confiée ; null : à personne")
    due_at: Instant | None = Field(None, description="Pour quand ; null : sans échéance")
    campaign_id: IdRef | None = Field(None, description="La campagne d'éclairage ; null : aucune")
    external_reference: Reference | None = Field(None, description="Son numéro dans votre GMAO ; null : aucun")
    resolution: Resolution | None = Field(None)
    asset_ids: AssetIds | None = Field(None)
    alert_ids: AlertIds | None = Field(None)
    comment: Lines = Field("", description="Une remarque, gardée dans l'historique")
    resolves_alerts: bool = Field(
        True,
        description="Faite, terminer aussi ses alertes ouvertes ; celles dont la cause dure se rouvrent après le "
        "délai de leur règle",
    )


class WorkOrderComment(Body):
    """Une remarque, gardée dans l'historique."""

    model_config = example({"text": "Nacelle réservée pour jeudi."})

    text: Annotated[Lines, StringConstraints(min_length=1)]


class WorkOrderAnswer(answer_of(WorkOrder)):
    """Une intervention."""

    tenant_id: int = Field(description="La collectivité à qui elle est")
    state: str = Field(description=STATE_TEXT, examples=["open"])
    origin: str = Field(description=ORIGIN_TEXT, examples=["rule"])
    priority: str = Field(description=PRIORITY_TEXT, examples=["normal"])
    team: str | None = Field(description="Le nom de l'équipe")
    due_at: datetime | None = Field(description="Pour quand ; null : sans échéance")
    external_reference: str | None = Field(description="Son numéro dans une GMAO")
    resolution: str = Field(description="Ce qui a été fait, ou pourquoi elle est annulée")
    version: int = Field(description="Combien de fois elle a changé ; `sequence` des webhooks")
    reported_at: datetime | None = Field(description="Le dernier état reçu d'une GMAO")
    created_by: str | None = Field(description="null : la plateforme")
    asset: str | None = Field(description="Le nom du premier de ses actifs que vous voyez")
    commune: str = Field(description="Où est cet actif ; vide : inconnu")


class WorkOrderEventAnswer(answer_of(WorkOrderEvent, {"work_order_id"})):
    """Une ligne de l'historique d'une intervention."""

    actor: str | None = Field(description="null : la plateforme")
    source_id: int | None = Field(description="Le système partenaire qui l'a rapportée")
    action: str = Field(description=ACTION_TEXT, examples=["done"])
    changes: dict[str, Any] = Field(description="De chaque champ changé, la valeur d'avant et celle d'après")


WORK_ORDERS = Resource("work_order", "intervention", work_orders.read_work_order, WorkOrderAnswer.model_validate)


async def audit_read(caller: Caller, connection: Connection, shown: list[WorkOrder]) -> None:
    """Record that these are shown, as far as they are about assets of personal data."""
    await caller.audit_personal(connection, assets=sorted({id_ for one in shown for id_ in one.asset_ids}))


def rejected(change: ImpossibleChange) -> Problem:
    """422, and what is wrong."""
    return Problem(422, str(change))


@router.get("", summary="Lister les interventions")
async def list_work_orders(
    caller: Reader,
    paging: Paged,
    state: Annotated[list[State] | None, Query(max_length=5, description=f"{STATE_TEXT} ; répétable")] = None,
    priority: Annotated[
        list[Priority] | None, Query(max_length=4, description=f"{PRIORITY_TEXT} ; répétable")
    ] = None,
    origin: Annotated[Origin | None, Query(description=ORIGIN_TEXT)] = None,
    team_id: IdQuery = None,
    assignee: Annotated[
        str | None, Query(max_length=200, pattern=PRINTABLE, description="À qui elle est confiée")
    ] = None,
    asset_id: IdQuery = None,
    alert_id: Annotated[
        int | None, Query(ge=1, le=INT8_MOST, description="Celles de cette alerte ; absent : toutes")
    ] = None,
    campaign_id: IdQuery = None,
    external_reference: Annotated[
        str | None, Query(max_length=100, pattern=PRINTABLE, description="Numéro dans votre GMAO")
    ] = None,
    late: Annotated[
        bool, Query(description="true : celles dont l'échéance est passée et qui restent à faire")
    ] = False,
    kind: AssetKind = None,
    tag: Tag = None,
    quarter: Quarter = None,
    sort: Annotated[WorkOrderSort, Query(description=SORT_TEXT)] = "-id",
    place: Placed = ANYWHERE,
) -> Page[WorkOrderAnswer]:
    """Les interventions, la dernière d'abord ; leur lieu est celui du premier de leurs actifs."""
    wanted = WantedWorkOrders(
        state,
        priority,
        origin,
        team_id,
        assignee,
        asset_id,
        alert_id,
        campaign_id,
        external_reference,
        datetime.now(UTC) if late else None,
        kind,
        tag,
        quarter,
        place,
    )
    ask = ask_of(paging, sort, work_orders.LIST)
    async with caller.reading() as connection:
        found, part = await work_orders.list_work_orders(connection, ask, wanted)
        await audit_read(caller, connection, found)
    return Page(items=[WORK_ORDERS.show(one) for one in found], next=cursor_of(sort, part.following))


@router.post("", status_code=201, summary="Créer une intervention")
async def create_work_order(body: NewWorkOrder, caller: FieldAgent) -> WorkOrderAnswer:
    """Demander que quelqu'un aille voir, ou faire. Confiée à quelqu'un, elle est `assigned`."""
    given = body.model_dump()
    async with caller.changing() as change:
        try:
            made = await work_orders.create_work_order(
                change.connection, change.tenant_id, Actor(change.actor), given
            )
        except ImpossibleChange as refused:
            raise rejected(refused) from None
        shown = WORK_ORDERS.show(made)
        await change.audit("create", WORK_ORDERS.entity, made.id, after=shown)
    return shown


@router.get("/{id}", summary="Lire une intervention")
async def read_work_order(id: Id, caller: Reader) -> WorkOrderAnswer:
    """Une intervention."""
    async with caller.reading() as connection:
        order = await WORK_ORDERS.get(connection, id)
        await audit_read(caller, connection, [order])
    return WORK_ORDERS.show(order)


@router.patch("/{id}", summary="Modifier une intervention")
async def update_work_order(id: Id, body: WorkOrderPatch, caller: FieldAgent) -> WorkOrderAnswer:
    """La confier, la commencer, la finir en disant ce qui a été fait, l'annuler, la rouvrir."""
    async with caller.changing() as change:
        former = await WORK_ORDERS.get(change.connection, id)
        try:
            after = await work_orders.update_work_order(
                change.connection,
                id,
                Actor(change.actor),
                body.changed("comment", "resolves_alerts"),
                body.comment,
                resolves_alerts=body.resolves_alerts,
            )
        except ImpossibleChange as refused:
            raise rejected(refused) from None
        if after is None:
            raise WORK_ORDERS.missing(id)
        shown = WORK_ORDERS.show(after)
        await change.audit("update", WORK_ORDERS.entity, id, before=WORK_ORDERS.show(former), after=shown)
    return shown


@router.get("/{id}/events", summary="Lire l'historique d'une intervention")
async def list_work_order_events(id: Id, caller: Reader) -> Page[WorkOrderEventAnswer]:
    """Ce qui lui est arrivé et ce qu'on en a dit, dans l'ordre."""
    async with caller.reading() as connection:
        await audit_read(caller, connection, [await WORK_ORDERS.get(connection, id)])
        events = await work_orders.list_events(connection, id)
    return Page(items=[WorkOrderEventAnswer.model_validate(event) for event in events], next=None)


@router.post("/{id}/comments", status_code=201, summary="Commenter une intervention")
async def comment_work_order(id: Id, body: WorkOrderComment, caller: FieldAgent) -> WorkOrderAnswer:
    """Ajouter une remarque à son historique, même finie."""
    async with caller.changing() as change:
        former = await WORK_ORDERS.get(change.connection, id)
        await work_orders.comment_work_order(change.connection, id, Actor(change.actor), body.text)
        shown = WORK_ORDERS.show(await WORK_ORDERS.get(change.connection, id))
        await change.audit("comment", WORK_ORDERS.entity, id, before=WORK_ORDERS.show(former), after=shown)
    return shown
