"""What the cost of a network is shared by: contributors with their periods, items, and the ledger of use."""

from datetime import date, datetime
from typing import Annotated, Self

from fastapi import APIRouter, Response
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from api.auth import Change, Manager, Reader
from api.fields import (
    INT4_MOST,
    Answer,
    BigId,
    Body,
    Day,
    Id,
    IdQuery,
    IdRef,
    Name,
    Slug,
    Text,
    answer_of,
    example,
)
from api.pages import Page, Paged, page_of
from api.resources import Resource
from core.runtime.http.errors import PROBLEM_RESPONSES, Problem, invalid
from core.runtime.postgres import ForeignKeyViolationError
from indicators.cost import store
from indicators.cost.checks import InvalidCost, check_item, check_periods
from indicators.cost.model import WHOLE, Basis, Counted, Entry, Item, Method, OfLedger, Period, Share
from indicators.cost.store import KnownContributor, KnownEntry, KnownItem

router = APIRouter(prefix="/v1", tags=["cost"], responses=PROBLEM_RESPONSES)

MOST_CENTS = 10**13
MOST_UNITS = 10**15
CODE = "cost"
PERIODS = [{"since": "2026-01-01", "inhabitants": 12_300}]
KEY = [
    {"basis": "inhabitants", "share": 4000},
    {"basis": "assets", "share": 4000},
    {"basis": "gateways", "share": 2000},
]
Year = Annotated[int, Field(ge=2000, le=2199, examples=[2026])]
Cents = Annotated[int, Field(ge=0, le=MOST_CENTS, description="En centimes d'euro", examples=[15_000_000])]


class CostPeriodBody(Body):
    """Du premier jour (inclus) au dernier (exclu), avec la population de ce temps."""

    model_config = example(PERIODS[0])

    since: Day = Field(examples=["2026-01-01"])
    until: Day | None = Field(None, description="Exclu ; absent : jusqu'à nouvel ordre")
    inhabitants: int = Field(ge=0, le=INT4_MOST, examples=[12_300])


class CostContributorBody(Body):
    """Qui porte une part du coût, et quand."""

    model_config = example({"name": "Landerneau", "periods": PERIODS})

    name: Name = Field(examples=["Landerneau"])
    member: Slug | None = Field(
        None, description="Sa collectivité sur la plateforme, si elle y est : elle lira ses décomptes"
    )
    periods: list[CostPeriodBody] = Field(min_length=1, max_length=100)

    @property
    def dated(self) -> list[Period]:
        """For the registry; raises 422 for periods that cannot be."""
        periods = [Period(one.since, one.until, one.inhabitants) for one in self.periods]
        try:
            check_periods(periods)
        except InvalidCost as wrong:
            raise invalid(wrong.field, CODE, str(wrong)) from None
        return periods


class CostPeriodAnswer(answer_of(Period)):
    """Une période d'appartenance."""


class CostContributorAnswer(answer_of(KnownContributor, {"member_id", "periods"})):
    """Qui porte une part du coût."""

    member: str | None = Field(description="Sa collectivité sur la plateforme ; null : elle n'y est pas")
    periods: list[CostPeriodAnswer]


class CostShareBody(Body):
    """Une part de la clé, et ce qui la répartit."""

    model_config = example(KEY[0])

    basis: Basis
    share: int = Field(
        WHOLE, ge=1, le=WHOLE, description="En centièmes de pour cent : 4000 pour 40 %", examples=[4000]
    )


class CostItemBody(Body):
    """Un poste de coût, et comment il se répartit."""

    model_config = example(
        {"name": "Exploitation", "first_year": 2026, "method": "key", "amount_cents": 4_300_000, "shares": KEY}
    )

    name: Name = Field(examples=["Exploitation"])
    first_year: Year
    last_year: Year | None = Field(None, description="Incluse ; absente : chaque année")
    method: Method = Field(
        description="`key` : le montant annuel, par les parts ; `rate` : le montant par `per` unités ; "
        "`pro_rata` : le montant, à raison des unités de chacun sur `per`"
    )
    amount_cents: Cents
    shares: list[CostShareBody] = Field(
        min_length=1, max_length=8, description="Une clé : 100 % en tout ; sinon une seule"
    )
    counted: Counted = Field(
        "average",
        description="Ce qui est en service : la moyenne des jours de l'année (`average`), le nombre au "
        "31 décembre (`year_end`), ou ce qui est venu dans l'année (`added`) ; un usage s'additionne toujours",
    )
    per: int = Field(1, ge=1, le=INT4_MOST, description="Unités d'un tarif, ou du tout d'un prorata")
    flat_below: int = Field(
        0, ge=0, le=INT4_MOST, description="Sous ce nombre d'habitants, un forfait ; 0 : aucun"
    )
    flat_cents: int = Field(0, ge=0, le=MOST_CENTS, description="Le forfait annuel, en centimes")
    subsidy_percent: int = Field(0, ge=0, le=100, description="Part subventionnée, retirée avant répartition")

    @model_validator(mode="after")
    def _can_be_shared(self) -> Self:
        try:
            check_item(self.item)
        except InvalidCost as wrong:
            raise PydanticCustomError(CODE, "{why}", {"why": str(wrong)}) from None
        return self

    @property
    def item(self) -> Item:
        """For the registry, which numbers it."""
        shares = tuple(Share(one.basis, one.share) for one in self.shares)
        values = self.model_dump(exclude={"shares"})
        return Item(id=0, shares=shares, **values)


class CostShareAnswer(answer_of(Share)):
    """Une part de la clé."""


class CostItemAnswer(answer_of(Item, {"shares"})):
    """Un poste de coût."""

    tenant_id: int
    shares: list[CostShareAnswer]
    created_at: datetime


class CostEntryBody(Body):
    """Une écriture : de plus ou de moins à partir d'un jour, ou l'usage d'un jour."""

    model_config = example({"contributor_id": 42, "basis": "gateways", "day": "2026-03-01", "quantity": 4})

    contributor_id: IdRef
    basis: OfLedger
    day: Day = Field(examples=["2026-03-01"])
    quantity: int = Field(
        ge=-MOST_UNITS,
        le=MOST_UNITS,
        description="Unités de plus ; négatif : de moins ; 0 : dire qu'il n'y en a pas",
        examples=[4],
    )
    corrects: int | None = Field(
        None, ge=1, description="L'écriture que celle-ci corrige ; il faut alors un motif"
    )
    reason: Text = ""

    @model_validator(mode="after")
    def _says_why(self) -> Self:
        if self.corrects is not None and not self.reason:
            raise PydanticCustomError(CODE, "une correction dit son motif : remplissez reason")
        return self


class CostEntryAnswer(answer_of(KnownEntry)):
    """Une écriture du registre : elle ne change plus."""

    origin: store.Origin = Field(description="`measured` : comptée par la plateforme ; `stated` : saisie")
    corrects: int | None
    day: date


def _shown(known: KnownContributor) -> CostContributorAnswer:
    return CostContributorAnswer.model_validate(known)


def _item_shown(known: KnownItem) -> CostItemAnswer:
    values = {name: getattr(known.item, name) for name in CostItemAnswer.model_fields if hasattr(known.item, name)}
    return CostItemAnswer.model_validate(
        values
        | {
            "shares": [CostShareAnswer.model_validate(share) for share in known.item.shares],
            "tenant_id": known.tenant_id,
            "created_at": known.created_at,
        }
    )


CONTRIBUTORS = Resource("cost_contributor", "contributeur", store.read_contributor, _shown)
ITEMS = Resource("cost_item", "poste", store.read_item, _item_shown)
ENTRIES = Resource("cost_entry", "écriture", store.read_entry, CostEntryAnswer.model_validate)


async def _member(change: Change, slug: str | None) -> int | None:
    if slug is None:
        return None
    found = await store.find_member(change.connection, slug)
    if found is None:
        raise invalid("member", CODE, f"{slug} n'est ni votre collectivité ni un de vos membres")
    return found


@router.post("/cost-contributors", status_code=201, summary="Ajouter un contributeur")
async def create_cost_contributor(body: CostContributorBody, caller: Manager) -> CostContributorAnswer:
    """Qui porte une part du coût : sa population, et depuis quand il est du groupement."""
    periods = body.dated

    async def created(change: Change) -> KnownContributor | None:
        member = await _member(change, body.member)
        return await store.create_contributor(change.connection, change.tenant_id, body.name, member, periods)

    return await CONTRIBUTORS.create(caller, created)


@router.get("/cost-contributors", summary="Lister les contributeurs")
async def list_cost_contributors(caller: Reader) -> Page[CostContributorAnswer]:
    """Par nom, avec leurs périodes."""
    return await CONTRIBUTORS.list(caller, store.list_contributors)


@router.get("/cost-contributors/{id}", summary="Lire un contributeur")
async def read_cost_contributor(id: Id, caller: Reader) -> CostContributorAnswer:
    """Ses périodes et sa population."""
    return await CONTRIBUTORS.read(caller, id)


@router.put("/cost-contributors/{id}", summary="Remplacer un contributeur")
async def update_cost_contributor(id: Id, body: CostContributorBody, caller: Manager) -> CostContributorAnswer:
    """Son nom, sa collectivité et toutes ses périodes ; les décomptes émis ne changent pas."""
    periods = body.dated
    async with caller.changing() as change:
        former = await CONTRIBUTORS.own(change, id)
        member = await _member(change, body.member)
        known = await store.change_contributor(change.connection, former, body.name, member, periods)
        if known is None:
            raise CONTRIBUTORS.missing(id)
        shown = _shown(known)
        await change.audit("update", CONTRIBUTORS.entity, id, before=_shown(former), after=shown)
    return shown


@router.delete("/cost-contributors/{id}", status_code=204, summary="Retirer un contributeur")
async def delete_cost_contributor(id: Id, caller: Manager) -> Response:
    """Tant que le registre n'a aucune écriture de lui ; sinon, terminer sa période."""
    try:
        return await CONTRIBUTORS.delete(caller, id, store.delete_contributor)
    except ForeignKeyViolationError:
        raise Problem(409, "le registre a des écritures de ce contributeur : terminez sa période") from None


@router.post("/cost-items", status_code=201, summary="Ajouter un poste de coût")
async def create_cost_item(body: CostItemBody, caller: Manager) -> CostItemAnswer:
    """Un poste et sa répartition, d'une année à l'autre ; deux du même nom ne se recouvrent pas."""
    return await ITEMS.create(
        caller, lambda change: store.create_item(change.connection, change.tenant_id, body.item)
    )


@router.get("/cost-items", summary="Lister les postes de coût")
async def list_cost_items(caller: Reader) -> Page[CostItemAnswer]:
    """Par nom et par année."""
    return await ITEMS.list(caller, store.list_items)


@router.get("/cost-items/{id}", summary="Lire un poste de coût")
async def read_cost_item(id: Id, caller: Reader) -> CostItemAnswer:
    """Un poste et sa répartition."""
    return await ITEMS.read(caller, id)


@router.delete("/cost-items/{id}", status_code=204, summary="Retirer un poste de coût")
async def delete_cost_item(id: Id, caller: Manager) -> Response:
    """Les décomptes émis ne changent pas."""
    return await ITEMS.delete(caller, id, store.delete_item)


@router.post("/cost-entries", status_code=201, summary="Écrire au registre des usages")
async def create_cost_entry(body: CostEntryBody, caller: Manager) -> CostEntryAnswer:
    """Une écriture ne se change pas : une erreur se corrige par une autre, qui la nomme et dit pourquoi."""
    entry = Entry(body.contributor_id, body.basis, body.day, body.quantity)
    async with caller.changing() as change:
        if await store.read_contributor(change.connection, body.contributor_id) is None:
            raise invalid("contributor_id", CODE, f"contributeur {body.contributor_id} introuvable")
        if body.corrects is not None:
            wrong = await store.read_entry(change.connection, body.corrects)
            if wrong is None or (wrong.contributor_id, wrong.basis) != (body.contributor_id, body.basis):
                message = f"l'écriture {body.corrects} n'est pas de ce contributeur et de cette assiette"
                raise invalid("corrects", CODE, message)
        made = await store.add_entry(
            change.connection, change.tenant_id, entry, change.actor, corrects=body.corrects, reason=body.reason
        )
        shown = ENTRIES.show(made)
        await change.audit("create", ENTRIES.entity, made.id, after=shown)
    return shown


@router.get("/cost-entries", summary="Lire le registre des usages")
async def list_cost_entries(
    caller: Reader, paging: Paged, contributor_id: IdQuery = None
) -> Page[CostEntryAnswer]:
    """La dernière écriture d'abord."""
    async with caller.reading() as connection:
        found = await store.list_entries(connection, paging.before, contributor_id, paging.most)
    return page_of(found, paging.limit, ENTRIES.show)


@router.get("/cost-entries/{id}", summary="Lire une écriture")
async def read_cost_entry(id: BigId, caller: Reader) -> CostEntryAnswer:
    """Une écriture du registre."""
    return await ENTRIES.read(caller, id)


class CostLineAnswer(Answer):
    """Ce qu'un contributeur paie d'un poste, et pourquoi."""

    item_id: int
    item: str
    item_cents: int = Field(description="Le poste entier, en centimes : la somme de ses lignes")
    contributor_id: int
    contributor: str
    cents: int
    formula: str = Field(description="Le calcul, que chacun peut refaire")
