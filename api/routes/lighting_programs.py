"""Programs of lamps: written once and for all, version by version, simulated, and assigned to cabinets."""

import asyncio
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any, Self

from fastapi import APIRouter, Query
from pydantic import AfterValidator, Field, JsonValue, model_validator
from pydantic_core import PydanticCustomError

from api.auth import Change, Manager, Reader
from api.fields import (
    INT4_MOST,
    Answer,
    ArchivedBody,
    Body,
    Id,
    IdQuery,
    IdRef,
    Json,
    Label,
    Name,
    Text,
    answer_of,
    example,
)
from api.pages import Page, Paged, page_of
from api.resources import Resource
from api.routes.assets import ASSETS
from core.model.lighting import FROM_DUSK_TO_DAWN, LampPlace, Program
from core.model.lighting_programs import MalformedProgram, read_lamps, read_program, stored_program
from core.runtime.http.errors import PROBLEM_RESPONSES, Problem, invalid
from lighting import program_store as store
from lighting.expected import read_lamps as read_lamps_of
from lighting.programs import outside

router = APIRouter(prefix="/v1/lighting-programs", tags=["lighting"], responses=PROBLEM_RESPONSES)

KINDS = ("lighting_cabinet", "lighting_circuit")
ASSETS_MOST = 20_000
EXAMPLE: dict[str, Any] = {
    "default": {"night_cut": ["23:30", "05:00"], "dimming": [["22:00", 50], ["06:00", 100]]},
    "rules": [{"schedule": {}, "weekdays": [5, 6]}],
}
PROGRAM_TEXT = (
    "`default`, un horaire, et `rules`, des horaires sous condition, dont le premier qui convient à la nuit "
    "l'emporte ; `coefficient`, la part de leur puissance que prennent les lampes à plein feu. Un horaire : `on` "
    'et `off`, une heure ou `{"event": "sunset", "offset": -10}` en minutes, `night_cut` [début, fin], `dimming`, '
    'des couples [heure, pour cent], ou `{"lit": false}`. Une condition : `from` et `to` (12-20), `weekdays` (1 '
    "lundi à 7), `holidays` (public, school), `dates`. Une nuit est celle du jour où elle commence, à midi"
)


def _program(document: dict[str, Any]) -> dict[str, Any]:
    try:
        read_program(document)
    except MalformedProgram as wrong:
        raise PydanticCustomError("lighting_program", "{why}", {"why": str(wrong)}) from None
    return document


ProgramJson = Annotated[
    Json, AfterValidator(_program), Field(description=PROGRAM_TEXT, json_schema_extra={"examples": [EXAMPLE]})
]


class ProgramBody(Body):
    """Un programme d'éclairage. Le changer en fait une version de plus, qu'il reste à affecter."""

    model_config = example({"name": "Coupure de nuit", "program": EXAMPLE, "remark": "Délibération du 12 mars"})

    name: Name
    program: ProgramJson
    remark: Text = Field("", description="Pourquoi cette version")


class ProgramAnswer(answer_of(store.StoredProgram, {"tenant_id"})):
    """Un programme et sa dernière version."""

    program: dict[str, JsonValue] = Field(examples=[EXAMPLE])


class ListedProgramAnswer(ProgramAnswer):
    """Un programme dans la liste."""

    assets: int = Field(description="Combien d'armoires et de circuits le suivent")
    outdated: int = Field(description="Combien de ceux-là suivent une version plus ancienne")


class VersionAnswer(answer_of(store.StoredVersion)):
    """Une version d'un programme ; elle ne change plus."""

    program: dict[str, JsonValue] = Field(examples=[EXAMPLE])


PROGRAMS = Resource("lighting_program", "programme", store.read_program, ProgramAnswer.model_validate)


@router.post("", operation_id="createLightingProgram", status_code=201, summary="Créer un programme d'éclairage")
async def create_program(body: ProgramBody, caller: Manager) -> ProgramAnswer:
    """Créer un programme, avec sa première version. Il n'éclaire rien tant qu'il n'est pas affecté."""
    return await PROGRAMS.create(
        caller,
        lambda change: store.create_program(
            change.connection, change.tenant_id, body.name, body.program, body.remark, change.actor
        ),
    )


@router.get("", operation_id="listLightingPrograms", summary="Lister les programmes d'éclairage")
async def list_programs(
    caller: Reader,
    paging: Paged,
    archived: Annotated[bool, Query(description="Aussi ceux qui sont archivés")] = False,
) -> Page[ListedProgramAnswer]:
    """Les programmes, avec leur dernière version et combien d'armoires les suivent."""
    async with caller.reading() as connection:
        found = await store.list_programs(connection, after=paging.after, most=paging.most, archived=archived)
    return page_of(found, paging.limit, ListedProgramAnswer.model_validate)


class AssignmentAnswer(answer_of(store.StoredAssignment)):
    """Quelle version une armoire ou un circuit suit, ou a suivie."""


@router.get(
    "/assignments", operation_id="listLightingProgramAssignments", summary="Lister les affectations de programmes"
)
async def list_assignments(
    caller: Reader,
    paging: Paged,
    program_id: IdQuery = None,
    asset_id: IdQuery = None,
    ended: Annotated[bool, Query(description="Aussi celles qui ont pris fin")] = False,
) -> Page[AssignmentAnswer]:
    """Qui suit quoi, la dernière affectation d'abord. Ce qui n'en a pas suit ce qui est au-dessus."""
    async with caller.reading() as connection:
        found = await store.list_assignments(
            connection,
            program_id=program_id,
            asset_id=asset_id,
            ended=ended,
            before=paging.before,
            most=paging.most,
        )
    return page_of(found, paging.limit, AssignmentAnswer.model_validate)


class NewAssignment(Body):
    """À quoi affecter un programme. Une seule façon de choisir : une liste, une commune ou une étiquette, ou ce

    qui suit déjà un programme (`following_id`), pour passer à sa dernière version.
    """

    model_config = example({"program_id": 3, "commune": "Landerneau"})

    program_id: IdRef | None = Field(description="Null : chacun suit de nouveau ce qui est au-dessus de lui")
    version: int | None = Field(None, ge=1, le=INT4_MOST, description="Absente : la dernière")
    asset_ids: list[IdRef] | None = Field(None, min_length=1, max_length=ASSETS_MOST)
    commune: Name | None = Field(None, description="Les armoires de cette commune", examples=["Landerneau"])
    tag: Label | None = Field(None, description="Les armoires de cette étiquette ; avec `commune`, des deux")
    following_id: IdRef | None = Field(None, description="Ce qui suit ce programme, par une affectation à soi")
    preview: bool = Field(False, description="Dire seulement ce qui changerait")

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        by_place = self.commune is not None or self.tag is not None
        if (self.asset_ids is not None) + by_place + (self.following_id is not None) != 1:
            raise PydanticCustomError(
                "targets", "choisissez par asset_ids, par commune ou tag, ou par following_id : une seule façon"
            )
        return self


class Replaced(Answer):
    """Ce que suivaient ceux qui changent."""

    program_id: int | None = Field(description="Null : rien à eux, ils suivaient ce qui est au-dessus")
    name: str | None
    assets: int
    asset_ids: list[int] = Field(description="Pour revenir en arrière : leur affecter de nouveau ce programme")


class AssignedAnswer(Answer):
    """Ce qui a changé, ou changerait."""

    changed: int
    unchanged: int
    protected: int = Field(description="Parmi eux, des circuits protégés : ils ne s'éteignent jamais la nuit")
    replaced: list[Replaced]


@router.post("/assignments", operation_id="assignLightingProgram", summary="Affecter un programme d'éclairage")
async def assign_program(body: NewAssignment, caller: Manager) -> AssignedAnswer:
    """Affecter un programme à des armoires ou à des circuits, à la place de celui qu'ils suivaient.

    Un circuit sans programme à lui suit celui de son armoire. Pour défaire, affectez l'ancien. Hors des bornes que
    le syndicat a fixées, la demande est refusée (403) et dit laquelle.
    """
    async with caller.changing() as change:
        targets = await _targets(change, body)
        version = None
        if body.program_id is not None:
            stored = await PROGRAMS.own(change, body.program_id)
            if stored.archived_at is not None:
                raise invalid("program_id", "archived", "ce programme est archivé")
            version = await store.read_version(change.connection, body.program_id, body.version)
            if version is None:
                raise invalid("version", "unknown", f"ce programme n'a pas de version {body.version}")
        wanted = None if version is None else version.id
        program = FROM_DUSK_TO_DAWN if version is None else stored_program(version.program)
        await _require_within_bounds(change, program, targets)
        changed = [one for one in targets if one.version_id != wanted or not one.switches]
        answer = _answer(changed, len(targets))
        if not body.preview and changed:
            ids = [one.id for one in changed]
            await store.assign(change.connection, change.tenant_id, ids, wanted, change.actor)
            await change.audit(
                "assign",
                "lighting_program",
                body.program_id or "none",
                {"version": None if version is None else version.version},
                after=answer,
            )
    return answer


async def _targets(change: Change, body: NewAssignment) -> list[store.Target]:
    if body.following_id is not None:
        await PROGRAMS.own(change, body.following_id)
    found = await store.find_targets(
        change.connection,
        change.tenant_id,
        asset_ids=body.asset_ids,
        commune=body.commune,
        tag=body.tag,
        program_id=body.following_id,
    )
    if body.asset_ids is not None:
        missing = sorted(set(body.asset_ids) - {one.id for one in found})
        for id_ in missing[:1]:
            await ASSETS.own(change, id_)
            raise invalid("asset_ids", "archived", f"l'actif {id_} est archivé")
        other = next((one for one in found if one.kind not in KINDS and one.version_id is None), None)
        if other is not None:
            raise invalid("asset_ids", "kind", f"« {other.name} » n'est ni une armoire ni un circuit d'éclairage")
    if not found:
        raise Problem(422, "aucune armoire ne correspond à ce choix")
    return found


def _answer(changed: list[store.Target], total: int) -> AssignedAnswer:
    former: dict[tuple[int | None, str | None], list[int]] = {}
    for one in changed:
        former.setdefault((one.program_id, one.program_name), []).append(one.id)
    return AssignedAnswer(
        changed=len(changed),
        unchanged=total - len(changed),
        protected=sum(one.protected for one in changed),
        replaced=[
            Replaced(program_id=program_id, name=name, assets=len(ids), asset_ids=ids)
            for (program_id, name), ids in former.items()
        ],
    )


async def _require_within_bounds(change: Change, program: Program, targets: list[store.Target]) -> None:
    """Raises 403 with the bound that the program oversteps."""
    bounds = await store.bounds_of(change.connection, change.tenant_id)
    if not bounds or program == FROM_DUSK_TO_DAWN:
        return
    tags = {tag for one in bounds for tag in one.protected_tags}
    rows = await read_lamps_of(change.connection, [one.id for one in targets])
    known = {row.asset_id: row.place for row in rows.values() if row.latitude is not None}
    if not known:
        raise Problem(422, "personne ne sait où sont ces armoires : donnez la position de l'une d'elles")
    # A year is the same for neighbours: one place of those that are protected, and one of the others.
    judged: dict[bool, LampPlace] = {}
    for one in targets:
        if one.id in known:
            judged.setdefault(not tags.isdisjoint(one.tags), known[one.id])
    if any(not tags.isdisjoint(one.tags) for one in targets):
        judged.setdefault(True, next(iter(known.values())))
    first = datetime.now(UTC).date()
    for is_protected, place in judged.items():
        wrong = await asyncio.to_thread(outside, program, place, bounds, protected=is_protected, first=first)
        if wrong is not None:
            raise Problem(403, f"hors des bornes du syndicat : {wrong}")


class UnreadAnswer(answer_of(store.Unread)):
    """Ce qu'un actif disait de ses lampes avant les programmes, et que personne n'a su lire."""

    said: JsonValue = Field(description="Gardé dans l'attribut `lighting_unread`")
    why: str = Field(examples=["lighting : nigth_cut inconnu"])


@router.get(
    "/unread",
    operation_id="listUnreadLightingPrograms",
    summary="Lister les anciens réglages d'éclairage illisibles",
)
async def list_unread(caller: Reader, paging: Paged) -> Page[UnreadAnswer]:
    """Les actifs dont l'ancien attribut `lighting` n'a pas pu devenir un programme, et pourquoi.

    Affectez-leur un programme, puis retirez l'attribut `lighting_unread`.
    """
    async with caller.reading() as connection:
        found = await store.list_unread(connection, after=paging.after, most=paging.most)
    return page_of(found, paging.limit, lambda one: UnreadAnswer(**asdict(one), why=_why(one.said)))


def _why(said: object) -> str:
    try:
        read_lamps(said)
    except MalformedProgram as wrong:
        return str(wrong)
    return "à reprendre"


@router.get("/{id}", operation_id="getLightingProgram", summary="Lire un programme d'éclairage")
async def read_program_(id: Id, caller: Reader) -> ProgramAnswer:
    """Un programme et sa dernière version."""
    return await PROGRAMS.read(caller, id)


@router.put("/{id}", operation_id="replaceLightingProgram", summary="Écrire une version d'un programme")
async def replace_program(id: Id, body: ProgramBody, caller: Manager) -> ProgramAnswer:
    """Écrire la version suivante d'un programme, ou le renommer. Ce qui suivait l'ancienne la suit encore.

    Avec `If-Match`, rien n'est écrit si un autre en a écrit une entre-temps (412).
    """
    async with caller.changing() as change:
        stored = await PROGRAMS.own(change, id)
        if stored.archived_at is not None:
            raise Problem(409, "ce programme est archivé")
        changed = await store.change_program(
            change.connection, stored, body.name, body.program, body.remark, change.actor
        )
        if changed is None:
            raise PROGRAMS.missing(id)
        before, after = PROGRAMS.show(stored), PROGRAMS.show(changed)
        await change.audit("update", "lighting_program", id, before=before, after=after)
    return after


@router.put("/{id}/archived", operation_id="archiveLightingProgram", summary="Archiver un programme d'éclairage")
async def archive_program(id: Id, body: ArchivedBody, caller: Manager) -> ProgramAnswer:
    """Retirer un programme de la liste, ou l'y remettre. Celui que suit une armoire ne s'archive pas (409)."""
    async with caller.changing() as change:
        before = PROGRAMS.show(await PROGRAMS.own(change, id))
        if body.archived and await store.is_in_force(change.connection, id):
            raise Problem(409, "des armoires suivent ce programme : affectez-leur d'abord un autre")
        await store.archive_program(change.connection, id, archived=body.archived)
        after = PROGRAMS.show(await PROGRAMS.get(change.connection, id))
        action = "archive" if body.archived else "restore"
        await change.audit(action, "lighting_program", id, before=before, after=after)
    return after


@router.get(
    "/{id}/versions", operation_id="listLightingProgramVersions", summary="Lister les versions d'un programme"
)
async def list_versions(id: Id, caller: Reader, paging: Paged) -> Page[VersionAnswer]:
    """Les versions d'un programme, la dernière d'abord."""
    async with caller.reading() as connection:
        await PROGRAMS.get(connection, id)
        before = None if paging.before is None else min(paging.before, INT4_MOST)
        found = await store.list_versions(connection, id, before=before, most=paging.most)
    return page_of(found, paging.limit, VersionAnswer.model_validate, lambda one: str(one.version))
