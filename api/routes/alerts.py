"""Alerts, taken on by people, and the rules that raise them."""

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import Field, StringConstraints

from alerting import store
from api.auth import Manager, Reader
from api.behalf import on_behalf
from api.errors import PROBLEM_RESPONSES, Problem, not_found
from api.fields import PRINTABLE, Answer, BigId, Body, Id, IdQuery, example
from api.pages import Cursor, Limit, Page, cursor_id, page_of

router = APIRouter(prefix="/v1", tags=["Alertes"], responses=PROBLEM_RESPONSES)

Workflow = Literal["open", "acknowledged", "resolved"]
Severity = Literal["info", "warning", "major", "critical"]
STATES_TEXT = "`open` ouverte, `acknowledged` acquittée, `resolved` résolue ; répétable"


class AlertAnswer(Answer):
    """Une alerte : `condition` est l'état de la chose, `workflow` le travail des gens."""

    id: int
    tenant_id: int = Field(description="La collectivité à qui elle est")
    rule_id: int
    rule: str = Field(description="Vide pour une alerte partagée", examples=["bin_75"])
    asset_id: int | None
    datastream_id: int | None
    severity: str = Field(examples=["warning"])
    message: str
    condition: str = Field(examples=["firing"])
    workflow: str = Field(examples=["open"])
    opened_at: datetime
    acknowledged_at: datetime | None
    acknowledged_by: str | None
    resolved_at: datetime | None
    resolved_cause: str | None
    value: float | None
    threshold: float | None
    occurrences: int


class RuleAnswer(Answer):
    """Une règle d'alerte."""

    id: int
    tenant_id: int = Field(description="La collectivité à qui elle est")
    name: str = Field(examples=["bin_75"])
    kind: str = Field(examples=["threshold"])
    asset_kind: str | None
    quantity: str | None = Field(examples=["fill_level"])
    fire_op: str | None
    fire_value: float | None
    clear_op: str | None
    clear_value: float | None
    for_readings: int
    for_seconds: int
    clear_on_emptying: bool
    silence_intervals: float
    severity: str
    message: str
    enabled: bool


class RulePatch(Body):
    """Ce qui change ; un champ absent ou null reste tel quel."""

    model_config = example({"severity": "major", "fire_value": 80, "clear_value": 60})

    enabled: bool | None = Field(None, description="false : la règle ne déclenche plus")
    severity: Severity | None = Field(None, description="Gravité, d'`info` à `critical`")
    message: Annotated[str, StringConstraints(min_length=1, max_length=1000, pattern=PRINTABLE)] | None = None
    fire_value: float | None = Field(None, description="Seuil de déclenchement", examples=[80])
    clear_value: float | None = Field(None, description="Seuil de retour à la normale", examples=[60])
    for_readings: int | None = Field(
        None, ge=1, le=100, description="Mesures de suite au-delà du seuil avant d'ouvrir l'alerte"
    )
    for_seconds: int | None = Field(
        None, ge=0, le=604_800, description="Secondes au-delà du seuil avant d'ouvrir l'alerte"
    )
    silence_intervals: float | None = Field(
        None, ge=1, le=100, description="Intervalles attendus sans message avant de dire le capteur muet"
    )


@router.get("/alerts", summary="Lister les alertes")
async def list_alerts(
    caller: Reader,
    state: Annotated[list[Workflow] | None, Query(max_length=3, description=STATES_TEXT)] = None,
    asset_id: IdQuery = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page[AlertAnswer]:
    """Les alertes, la dernière d'abord."""
    before = cursor_id(cursor)
    async with caller.reading() as connection:
        rows = await store.list_alerts(
            connection, workflow=state, asset_id=asset_id, before=before, most=limit + 1
        )
    return page_of(rows, limit, AlertAnswer.model_validate, lambda alert: str(alert.id))


@router.get("/alerts/{id}", summary="Lire une alerte")
async def read_alert(id: BigId, caller: Reader) -> AlertAnswer:  # noqa: A002 - The path's word.
    """Une alerte."""
    async with caller.reading() as connection:
        alert = await store.read_alert(connection, id)
    if alert is None:
        raise not_found(f"alerte {id}")
    return AlertAnswer.model_validate(alert)


@router.post("/alerts/{id}/acknowledge", summary="Acquitter une alerte")
async def acknowledge_alert(id: BigId, caller: Manager) -> AlertAnswer:  # noqa: A002 - The path's word.
    """Prendre une alerte en charge ; elle reste ouverte jusqu'au retour à la normale."""
    async with caller.changing() as change:
        alert = await store.read_alert(change.connection, id)
        if alert is None:
            raise not_found(f"alerte {id}")
        async with on_behalf(change, alert.tenant_id, alert.asset_id, f"alerte {id}") as acting:
            alert = await store.acknowledge(acting.connection, id, acting.actor)
            await acting.audit("acknowledge", "alert", id)
        if acting is not change:
            await change.audit("acknowledge", "alert", id)
    return AlertAnswer.model_validate(alert)


@router.get("/alert-rules", summary="Lister les règles d'alerte")
async def list_rules(caller: Reader) -> Page[RuleAnswer]:
    """Les règles de la collectivité et de ses membres."""
    async with caller.reading() as connection:
        rules = await store.list_rules(connection)
    return Page(items=[RuleAnswer.model_validate(rule) for rule in rules], next=None)


@router.get("/alert-rules/{id}", summary="Lire une règle d'alerte")
async def read_rule(id: Id, caller: Reader) -> RuleAnswer:  # noqa: A002 - The path's word.
    """Une règle."""
    async with caller.reading() as connection:
        rule = await store.read_rule(connection, id)
    if rule is None:
        raise not_found(f"règle {id}")
    return RuleAnswer.model_validate(rule)


@router.patch("/alert-rules/{id}", summary="Modifier une règle d'alerte")
async def update_rule(id: Id, body: RulePatch, caller: Manager) -> RuleAnswer:  # noqa: A002 - The path's word.
    """Modifier une règle ; la modification est active partout en 5 secondes."""
    async with caller.changing() as change:
        try:
            rule = await store.update_rule(change.connection, id, store.RuleChange(**body.model_dump()))
        except store.RefusedRule as refused:
            raise Problem(422, str(refused)) from None
        if rule is None:
            raise not_found(f"règle {id}")
        await change.audit("update", "alert_rule", id, body.model_dump(exclude_none=True))
    return RuleAnswer.model_validate(rule)
