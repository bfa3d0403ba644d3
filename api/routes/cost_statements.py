"""Yearly statements: drafted from items and ledger, issued once and for all, read by those who pay."""

import asyncio
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import Field

from api import cost_statement
from api.auth import Manager, Reader
from api.fields import Answer, Body, Id, IdQuery, Text, answer_of, example
from api.pages import Page, Paged, page_of
from api.printed import PDF
from api.resources import Resource
from api.routes.cost import CODE, CostLineAnswer, Year
from core.model.region import region_of
from core.runtime.http.errors import PROBLEM_RESPONSES, FieldError, Problem
from core.runtime.postgres import Connection
from indicators.cost import store
from indicators.cost.formulas import BASES, formulas_of
from indicators.cost.model import Gap, Reason, Statement, UnshareableItem
from indicators.cost.statement import make_statement
from indicators.cost.store import IssuedLine, IssuedStatement, KnownContributor
from registry.tenants import read_with_timezone

router = APIRouter(prefix="/v1", tags=["cost"], responses=PROBLEM_RESPONSES)

NOBODY = "aucun contributeur ne peut le porter cette année"
YearQuery = Annotated[int, Query(ge=2000, le=2199, description="L'exercice", examples=[2026])]


class CostOwedAnswer(Answer):
    """Ce qu'un contributeur doit en tout."""

    contributor_id: int
    contributor: str
    cents: int


class UnshareableAnswer(Answer):
    """Un poste qui ne se répartit pas cette année."""

    item_id: int
    item: str
    reason: Reason
    message: str


class CostGapAnswer(Answer):
    """Ce que le registre ne dit pas d'un contributeur : ni combien, ni qu'il n'y en a pas."""

    contributor_id: int
    contributor: str
    basis: str
    message: str


class CostDraftAnswer(Answer):
    """Le décompte d'une année comme il serait émis maintenant."""

    year: int
    total_cents: int = Field(description="La somme des lignes, au centime")
    left_cents: int = Field(description="Ce que les prorata ne font porter par personne")
    owed: list[CostOwedAnswer]
    lines: list[CostLineAnswer]
    problems: list[UnshareableAnswer]
    gaps: list[CostGapAnswer] = Field(description="Inconnu n'est pas zéro : une écriture de 0 le dit")


class CostStatementAnswer(answer_of(IssuedStatement)):
    """Un décompte émis ; une version suivante le remplace et le laisse tel quel."""

    issuer: str = Field(description="La collectivité qui l'a émis")
    version: int
    total_cents: int = Field(description="De tous les contributeurs, même si vous ne voyez que vos lignes")
    issued_at: datetime


class WholeCostStatementAnswer(CostStatementAnswer):
    """Un décompte émis, avec les lignes que vous voyez."""

    lines: list[CostLineAnswer] = Field(description="Un membre voit les siennes")


class CostIssueBody(Body):
    """L'année à émettre."""

    model_config = example({"year": 2026})

    year: Year
    remark: Text = Field("", description="Par exemple pourquoi une version remplace la précédente")


STATEMENTS = Resource("cost_statement", "décompte", store.read_statement, CostStatementAnswer.model_validate)


async def draft(connection: Connection, year: int) -> tuple[Statement, dict[int, KnownContributor]]:
    """The year as it is now, and who is in it."""
    contributors = await store.list_contributors(connection)
    items = [known.item for known in await store.list_items(connection)]
    entries = await store.sum_entries(connection, year)
    made = make_statement(year, [one.contributor for one in contributors], items, entries)
    return made, {one.id: one for one in contributors}


def _lines(made: Statement, known: dict[int, KnownContributor]) -> list[CostLineAnswer]:
    formulas = formulas_of(made)
    return [
        CostLineAnswer(
            item_id=shared.item.id,
            item=shared.item.name,
            item_cents=shared.total_cents,
            contributor_id=line.contributor_id,
            contributor=known[line.contributor_id].name,
            cents=line.cents,
            formula=formulas[shared.item.id, line.contributor_id],
        )
        for shared in made.shared
        for line in shared.lines
    ]


def _said(wrong: UnshareableItem, known: dict[int, KnownContributor]) -> str:
    basis = BASES[wrong.basis] if wrong.basis is not None else ""
    who = known[wrong.contributor_id].name if wrong.contributor_id is not None else ""
    messages: dict[Reason, str] = {
        "nobody": NOBODY,
        "nothing_counted": f"rien n'est compté en {basis}, pour personne",
        "negative": f"{who} a moins que zéro en {basis}",
        "above_whole": f"il y a plus de {wrong.item.per} {basis} en tout",
        "flats_above": "les forfaits dépassent le montant",
    }
    return messages[wrong.reason]


def _gap(gap: Gap, known: dict[int, KnownContributor]) -> CostGapAnswer:
    name, basis = known[gap.contributor_id].name, BASES[gap.basis]
    message = f"{name} : rien au registre en {basis}"
    return CostGapAnswer(contributor_id=gap.contributor_id, contributor=name, basis=gap.basis, message=message)


def _drafted(made: Statement, known: dict[int, KnownContributor]) -> CostDraftAnswer:
    owed = made.by_contributor()
    return CostDraftAnswer(
        year=made.year,
        total_cents=made.total_cents,
        left_cents=sum(shared.left_cents for shared in made.shared),
        owed=[
            CostOwedAnswer(contributor_id=id_, contributor=one.name, cents=owed[id_])
            for id_, one in known.items()
            if id_ in owed
        ],
        lines=_lines(made, known),
        problems=[
            UnshareableAnswer(
                item_id=one.item.id, item=one.item.name, reason=one.reason, message=_said(one, known)
            )
            for one in made.unshareable
        ],
        gaps=[_gap(gap, known) for gap in made.gaps],
    )


@router.get(
    "/cost-statements/draft", operation_id="draftCostStatement", summary="Calculer le décompte d'une année"
)
async def draft_statement(year: YearQuery, caller: Reader) -> CostDraftAnswer:
    """Ce que chacun paierait, avec le calcul de chaque ligne, ce qui ne se répartit pas et ce qui manque."""
    async with caller.reading() as connection:
        return _drafted(*await draft(connection, year))


@router.post(
    "/cost-statements",
    status_code=201,
    operation_id="issueCostStatement",
    summary="Émettre le décompte d'une année",
)
async def issue_statement(body: CostIssueBody, caller: Manager) -> WholeCostStatementAnswer:
    """Le figer, et le montrer à chaque membre pour ses lignes ; émis de nouveau, c'est la version suivante.

    422 tant qu'un poste ne se répartit pas ou que le registre ne dit rien de quelqu'un.
    """
    async with caller.changing() as change:
        made, known = await draft(change.connection, body.year)
        drafted = _drafted(made, known)
        wrong = [f"{one.item} : {one.message}" for one in drafted.problems]
        wrong += [one.message for one in drafted.gaps]
        if not made.shared and not wrong:
            wrong = [f"aucun poste en {body.year}"]
        if wrong:
            errors = [FieldError(field="body.year", code=CODE, message=one) for one in wrong]
            raise Problem(422, f"ce décompte ne peut pas être émis : {wrong[0]}", errors=errors)
        issued = await store.issue_statement(
            change.connection, change.tenant_id, made, known.values(), formulas_of(made), change.actor, body.remark
        )
        shown = STATEMENTS.show(issued)
        await change.audit("issue", STATEMENTS.entity, issued.id, after=shown)
        lines = await store.list_lines(change.connection, issued.id)
    return _whole(issued, lines)


def _whole(issued: IssuedStatement, lines: list[IssuedLine]) -> WholeCostStatementAnswer:
    shown = [CostLineAnswer.model_validate(line) for line in lines]
    return WholeCostStatementAnswer.model_validate(STATEMENTS.show(issued).model_dump() | {"lines": shown})


@router.get("/cost-statements", operation_id="listCostStatements", summary="Lister les décomptes émis")
async def list_statements(caller: Reader, paging: Paged) -> Page[CostStatementAnswer]:
    """Les vôtres, et ceux qui ont des lignes pour vous ; le dernier d'abord."""
    async with caller.reading() as connection:
        found = await store.list_statements(connection, paging.before, paging.most)
    return page_of(found, paging.limit, STATEMENTS.show)


@router.get("/cost-statements/{id}", operation_id="getCostStatement", summary="Lire un décompte émis")
async def read_statement(id: Id, caller: Reader) -> WholeCostStatementAnswer:
    """Avec les lignes que vous voyez : toutes, ou celles de votre collectivité."""
    async with caller.reading() as connection:
        issued = await STATEMENTS.get(connection, id)
        return _whole(issued, await store.list_lines(connection, id))


@router.get(
    "/cost-statements/{id}/lines", operation_id="listCostStatementLines", summary="Lister les lignes d'un décompte"
)
async def list_lines(id: Id, caller: Reader, contributor_id: IdQuery = None) -> Page[CostLineAnswer]:
    """Par contributeur et par poste ; en CSV par l'en-tête Accept, ou `.csv`."""
    async with caller.reading() as connection:
        await STATEMENTS.get(connection, id)
        lines = await store.list_lines(connection, id, contributor_id)
    return Page(items=[CostLineAnswer.model_validate(line) for line in lines], next=None)


@router.get(
    "/cost-statements/{id}/statement.pdf",
    operation_id="printCostStatement",
    summary="Imprimer un décompte",
    response_class=Response,
    responses={200: {"content": {PDF: {"schema": {"type": "string", "format": "binary"}}}}},
)
async def print_statement(id: Id, caller: Reader, contributor_id: IdQuery = None) -> Response:
    """Le décompte en PDF : les lignes que vous voyez, ou celles d'un contributeur."""
    async with caller.reading() as connection:
        issued = await STATEMENTS.get(connection, id)
        lines = await store.list_lines(connection, id, contributor_id)
        tenant, timezone = await read_with_timezone(connection, caller.principal.tenant_id)
    zone = region_of(tenant.department, timezone).zone
    octets = await asyncio.to_thread(cost_statement.printed, issued, lines, zone)
    name = f"decompte-{issued.year}-v{issued.version}.pdf"
    return Response(octets, media_type=PDF, headers={"Content-Disposition": f'inline; filename="{name}"'})
