"""The door for signed reports of a CMMS about work orders: it has no key, its signature says who it is."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self

from fastapi import APIRouter, Request, Security
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from alerting import partners, work_orders
from alerting.rules.work_order_states import ENDED, ImpossibleChange
from alerting.work_orders import Actor
from api.before_after import before_and_after
from api.dependencies import Dependencies
from api.fields import Answer, Body, Id, IdRef, Instant, Name, Reference, example
from api.origin import origin_of
from api.routes.event_sources import SIGNATURE, sender_of
from api.routes.work_orders import STATE_TEXT, Lines, State
from core.runtime.http.errors import PROBLEM_RESPONSES, Problem, not_found
from core.runtime.postgres import Connection
from registry.audit import write_audit
from registry.entering import tenant_transaction

router = APIRouter(prefix="/v1", tags=["work-orders"], responses=PROBLEM_RESPONSES)


class ReportedWork(Body):
    """L'intervention, et ce qu'il en est."""

    model_config = example({"work_order": 12, "reference": "OT-2026-0042", "status": "in_progress"})

    work_order: IdRef | None = Field(
        None,
        description="Son numéro ici (`data.work_order` des webhooks) ; avec `reference`, celle-ci est retenue",
    )
    reference: Reference | None = Field(
        None, description="Son numéro dans la GMAO ; seul, il suffit une fois retenu"
    )
    status: State | None = Field(None, description=STATE_TEXT)
    assignee: Name | None = Field(None, description="Qui s'en charge")
    due_at: Instant | None = Field(None, description="Pour quand")
    comment: Annotated[
        Lines, Field(description="Une remarque ; de `done` ce qui a été fait, de `cancelled` pourquoi")
    ] = ""

    @model_validator(mode="after")
    def _names_one(self) -> Self:
        if self.work_order is None and self.reference is None:
            raise PydanticCustomError("work_order", "work_order ou reference attendu")
        return self


class WorkOrderReport(Body):
    """Un changement d'état, rapporté par une GMAO."""

    model_config = example(
        {
            "type": "work_order.status",
            "timestamp": "2026-11-28T08:15:00Z",
            "data": {"work_order": 12, "reference": "OT-2026-0042", "status": "in_progress"},
        }
    )

    type: Literal["work_order.status"]
    timestamp: Instant | None = Field(
        None,
        description="Quand ; d'un état plus ancien que le dernier reçu, seule la remarque est reprise. Absent : "
        "maintenant",
    )
    data: ReportedWork


class ReportAnswer(Answer):
    """Ce qui en a été fait."""

    taken: bool = Field(description="false : cet identifiant avait déjà été reçu, rien n'a changé")
    state: str | None = Field(description="L'état de l'intervention ensuite ; null : rien n'a changé")


@router.post(
    "/work-order-reports/{id}",
    operation_id="receiveWorkOrderReport",
    status_code=202,
    summary="Recevoir l'état d'une intervention d'une GMAO",
    dependencies=[Security(SIGNATURE)],
)
async def take_work_order_report(id: Id, report: WorkOrderReport, request: Request) -> ReportAnswer:
    """Recevoir un état signé (Standard Webhooks, cinq minutes d'écart au plus) de la source `id`.

    Renvoyé sous le même webhook-id, il compte une fois. La source est faite par `POST /v1/event-sources`, avec
    `purpose` `work_orders`.
    """
    platform: Dependencies = request.app.state.platform
    sender = await sender_of(id, request)
    try:
        async with tenant_transaction(platform.pool, sender.proof) as connection:
            message_id = request.headers["webhook-id"]
            if not await partners.take_message(connection, sender, message_id, "work_orders"):
                return ReportAnswer(taken=False, state=None)
            former, state = await _apply(connection, sender, report)
            recorded = before_and_after(former, report)
            recorded |= {"event_source": id, "address": origin_of(request, platform.access.proxies)}
            actor = f"système partenaire {id}"
            await write_audit(connection, sender.tenant_id, actor, "report", "work_order", former["id"], recorded)
    except (partners.RejectedEvent, ImpossibleChange) as refused:
        raise Problem(422, str(refused)) from None
    return ReportAnswer(taken=True, state=state)


async def _apply(
    connection: Connection, sender: partners.Sender, report: WorkOrderReport
) -> tuple[dict[str, Any], str]:
    """What of the work order the report is compared with, and the state after it."""
    data, now = report.data, datetime.now(UTC)
    found = data.work_order
    if found is None and data.reference is not None:
        found = await work_orders.find_by_reference(connection, data.reference)
    former = None if found is None else await work_orders.read_work_order(connection, found)
    if found is None or former is None:
        raise not_found(f"intervention {data.work_order or data.reference}")
    at = min(report.timestamp or now, now)
    is_old = former.reported_at is not None and at < former.reported_at
    given: dict[str, Any] = {}
    if data.status is not None and not is_old:
        given["state"] = data.status
        if data.status in ENDED:
            given["resolution"] = data.comment or former.resolution or f"Rapporté par {sender.name}"
    if not is_old:
        fields = {"assignee": data.assignee, "due_at": data.due_at}
        given |= {name: value for name, value in fields.items() if value is not None}
    if data.reference is not None:
        given["external_reference"] = data.reference
    actor = Actor(sender.name, sender.source_id, None if is_old else at)
    after = await work_orders.update_work_order(connection, found, actor, given, data.comment)
    assert after is not None  # noqa: S101 - It was read in this transaction.
    return {"id": found, "state": former.state}, after.state
