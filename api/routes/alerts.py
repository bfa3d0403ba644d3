"""Alerts, and the work of people on them."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import Field

from alerting import alert_store, teams
from alerting.alert_store import Alert
from alerting.rules.model import Severity
from api.auth import Change, FieldAgent, Reader
from api.extent import Placed
from api.fields import (
    INT4_MOST,
    INT8_MOST,
    PRINTABLE,
    Answer,
    AssetKind,
    BigId,
    Body,
    Eui,
    IdQuery,
    Instant,
    Name,
    Remark,
    Text,
    answer_of,
    example,
)
from api.impersonation import as_owner
from api.list_fields import SORT_TEXT, Quarter, Tag
from api.pages import Page, Paged, ask_of, cursor_of
from api.resources import Resource
from core.model.rights import rights_of
from core.runtime.http.errors import PROBLEM_RESPONSES, Problem
from registry import people
from registry.places import ANYWHERE

router = APIRouter(prefix="/v1", tags=["alerts"], responses=PROBLEM_RESPONSES)

Workflow = Literal["open", "acknowledged", "in_progress", "resolved", "closed"]
UNENDED: list[Workflow] = ["open", "acknowledged", "in_progress"]
WORKFLOWS_TEXT = (
    "`open` ouverte, `acknowledged` acquittée, `in_progress` en cours, `resolved` terminée, `closed` classée"
)
STATES_TEXT = f"{WORKFLOWS_TEXT} ; répétable"
CONDITIONS_TEXT = (
    "État de la chose : `ok` normale, `pending` en attente, `firing` déclenchée, `recovering` en retour, "
    "`unknown` inconnue (le capteur s'est tu)"
)
ACTIONS_TEXT = (
    "`opened` ouverte, `reopened` rouverte, `raised` aggravée, `resolved` terminée, `muted` tue, `flapping` va et "
    "vient, `settled` calmée, `escalated` échelon appelé, `acknowledged` acquittée, `assigned` confiée, "
    "`commented` commentée, `closed` classée"
)


class AlertAnswer(answer_of(Alert, {"device_id", "created_at", "updated_at"})):
    """Une alerte : `condition` est l'état de la chose, `workflow` le travail des gens."""

    tenant_id: int = Field(description="La collectivité à qui elle est")
    rule: str = Field(description="Vide pour une alerte partagée", examples=["bin_75"])
    subject: str | None = Field(description="Ce qui est en alarme, dans les mots du système partenaire")
    team_id: int | None = Field(description="L'équipe prévenue ; null : toutes les adresses de la collectivité")
    severity: str = Field(examples=["warning"])
    condition: str = Field(description=CONDITIONS_TEXT, examples=["firing"])
    workflow: str = Field(description=WORKFLOWS_TEXT, examples=["open"])
    fired_at: datetime = Field(description="Depuis quand, cette fois-ci")
    assignee: str | None = Field(description="Qui y travaille")
    resolved_by: str | None = Field(description="null : retour à la normale constaté")
    reopen_at: datetime | None = Field(description="Terminée par quelqu'un alors qu'elle dure : rouverte alors")
    told: bool = Field(
        description="Annoncée, ou dans le prochain résumé de son équipe ; false si aucune adresse n'est en service"
    )
    muted_by: str | None = Field(description="Pourquoi personne n'a été prévenu")
    learnt_at: datetime | None = Field(description="Appris tard : quand nous l'avons su ; null : aussitôt")
    is_flapping: bool = Field(description="Va et vient : résumée une fois par heure")
    asset: str | None = Field(
        description="Le nom de l'actif ; null : ce n'est pas un actif, ou il n'est pas visible"
    )
    commune: str = Field(description="Où est l'actif ; vide : inconnu")
    street: str
    gateway: str | None = Field(
        description="Le nom de la passerelle ; null : ce n'en est pas une, ou elle n'est pas visible"
    )
    gateway_eui: Eui | None = Field(description="L'EUI de cette passerelle")
    kind: str | None = Field(description="Le type de l'actif")
    longitude: float | None = Field(description="Où est l'actif, ou à défaut la passerelle")


class CountAnswer(answer_of(alert_store.AlertCount)):
    """Combien d'alertes une règle a."""

    unended: int = Field(description="Celles que personne n'a dites terminées")
    known: int = Field(description="Toutes celles qui sont gardées")


class EventAnswer(answer_of(alert_store.AlertEvent, {"alert_id"})):
    """Une ligne de l'historique d'une alerte."""

    actor: str | None = Field(description="null : la plateforme")
    action: str = Field(description=ACTIONS_TEXT, examples=["acknowledged"])
    note: str = Field(description="La remarque, la cause, à qui, ou ce qui tait l'alerte")


AlertSort = Literal[
    "id", "-id", "opened_at", "-opened_at", "fired_at", "-fired_at", "severity", "-severity", "rule", "-rule",
    "asset", "-asset", "commune", "-commune", "distance", "-distance",
]  # fmt: skip
ALERTS = Resource(
    "alert", "alerte", alert_store.read_alert, AlertAnswer.model_validate, lambda alert: alert.asset_id
)


class Assignment(Body):
    """À qui l'alerte est confiée."""

    model_config = example({"assignee": "Équipe voirie, M. Le Goff"})

    assignee: Name


class AssigneeAnswer(Answer):
    """Quelqu'un à qui une alerte peut être confiée."""

    name: str = Field(examples=["Jeanne Le Goff"])
    kind: Literal["person", "team"]


class Comment(Body):
    """Une remarque, gardée dans l'historique."""

    model_config = example({"text": "Passage prévu demain matin avec le camion-grue."})

    text: Remark


class Resolution(Body):
    """Ce qui a mis fin à l'alerte."""

    model_config = example({"cause": "disjoncteur réenclenché"})

    cause: Remark


class Closing(Body):
    """Pourquoi l'alerte est classée ; exigé tant que la chose n'est pas revenue à la normale."""

    model_config = example({"reason": "borne condamnée jusqu'aux travaux"})

    reason: Text = ""


@router.get("/alerts", summary="Lister les alertes")
async def list_alerts(
    caller: Reader,
    paging: Paged,
    state: Annotated[list[Workflow] | None, Query(max_length=5, description=STATES_TEXT)] = None,
    severity: Annotated[list[Severity] | None, Query(max_length=4, description="Gravité ; répétable")] = None,
    asset_id: IdQuery = None,
    rule_id: IdQuery = None,
    rule: Annotated[str | None, Query(max_length=200, pattern=PRINTABLE, description="Nom de la règle")] = None,
    team_id: Annotated[
        int | None, Query(ge=1, le=INT4_MOST, description="L'équipe prévenue ; absente : toutes")
    ] = None,
    explained_by: Annotated[
        int | None,
        Query(ge=1, le=INT8_MOST, description="Celles que cette alerte explique, et qui se taisent donc"),
    ] = None,
    gateway_eui: Annotated[Eui | None, Query(description="Celles de cette passerelle")] = None,
    kind: AssetKind = None,
    tag: Tag = None,
    quarter: Quarter = None,
    since: Annotated[
        Instant | None,
        Query(alias="from", description="Ouvertes depuis cet instant", examples=["2026-11-24T00:00:00Z"]),
    ] = None,
    until: Annotated[Instant | None, Query(alias="to", description="Ouvertes avant cet instant")] = None,
    sort: Annotated[AlertSort, Query(description=SORT_TEXT)] = "-id",
    place: Placed = ANYWHERE,
) -> Page[AlertAnswer]:
    """Les alertes, la dernière d'abord."""
    wanted = alert_store.WantedAlerts(
        state,
        severity,
        asset_id,
        rule_id,
        rule,
        team_id,
        explained_by,
        None if gateway_eui is None else bytes.fromhex(gateway_eui),
        kind,
        tag,
        quarter,
        since,
        until,
        place,
    )
    ask = ask_of(paging, sort, alert_store.LIST)
    async with caller.reading() as connection:
        part = await alert_store.find_alerts(connection, ask, wanted)
        found = await alert_store.read_in_order(connection, part.ids)
        await ALERTS.audit_read(caller, connection, found)
    return Page(items=[ALERTS.show(one) for one in found], next=cursor_of(sort, part.following))


@router.get("/alerts/counts", summary="Compter les alertes par règle")
async def count_alerts(caller: Reader) -> Page[CountAnswer]:
    """Combien chaque règle a d'alertes ; une règle qui n'en a aucune n'y est pas."""
    async with caller.reading() as connection:
        found = await alert_store.count_by_rule(connection)
    return Page(items=[CountAnswer.model_validate(one) for one in found], next=None)


@asynccontextmanager
async def _acting(
    change: Change, alert: Alert, action: str, details: Mapping[str, Any] | None = None
) -> AsyncGenerator[Change]:
    """Work on an alert, one's own or in the name of its owner; it is audited on both sides."""
    before = ALERTS.show(alert)
    async with as_owner(change, alert.tenant_id, alert.asset_id, f"alerte {alert.id}") as acting:
        yield acting
        after = ALERTS.show(await ALERTS.get(acting.connection, alert.id))
        await acting.audit(action, ALERTS.entity, alert.id, details, before=before, after=after)
    if acting is not change:
        await change.audit(action, ALERTS.entity, alert.id, details, before=before, after=after)


@router.get("/assignees", summary="Lister à qui confier une alerte")
async def list_assignees(caller: FieldAgent) -> Page[AssigneeAnswer]:
    """Les noms, et rien d'autre, de ceux de la collectivité qui interviennent ; puis ses équipes."""
    async with caller.reading() as connection:
        members = await people.list_members(connection)
        found = await teams.list_teams(connection)
    names = sorted({one.name for one in members if one.enabled and "field" in rights_of(one.role)})
    every = [AssigneeAnswer(name=name, kind="person") for name in names]
    every += [AssigneeAnswer(name=team.name, kind="team") for team in found]
    return Page(items=every, next=None)


@router.get("/alerts/{id}", summary="Lire une alerte")
async def read_alert(id: BigId, caller: Reader) -> AlertAnswer:
    """Une alerte."""
    return await ALERTS.read(caller, id)


@router.get("/alerts/{id}/events", operation_id="listAlertEvents", summary="Lire l'historique d'une alerte")
async def list_events(id: BigId, caller: Reader) -> Page[EventAnswer]:
    """Ce qui lui est arrivé et ce qu'on en a dit, dans l'ordre."""
    async with caller.reading() as connection:
        await ALERTS.audit_read(caller, connection, [await ALERTS.get(connection, id)])
        events = await alert_store.list_events(connection, id)
    return Page(items=[EventAnswer.model_validate(event) for event in events], next=None)


@router.post("/alerts/{id}/acknowledge", summary="Acquitter une alerte")
async def acknowledge_alert(id: BigId, caller: FieldAgent) -> AlertAnswer:
    """Prendre une alerte en charge ; elle reste ouverte jusqu'au retour à la normale."""
    async with caller.changing() as change:
        alert = await ALERTS.get(change.connection, id)
        async with _acting(change, alert, "acknowledge") as acting:
            after = await alert_store.acknowledge(acting.connection, id, acting.actor)
    return AlertAnswer.model_validate(after)


@router.post("/alerts/{id}/assign", summary="Confier une alerte")
async def assign_alert(id: BigId, body: Assignment, caller: FieldAgent) -> AlertAnswer:
    """Dire qui y travaille ; l'alerte passe en cours, et est acquittée si elle ne l'était pas."""
    async with caller.changing() as change:
        alert = await ALERTS.get(change.connection, id)
        async with _acting(change, alert, "assign", body.model_dump()) as acting:
            after = await alert_store.assign(acting.connection, id, acting.actor, body.assignee)
    return AlertAnswer.model_validate(after)


@router.post("/alerts/{id}/comments", status_code=201, summary="Commenter une alerte")
async def comment_alert(id: BigId, body: Comment, caller: FieldAgent) -> AlertAnswer:
    """Ajouter une remarque à son historique."""
    async with caller.changing() as change:
        alert = await ALERTS.get(change.connection, id)
        async with _acting(change, alert, "comment") as acting:
            await alert_store.comment(acting.connection, alert, acting.actor, body.text)
    return AlertAnswer.model_validate(alert)


@router.post("/alerts/{id}/resolve", summary="Terminer une alerte")
async def resolve_alert(id: BigId, body: Resolution, caller: FieldAgent) -> AlertAnswer:
    """Dire que c'est réglé, et comment. Si la chose dure, l'alerte se rouvre après le délai de sa règle."""
    async with caller.changing() as change:
        alert = await ALERTS.get(change.connection, id)
        async with _acting(change, alert, "resolve", body.model_dump()) as acting:
            after = await alert_store.resolve(acting.connection, id, acting.actor, body.cause)
    return AlertAnswer.model_validate(after)


@router.post("/alerts/{id}/close", summary="Classer une alerte")
async def close_alert(id: BigId, body: Closing, caller: FieldAgent) -> AlertAnswer:
    """La ranger. Tant que la chose dure il faut dire pourquoi, et elle se rouvre après le délai de sa règle."""
    async with caller.changing() as change:
        alert = await ALERTS.get(change.connection, id)
        if not body.reason and alert.condition != "ok":
            raise Problem(422, "cette alerte dure encore : dites pourquoi vous la classez")
        async with _acting(change, alert, "close", body.model_dump()) as acting:
            after = await alert_store.close(acting.connection, id, acting.actor, body.reason or "réglée")
    return AlertAnswer.model_validate(after)
