"""Class 2: purpose, basis and consents, what would be deleted, and days of ten dwellings for everybody else."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal, Self

from fastapi import APIRouter, Query
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from api.auth import Change, Manager, Reader
from api.fields import PRINTABLE, Answer, Body, Day, Id, IdRef, Instant, Remark, answer_of, example
from api.pages import Page
from api.resources import Resource
from core.runtime.http.errors import PROBLEM_RESPONSES, Problem, invalid, not_found, read_only
from core.runtime.postgres import Connection
from registry import privacy
from registry.privacy import Consent, DwellingDay, Loss, Processing, Proposal, Subject, Terms

AHEAD = timedelta(minutes=5)
PERSONAL = 2
MOST_PROPOSALS = 100
MOST_CONFIRMED = 100
LONGEST_DAYS = 366
MOST_DAYS = 20_000

router = APIRouter(prefix="/v1", tags=["privacy"], responses=PROBLEM_RESPONSES)

Basis = Literal[
    "consent", "contract", "legal_obligation", "vital_interests", "public_task", "legitimate_interests"
]
BASIS_TEXT = (
    "Base légale (RGPD, article 6) : consentement, contrat, obligation légale, sauvegarde d'intérêts vitaux, "
    "mission d'intérêt public, intérêts légitimes. `consent` : sans consentement en cours, rien de plus fin "
    "que le jour"
)
FINE_TEXT = (
    "Jusqu'à quand quelque chose de plus fin que le jour est lu et gardé ; null : jusqu'au terme de sa classe"
)
Months = Annotated[int, Field(ge=1, le=1200, examples=[6])]


class NewProcessing(Body):
    """La ligne du registre : à quelle fin, sur quelle base, pour combien de temps."""

    model_config = example({"purpose": "Suivi de consommation demandé par l'occupant", "basis": "consent"})

    purpose: Remark = Field(description="Finalité", examples=["Recherche de fuites"])
    basis: Basis = Field(description=BASIS_TEXT)
    keep_hours_months: Months | None = Field(
        None, description="Mois gardés de ce qui est plus fin que le jour ; absent : le terme de la classe 2"
    )
    keep_days_months: Months | None = Field(
        None, description="Mois gardés des jours ; absent : le terme de la classe 2"
    )


class ProcessingAnswer(answer_of(Processing)):
    """Finalité, base et durées ; de l'actif même, ou de ce dont il dépend."""


class NewConsent(Body):
    """Un consentement recueilli."""

    model_config = example(
        {
            "given_by": "L'occupante du 12",
            "given_at": "2026-11-02T09:00:00Z",
            "document": "Formulaire 2026-118, GED 4471",
        }
    )

    given_by: Remark = Field(description="Qui l'a donné")
    given_at: Instant = Field(description="Quand")
    document: Remark = Field(description="Où est la preuve : référence du document signé")
    until: Instant | None = Field(None, description="Jusqu'à quand il est donné ; absent : jusqu'à son retrait")


class ConsentAnswer(answer_of(Consent)):
    """Un consentement ; `ended_at` : il a été retiré."""


class TermsAnswer(answer_of(Terms)):
    """Durées de la classe 2, en mois ; 0 : sans fin."""


class LossAnswer(answer_of(Loss)):
    """Ce que les durées de la classe 2 effacent : combien de lignes, et l'instant de la plus ancienne."""

    rows: int = Field(description="En tout")


class PrivacyAnswer(Answer):
    """Ce qui vaut pour un actif ou un flux."""

    privacy_class: int
    processing: ProcessingAnswer | None = Field(description="null : ni finalité ni base n'est dite")
    consents: list[ConsentAnswer]
    fine: bool = Field(description="Si quelque chose de plus fin que le jour se lit en ce moment")
    fine_until: datetime | None = Field(description=FINE_TEXT)
    terms: TermsAnswer
    deletes: LossAnswer = Field(description="Ce que la classe 2 effacerait, ou effacera au prochain passage")


class ProposalAnswer(answer_of(Proposal)):
    """Un actif, ou un flux d'un capteur sans actif, qui serait de classe 2 s'il était nouveau."""

    deletes: LossAnswer


class NewConfirmation(Body):
    """La classe de ce qui était là ; `confirm` absent ou false : ce qui serait effacé, et rien ne change."""

    model_config = example({"asset_ids": [42], "privacy_class": 2, "confirm": False})

    asset_ids: list[IdRef] = Field(default_factory=list[int], max_length=MOST_CONFIRMED)
    datastream_ids: list[IdRef] = Field(default_factory=list[int], max_length=MOST_CONFIRMED)
    privacy_class: int = Field(
        ge=0, le=2, description="2 : donnée personnelle ; 0 ou 1 : ce n'est pas le compteur d'un foyer"
    )
    confirm: bool = Field(False, description="true : j'ai lu ce qui sera effacé")

    @model_validator(mode="after")
    def _names_something(self) -> Self:
        if not self.asset_ids and not self.datastream_ids:
            raise PydanticCustomError("subjects", "asset_ids ou datastream_ids attendu")
        return self

    @property
    def subjects(self) -> list[Subject]:
        """Each once."""
        assets = [Subject(asset_id=id_) for id_ in sorted(set(self.asset_ids))]
        return assets + [Subject(datastream_id=id_) for id_ in sorted(set(self.datastream_ids))]


class ConfirmedAnswer(Answer):
    """Ce que la classe 2 efface d'un actif et de ce qui en dépend, ou d'un flux."""

    asset_id: int | None
    datastream_id: int | None
    privacy_class: int
    deletes: LossAnswer


class ConfirmationAnswer(Answer):
    """Ce qui est confirmé, ou le serait."""

    confirmed: bool
    items: list[ConfirmedAnswer]


class DwellingDayAnswer(answer_of(DwellingDay)):
    """Un jour local des logements d'une commune ; d'un index, ce que chaque logement a consommé en moyenne."""

    dwellings: int = Field(description="Combien de logements y sont : dix au moins", examples=[14])


CONSENTS = Resource("consent", "consentement", privacy.read_consent, ConsentAnswer.model_validate)


async def _own(connection: Connection, tenant_id: int, subject: Subject) -> int:
    """The class of what is the caller's own; 404, or 403 when it is visible only."""
    name = f"actif {subject.id}" if subject.asset_id is not None else f"flux {subject.id}"
    found = await privacy.read_class(connection, subject)
    if found is None:
        raise not_found(name)
    owner, privacy_class = found
    if owner != tenant_id:
        raise read_only(name)
    return privacy_class


async def _shown(connection: Connection, tenant_id: int, subject: Subject) -> PrivacyAnswer:
    privacy_class = await _own(connection, tenant_id, subject)
    processing = await privacy.read_processing(connection, subject)
    fine_until, never = await privacy.read_fine_until(connection, subject)
    return PrivacyAnswer(
        privacy_class=privacy_class,
        processing=None if processing is None else ProcessingAnswer.model_validate(processing),
        consents=[ConsentAnswer.model_validate(one) for one in await privacy.read_consents(connection, subject)],
        fine=not never and (fine_until is None or fine_until > datetime.now(UTC)),
        fine_until=fine_until,
        terms=TermsAnswer.model_validate(await privacy.read_terms(connection)),
        deletes=LossAnswer.model_validate(await privacy.count_loss(connection, subject)),
    )


async def _state(change: Change, subject: Subject, body: NewProcessing) -> PrivacyAnswer:
    await _own(change.connection, change.tenant_id, subject)
    former = await privacy.read_processing(change.connection, subject)
    stated = await privacy.state_processing(
        change.connection, change.tenant_id, subject, change.actor, body.model_dump()
    )
    is_own = former is not None and former.id == stated.id  # Not of what it hangs on.
    before = ProcessingAnswer.model_validate(former) if is_own else None
    after = ProcessingAnswer.model_validate(stated)
    await change.audit("update", "processing", stated.id, before=before, after=after)
    return await _shown(change.connection, change.tenant_id, subject)


async def _consent(change: Change, subject: Subject, body: NewConsent) -> ConsentAnswer:
    now = datetime.now(UTC)
    if body.given_at > now + AHEAD:
        raise invalid("given_at", "range", "un consentement à venir ne vaut pas encore")
    if body.until is not None and body.until <= body.given_at:
        raise invalid("until", "range", "« until » doit suivre « given_at »")
    await _own(change.connection, change.tenant_id, subject)
    made = await privacy.create_consent(
        change.connection, change.tenant_id, subject, change.actor, body.model_dump()
    )
    shown = CONSENTS.show(made)
    await change.audit("create", "consent", made.id, after=shown)
    return shown


@router.get("/assets/{id}/privacy", summary="Lire finalité, base, consentements et durées d'un actif")
async def read_asset_privacy(id: Id, caller: Manager) -> PrivacyAnswer:
    """Ce qui vaut pour l'actif, de lui-même ou de ce dont il dépend."""
    async with caller.reading() as connection:
        return await _shown(connection, caller.principal.tenant_id, Subject(asset_id=id))


@router.put(
    "/assets/{id}/privacy", operation_id="setAssetPrivacy", summary="Dire finalité, base et durées d'un actif"
)
async def state_asset_privacy(id: Id, body: NewProcessing, caller: Manager) -> PrivacyAnswer:
    """Dire finalité, base et durées d'un actif et de ce qui en dépend ; vaut aussitôt."""
    async with caller.changing() as change:
        return await _state(change, Subject(asset_id=id), body)


@router.post("/assets/{id}/consents", status_code=201, summary="Noter un consentement pour un actif")
async def create_asset_consent(id: Id, body: NewConsent, caller: Manager) -> ConsentAnswer:
    """Noter un consentement, pour un logement et ce qui en dépend."""
    async with caller.changing() as change:
        return await _consent(change, Subject(asset_id=id), body)


@router.get("/datastreams/{id}/privacy", summary="Lire finalité, base, consentements et durées d'un flux")
async def read_datastream_privacy(id: Id, caller: Manager) -> PrivacyAnswer:
    """Ce qui vaut pour le flux, de lui-même ou de son actif."""
    async with caller.reading() as connection:
        return await _shown(connection, caller.principal.tenant_id, Subject(datastream_id=id))


@router.put(
    "/datastreams/{id}/privacy",
    operation_id="setDatastreamPrivacy",
    summary="Dire finalité, base et durées d'un flux",
)
async def state_datastream_privacy(id: Id, body: NewProcessing, caller: Manager) -> PrivacyAnswer:
    """Dire finalité, base et durées d'un flux, à la place de celles de son actif."""
    async with caller.changing() as change:
        return await _state(change, Subject(datastream_id=id), body)


@router.post("/datastreams/{id}/consents", status_code=201, summary="Noter un consentement pour un flux")
async def create_datastream_consent(id: Id, body: NewConsent, caller: Manager) -> ConsentAnswer:
    """Noter un consentement, pour un flux : la courbe de charge d'un Linky, par exemple."""
    async with caller.changing() as change:
        return await _consent(change, Subject(datastream_id=id), body)


@router.post("/consents/{id}/end", summary="Noter le retrait d'un consentement")
async def end_consent(id: Id, caller: Manager) -> ConsentAnswer:
    """Retirer un consentement : plus rien de plus fin que le jour ne se lit, et s'efface une fois le jour fini."""
    async with caller.changing() as change:
        former = await CONSENTS.get(change.connection, id)
        ended = await privacy.end_consent(change.connection, id, change.actor)
        if ended is None:
            raise Problem(409, f"le consentement {id} a été retiré le {former.ended_at:%d/%m/%Y}")
        shown = CONSENTS.show(ended)
        await change.audit("end", "consent", id, before=CONSENTS.show(former), after=shown)
        return shown


@router.get(
    "/privacy/unconfirmed",
    operation_id="listUnconfirmedAssets",
    summary="Lister ce qui serait de classe 2 s'il était nouveau",
)
async def list_unconfirmed(caller: Manager) -> Page[ProposalAnswer]:
    """Logements et compteurs d'avant, cent au plus, et ce que la classe 2 en effacerait ; rien ne change."""
    items: list[ProposalAnswer] = []
    async with caller.reading() as connection:
        for proposal in await privacy.list_proposals(connection, MOST_PROPOSALS):
            subject = Subject(proposal.asset_id, proposal.datastream_id)
            deletes = LossAnswer.model_validate(await privacy.count_loss(connection, subject))
            shown = {name: getattr(proposal, name) for name in ProposalAnswer.model_fields if name != "deletes"}
            items.append(ProposalAnswer(**shown, deletes=deletes))
    return Page(items=items, next=None)


@router.post(
    "/privacy/confirmations",
    operation_id="confirmPrivacyClasses",
    summary="Confirmer la classe d'actifs et de flux",
)
async def confirm_classes(body: NewConfirmation, caller: Manager) -> ConfirmationAnswer:
    """Confirmer la classe de ce qui était là : sans `confirm`, dit ce qui serait effacé, et rien ne change."""
    items: list[ConfirmedAnswer] = []
    async with caller.changing() as change:
        for subject in body.subjects:
            former = await _own(change.connection, change.tenant_id, subject)
            if body.privacy_class < PERSONAL and subject.asset_id is not None:
                await _check_less(change.connection, subject.asset_id)
            deletes = LossAnswer.model_validate(await privacy.count_loss(change.connection, subject))
            if body.confirm:
                if not await privacy.confirm_class(change.connection, subject, body.privacy_class):
                    raise not_found(f"{subject.column} {subject.id}")
                stated = {"privacy_class": body.privacy_class}
                noted = stated | {"deletes": deletes.model_dump(mode="json")}
                entity, before = (
                    "asset" if subject.asset_id is not None else "datastream",
                    {"privacy_class": former},
                )
                await change.audit("confirm_class", entity, subject.id, noted, before=before, after=stated)
            items.append(
                ConfirmedAnswer(
                    asset_id=subject.asset_id,
                    datastream_id=subject.datastream_id,
                    privacy_class=body.privacy_class,
                    deletes=deletes,
                )
            )
    return ConfirmationAnswer(confirmed=body.confirm, items=items)


async def _check_less(connection: Connection, asset_id: int) -> None:
    if not await privacy.may_be_less(connection, asset_id):
        raise invalid("privacy_class", "dwelling", f"l'actif {asset_id} est d'un logement : il est de classe 2")


@router.get("/dwelling-days", summary="Lister les jours de dix logements au moins")
async def list_dwelling_days(
    caller: Reader,
    quantity: Annotated[
        str, Query(max_length=63, pattern=PRINTABLE, description="Grandeur", examples=["water_volume"])
    ],
    since: Annotated[Day, Query(alias="from", description="Premier jour", examples=["2026-10-01"])],
    until: Annotated[
        Day | None, Query(alias="to", description="Dernier jour, non compris ; absent : aujourd'hui")
    ] = None,
    commune: Annotated[
        str | None, Query(max_length=200, pattern=PRINTABLE, description="Nom de la commune")
    ] = None,
) -> Page[DwellingDayAnswer]:
    """La moyenne de chaque jour par commune, de dix logements au moins, faite une fois, trois jours après."""
    end = until or datetime.now(UTC).date()
    if not since < end or (end - since).days > LONGEST_DAYS:
        raise Problem(422, f"« from » avant « to », et {LONGEST_DAYS} jours au plus")
    async with caller.reading() as connection:
        days = await privacy.list_dwelling_days(connection, quantity, since, end, commune, MOST_DAYS)
    return Page(items=[DwellingDayAnswer.model_validate(day) for day in days], next=None)
