"""Dwellings and people as data subjects: what concerns them is exported, and erased with a receipt."""

from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from typing import Annotated, Literal, cast

from fastapi import APIRouter, Path, Query
from fastapi.responses import StreamingResponse
from pydantic import Field

from api.auth import Caller, Change, Manager, ProvenManager, caller_transaction
from api.fields import INT4_MOST, Answer, Body, Id, Name, Remark, Search, Slug, answer_of, example
from api.pages import Page, Paged, bad_cursor, page_of
from api.resources import Resource
from api.subject_export import export_zip
from core.model.rights import rights_of
from core.runtime.http.errors import PROBLEM_RESPONSES, Problem, not_found
from core.runtime.postgres import Connection, UniqueViolationError
from registry import data_subjects, erasures, people, tenants
from registry.data_subjects import Scope, Subject
from registry.entering import act_as_operator, enter_as_operator, enter_home
from registry.erasures import Erasure
from registry.personal_data import exports

router = APIRouter(prefix="/v1", tags=["data-subjects"], responses=PROBLEM_RESPONSES)

Kind = Literal["asset", "device", "person", "contact"]
KIND_TEXT = (
    "`asset` un logement ou un autre actif, `device` un capteur, `person` un compte, `contact` d'une équipe"
)
SubjectId = Annotated[
    str,
    Path(
        pattern=r"^(asset|device|person|contact)-[1-9]\d{0,9}$",
        description="Sorte et identifiant, comme `id` dans la liste",
        examples=["asset-42"],
    ),
]
TenantQuery = Annotated[
    Slug | None, Query(description="D'une collectivité, quand on exploite le réseau ; absente : la sienne")
]
REFUSALS = {
    "unknown": "la personne, le logement ou le capteur n'existe plus dans cette collectivité",
    "of_others": "cette personne travaille aussi pour une autre collectivité : c'est à l'exploitant du réseau",
}

ABOVE = "cette personne a plus de droits que vous"
OF_THE_OPERATOR = "seul l'exploitant du réseau efface un actif ou un capteur qui n'est pas d'un logement"


class SubjectAnswer(Answer):
    """Quelqu'un, ou quelque chose, que des données concernent."""

    id: str = Field(examples=["asset-42"])
    kind: Kind = Field(description=KIND_TEXT)
    label: str = Field(examples=["Logement 12"])
    detail: str = Field(description="Rue, DevEUI, adresse de courrier ou équipe")

    @classmethod
    def of(cls, subject: Subject) -> "SubjectAnswer":
        """As it is shown."""
        return cls(
            id=f"{subject.kind}-{subject.id}",
            kind=cast(Kind, subject.kind),
            label=subject.label,
            detail=subject.detail,
        )


class SubjectPreview(Answer):
    """Ce qui concerne une personne ou un logement, et ce qu'un effacement prendrait."""

    id: str
    kind: Kind
    label: str = Field(description="À redonner dans `confirm` pour effacer")
    asset_ids: list[int] = Field(description="L'actif, et ce qui en dépend quand c'est un logement")
    device_ids: list[int] = Field(description="Les capteurs qui n'ont servi que là")
    shared_device_ids: list[int] = Field(
        description="Ceux qui ont servi aussi ailleurs : seules leurs périodes ici sont effacées, ils restent"
    )
    contact_ids: list[int]
    rows: dict[str, int] = Field(description="Lignes de chaque table de l'export")
    may_erase: bool = Field(description="Si vous en avez le droit")


class NewErasure(Body):
    """Un effacement définitif ; la collectivité efface ses logements et ses personnes, l'exploitant le reste."""

    model_config = example({"reason": "Demande de l'occupant du 2026-11-25", "confirm": "Logement 12"})

    reason: Remark = Field(description="Pourquoi ; gardé dans le reçu et l'audit : n'y nommez personne")
    confirm: Name = Field(description="Le nom de ce qui est effacé, `label` de l'aperçu")


class ErasureAnswer(answer_of(Erasure, {"receipt_sha256", "subject_id", "tenant_id", "refusal"})):
    """Un effacement et où il en est ; une fois `done`, c'est son reçu."""

    kind: Kind
    subject: str = Field(examples=["asset-42"])
    state: Literal["waiting", "running", "settling", "done", "refused"] = Field(
        description="`settling` : vidé, ce qui était en route est encore attendu"
    )
    refusal: str | None
    erased: int = Field(description="Lignes effacées jusqu'ici")
    counts: dict[str, int] = Field(description="Lignes effacées de chaque table")
    subjects: int = Field(description="Actifs, capteurs, personnes et contacts effacés")
    sha256: str | None = Field(description="Empreinte du reçu")

    @classmethod
    def of(cls, erasure: Erasure) -> "ErasureAnswer":
        """As it is shown."""
        receipt = {
            **erasures.receipt_of(erasure),
            "id": erasure.id,
            "state": erasure.state,
            "started_at": erasure.started_at,
            "subject": f"{erasure.kind}-{erasure.subject_id}",
            "refusal": None if erasure.refusal is None else REFUSALS[erasure.refusal],
        }
        return cls.model_validate(receipt)


ERASURES = Resource("erasure", "effacement", erasures.read_erasure, ErasureAnswer.of)


def _parts(subject: str) -> tuple[str, int]:
    kind, _, number = subject.partition("-")
    if int(number) > INT4_MOST:
        raise not_found(subject)
    return kind, int(number)


async def _enter(caller: Caller, connection: Connection, slug: str | None) -> None:
    """The tenant that the operator of the network names."""
    if slug is None or slug == caller.principal.tenant_slug:
        return
    caller.demand("operate")
    await act_as_operator(connection)
    tenant = await tenants.find_tenant(connection, slug)
    if tenant is None:
        raise not_found(f"collectivité {slug}")
    await enter_as_operator(connection, tenant.id)


async def _find(caller: Caller, connection: Connection, subject: str) -> tuple[str, Scope]:
    """Its name and what it consists of, or 404."""
    kind, number = _parts(subject)
    if kind == "person":
        caller.demand("people")
    label = await data_subjects.read_label(connection, kind, number)
    if label is None:
        raise not_found(subject)
    return label, await data_subjects.read_scope(connection, kind, number)


async def _may_erase(caller: Caller, connection: Connection, kind: str, number: int, scope: Scope) -> bool:
    if caller.has("operate"):
        return True
    if kind == "person":
        member = await people.find_member(connection, number)
        # Nobody removes somebody who may more.
        return scope.refusal is None and member is not None and rights_of(member.role) <= caller.principal.rights
    return kind == "contact" or (kind == "asset" and await data_subjects.is_personal(connection, scope))


def _after(cursor: str | None) -> tuple[str, int]:
    if cursor is None:
        return "", 0
    kind, _, number = cursor.partition("-")
    if kind not in data_subjects.KINDS or not (number.isascii() and number.isdigit() and int(number) <= INT4_MOST):
        raise bad_cursor()
    return kind, int(number)


@router.get("/data-subjects", operation_id="listDataSubjects", summary="Chercher une personne ou un logement")
async def list_subjects(
    caller: Manager,
    paging: Paged,
    q: Annotated[Search, Query(description="Cherche dans le nom, la rue, le DevEUI, le courrier")] = None,
    kind: Annotated[Kind | None, Query(description=KIND_TEXT)] = None,
    tenant: TenantQuery = None,
) -> Page[SubjectAnswer]:
    """Les logements, personnes et contacts de la collectivité ; avec `q` ou `kind` aussi actifs et capteurs.

    Cette lecture est consignée.
    """
    async with caller.changing() as change:
        await change.audit("list", "data_subject", kind or "all", {"tenant": tenant or change.tenant_slug})
        await _enter(caller, change.connection, tenant)
        found = await data_subjects.list_subjects(
            change.connection,
            search=q,
            kind=kind,
            with_people=caller.has("people"),
            after=_after(paging.cursor),
            most=paging.most,
        )
    return page_of(found, paging.limit, SubjectAnswer.of, lambda one: f"{one.kind}-{one.id}")


@router.get(
    "/data-subjects/{id}",
    operation_id="getDataSubject",
    summary="Voir ce qui concerne une personne ou un logement",
)
async def preview(id: SubjectId, caller: Manager, tenant: TenantQuery = None) -> SubjectPreview:
    """Ce qu'un export donnerait et ce qu'un effacement prendrait, compté. Cette lecture est consignée."""
    kind, number = _parts(id)
    async with caller.changing() as change:
        await _record(change, "preview", id, tenant)
        await _enter(caller, change.connection, tenant)
        label, scope = await _find(caller, change.connection, id)
        rows = {
            name: await data_subjects.count_rows(change.connection, scope, export) for name, export in exports()
        }
        may_erase = await _may_erase(caller, change.connection, kind, number, scope)
    return SubjectPreview(
        id=id,
        kind=cast(Kind, kind),
        label=label,
        asset_ids=list(scope.asset_ids),
        device_ids=list(scope.device_ids),
        shared_device_ids=sorted({one for one in scope.span_device_ids if one is not None}),
        contact_ids=list(scope.contact_ids),
        rows={name: count for name, count in rows.items() if count},
        may_erase=may_erase,
    )


async def _record(
    change: Change, action: str, subject: str, tenant: str | None, after: ErasureAnswer | None = None
) -> None:
    await change.audit(action, "data_subject", subject, {"tenant": tenant or change.tenant_slug}, after=after)


@router.get(
    "/data-subjects/{id}/export",
    operation_id="exportDataSubject",
    summary="Exporter ce qui concerne une personne ou un logement",
    response_class=StreamingResponse,
    responses={200: {"content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}}}},
)
async def export_subject(id: SubjectId, caller: ProvenManager, tenant: TenantQuery = None) -> StreamingResponse:
    """Un fichier zip : chaque table en JSON et en CSV, sans clés ni secrets. La lecture est consignée."""
    async with caller.changing() as change:
        await _record(change, "export", id, tenant)
        await _enter(caller, change.connection, tenant)
        _, scope = await _find(caller, change.connection, id)

    async def parts() -> AsyncGenerator[bytes]:
        async with caller_transaction(caller.platform.pool, caller.principal) as connection:
            await _enter(caller, connection, tenant)
            async for part in export_zip(connection, scope):
                yield part

    name = f"territoire-{id}-{datetime.now(UTC):%Y-%m-%d}.zip"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(parts(), media_type="application/zip", headers=headers)


@router.post(
    "/data-subjects/{id}/erasure",
    operation_id="eraseDataSubject",
    status_code=202,
    summary="Effacer une personne ou un logement",
)
async def erase_subject(
    id: SubjectId, body: NewErasure, caller: ProvenManager, tenant: TenantQuery = None
) -> ErasureAnswer:
    """Effacer tout ce qui concerne une personne ou un logement, pour toujours ; suivez `GET /v1/erasures/{id}`.

    Une collectivité efface ses logements (et les actifs de classe 2), ses contacts et ses personnes ; d'un autre
    actif, d'un capteur, ou d'une personne qui travaille aussi pour d'autres, c'est à l'exploitant du réseau. Un
    registre à côté des sauvegardes en garde une empreinte : une restauration efface à nouveau.
    """
    kind, number = _parts(id)
    async with caller.changing() as change:
        await _enter(caller, change.connection, tenant)
        label, scope = await _find(caller, change.connection, id)
        if scope.refusal == "of_others" and not caller.has("operate"):
            raise Problem(403, REFUSALS["of_others"])
        if not await _may_erase(caller, change.connection, kind, number, scope):
            raise Problem(
                403, "seul l'exploitant du réseau efface un actif ou un capteur qui n'est pas d'un logement"
            )
        if caller.principal.person_id == number and kind == "person":
            raise Problem(422, "nul n'efface son propre compte : demandez-le à quelqu'un d'autre")
        if body.confirm != label:
            raise Problem(422, f"« confirm » doit être le nom de ce qui est effacé : {label}")
        owner = await tenants.current_tenant(change.connection)
        try:
            async with change.connection.transaction():
                made = await erasures.request_erasure(
                    change.connection,
                    owner,
                    kind,
                    number,
                    body.reason,
                    change.audit_actor,
                    by_operator=caller.has("operate"),
                )
        except UniqueViolationError:
            raise Problem(409, f"un effacement de {id} est déjà en cours") from None
        if owner != change.tenant_id:
            await enter_home(change.connection)
        shown = ErasureAnswer.of(made)
        await _record(change, "erase", id, tenant, shown)
    return shown


@router.get("/erasures", summary="Lister les effacements")
async def list_erasures(caller: Manager, paging: Paged, tenant: TenantQuery = None) -> Page[ErasureAnswer]:
    """Les effacements de la collectivité et leurs reçus, le dernier d'abord."""
    async with caller.reading_alone() as connection:
        await _enter(caller, connection, tenant)
        found = await erasures.list_erasures(connection, before=paging.before, most=paging.most)
    return page_of(found, paging.limit, ErasureAnswer.of)


@router.get("/erasures/{id}", summary="Lire un effacement")
async def read_erasure(id: Id, caller: Manager, tenant: TenantQuery = None) -> ErasureAnswer:
    """Où en est un effacement ; à sa fin, son reçu : des comptes, des dates, une empreinte, aucun nom."""
    async with caller.reading_alone() as connection:
        await _enter(caller, connection, tenant)
        return ErasureAnswer.of(await ERASURES.get(connection, id))
