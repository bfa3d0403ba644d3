"""The audit of a tenant, for those who have the right: who did what, from where, what was before and after."""

import csv
import io
import json
from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response

from api.auth import Auditor
from api.fields import Instant, Label, answer_of
from api.list_formats import safe_cell
from api.pages import Page, Paged, page_of
from core.runtime.http.errors import PROBLEM_RESPONSES
from registry.audit import AuditLine, list_audit
from registry.entering import act_as_operator

router = APIRouter(prefix="/v1/audit", tags=["audit"], responses=PROBLEM_RESPONSES)

COLUMNS = ("id", "at", "actor", "action", "entity", "entity_id", "address", "details")


class AuditAnswer(answer_of(AuditLine)):
    """Une ligne du journal ; `details` dit d'où, au nom de qui, et ce qui était avant et après."""


def cell_of(value: object) -> str:
    """A value of a CSV, which no spreadsheet takes for a formula."""
    return safe_cell(value.isoformat() if isinstance(value, datetime) else str(value))


def _as_csv(lines: list[AuditLine], following: str | None) -> Response:
    output = io.StringIO()
    writer = csv.writer(output)
    writer.writerow(COLUMNS)
    for line in lines:
        address = line.details.get("address", "")
        content = json.dumps(line.details, ensure_ascii=False, sort_keys=True)
        row = (line.id, line.at, line.actor, line.action, line.entity, line.entity_id, address, content)
        writer.writerow([cell_of(value) for value in row])
    headers = {"Content-Disposition": 'attachment; filename="audit.csv"'}
    if following is not None:
        headers["Next-Cursor"] = following
    return Response(output.getvalue(), media_type="text/csv; charset=utf-8", headers=headers)


@router.get(
    "",
    operation_id="listAudit",
    summary="Lire le journal d'audit",
    response_model=Page[AuditAnswer],
    responses={200: {"content": {"text/csv": {"schema": {"type": "string"}}}}},
)
async def read_audit(
    caller: Auditor,
    paging: Paged,
    actor: Annotated[Label | None, Query(description="Nom d'une clé, ou « personne 12 »")] = None,
    action: Annotated[Label | None, Query(description="Ce qui a été fait : create, login, reject…")] = None,
    entity: Annotated[Label | None, Query(description="Sur quoi : asset, grant, session, login…")] = None,
    entity_id: Annotated[Label | None, Query(description="Lequel")] = None,
    since: Annotated[Instant | None, Query(alias="from", description="Premier instant")] = None,
    until: Annotated[Instant | None, Query(alias="to", description="Fin, non comprise")] = None,
    form: Annotated[
        Literal["json", "csv"],
        Query(alias="format", description="`csv` : la suite est dans l'en-tête Next-Cursor"),
    ] = "json",
) -> Page[AuditAnswer] | Response:
    """Les lignes, la dernière d'abord ; l'exploitant du réseau voit aussi les connexions refusées."""
    async with caller.reading_alone() as connection:
        if caller.has("operate"):
            await act_as_operator(connection)
        found = await list_audit(
            connection,
            before=paging.before,
            actor=actor,
            action=action,
            entity=entity,
            entity_id=entity_id,
            since=since,
            until=until,
            most=paging.most,
        )
    page = page_of(found, paging.limit, AuditAnswer.model_validate)
    return _as_csv(found[: paging.limit], page.next) if form == "csv" else page
