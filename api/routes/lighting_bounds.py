"""Between which bounds the members of a syndicat decide alone, and what the law says of the hours of lamps."""

import asyncio
import csv
import io
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response
from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from api.auth import Manager, Reader
from api.extent import Commune
from api.fields import Answer, Body, Id, Label, answer_of, example
from api.pages import Page, Paged, page_of
from api.routes.assets import ASSETS
from api.routes.audit import cell_of
from core.model.hours import MINUTES, MalformedHours, minute_of
from core.model.lighting import LampPlace, Program, expected
from core.runtime.http.errors import PROBLEM_RESPONSES, not_found
from core.runtime.postgres import Connection
from lighting import program_store as store
from lighting.expected import read_lamps
from lighting.legal_hours import CATEGORIES, Finding, judge
from lighting.programs import Bounds, next_change, time_text

router = APIRouter(prefix="/v1/lighting", tags=["lighting"], responses=PROBLEM_RESPONSES)

TEXT_OF_LAW = "JORFTEXT000037864346"
NOTE = (
    "Ce rapport aide à relire l'arrêté du 27 décembre 2018 (JORFTEXT000037864346) et ne bloque rien ; le texte "
    "fait foi. L'éclairage public de la voirie n'a aucune heure légale d'extinction : la coupure de nuit est une "
    "décision de la commune."
)


def _hour(text: str) -> str:
    try:
        return time_text(minute_of(text) % MINUTES)
    except MalformedHours as wrong:
        raise PydanticCustomError("hour", "{why}", {"why": str(wrong)}) from None


Hour = Annotated[str, AfterValidator(_hour), Field(examples=["23:30"])]


class BoundsBody(Body):
    """Entre quelles bornes un membre décide seul ; une borne absente ne le limite pas."""

    model_config = example({"earliest_cut": "23:00", "latest_return": "05:30", "least_level": 30})

    earliest_cut: Hour | None = Field(None, description="Pas d'extinction plus tôt dans la nuit")
    latest_return: Hour | None = Field(None, description="Pas de rallumage plus tard")
    least_level: int | None = Field(None, ge=1, le=100, description="Pas moins de lumière, en pour cent")
    protected_tags: list[Label] = Field(
        [], max_length=50, description="Les armoires de ces étiquettes ne s'éteignent pas la nuit"
    )


class BoundsAnswer(answer_of(store.StoredBounds, {"tenant_id"})):
    """Les bornes d'un membre."""

    earliest_cut: str | None = Field(examples=["23:00"])
    latest_return: str | None = Field(examples=["05:30"])


def _show(stored: store.StoredBounds) -> BoundsAnswer:
    shown: dict[str, Any] = {name: getattr(stored, name) for name in BoundsAnswer.model_fields}
    for name in ("earliest_cut", "latest_return"):
        shown[name] = None if shown[name] is None else time_text(shown[name])
    return BoundsAnswer(**shown)


@router.get("/bounds", operation_id="listLightingBounds", summary="Lister les bornes de l'éclairage")
async def list_bounds(caller: Reader) -> Page[BoundsAnswer]:
    """Celles qu'un syndicat a fixées à ses membres, et celles qui sont fixées à qui les lit."""
    async with caller.reading() as connection:
        found = await store.list_bounds(connection)
    return Page(items=[_show(one) for one in found], next=None)


@router.get("/bounds/{id}", operation_id="getLightingBounds", summary="Lire les bornes d'un membre")
async def read_bounds(id: Id, caller: Reader) -> BoundsAnswer:
    """Celles que l'on a fixées à un membre ; 404 : aucune."""
    async with caller.reading() as connection:
        found = await _own(connection, caller.principal.tenant_id, id)
    if found is None:
        raise not_found(f"bornes du membre {id}")
    return found


@router.put("/bounds/{id}", operation_id="setLightingBounds", summary="Fixer les bornes d'un membre")
async def set_bounds(id: Id, body: BoundsBody, caller: Manager) -> BoundsAnswer:
    """Fixer entre quelles bornes un membre (`id`, sa collectivité) décide seul de son éclairage.

    Elles valent pour ses prochaines affectations ; ce qui est affecté le reste.
    """
    async with caller.changing() as change:
        if id not in {member for member, _ in await store.list_members(change.connection, change.tenant_id)}:
            raise not_found(f"membre {id}")
        before = await _own(change.connection, change.tenant_id, id)
        bounds = Bounds(
            "",
            None if body.earliest_cut is None else minute_of(body.earliest_cut),
            None if body.latest_return is None else minute_of(body.latest_return),
            body.least_level,
            tuple(body.protected_tags),
        )
        await store.set_bounds(change.connection, change.tenant_id, id, bounds, change.actor)
        after = await _own(change.connection, change.tenant_id, id)
        assert after is not None  # noqa: S101 - It was written in this transaction.
        await change.audit("update", "lighting_bounds", id, before=before, after=after)
    return after


@router.delete(
    "/bounds/{id}", operation_id="removeLightingBounds", status_code=204, summary="Lever les bornes d'un membre"
)
async def remove_bounds(id: Id, caller: Manager) -> Response:
    """Lever les bornes que l'on avait fixées à un membre."""
    async with caller.changing() as change:
        before = await _own(change.connection, change.tenant_id, id)
        if before is None or not await store.remove_bounds(change.connection, change.tenant_id, id):
            raise not_found(f"bornes du membre {id}")
        await change.audit("delete", "lighting_bounds", id, before=before)
    return Response(status_code=204)


async def _own(connection: Connection, tenant_id: int, member: int) -> BoundsAnswer | None:
    found = await store.list_bounds(connection, member)
    return next((_show(one) for one in found if one.tenant_id == tenant_id), None)


class NextChange(Answer):
    """Ce que feront les lampes ensuite."""

    at: datetime
    level: float = Field(description="En pour cent ; 0 : éteintes")


class CabinetProgram(Answer):
    """Le programme d'une armoire ou d'un circuit, et ce que ses lampes doivent faire maintenant."""

    program_id: int | None = Field(description="Null : aucun, du coucher au lever du soleil")
    program_name: str | None
    version: int | None
    is_own: bool = Field(description="Affecté à lui-même ; sinon à ce qui est au-dessus")
    protected: bool = Field(description="Ne s'éteint jamais la nuit, quel que soit son programme")
    level: float | None = Field(
        description="En pour cent, 0 : éteintes ; null : autour d'un changement, ou sans lieu"
    )
    power_w: float | None
    next_change: NextChange | None


@router.get("/cabinets/{id}/program", summary="Lire le programme d'une armoire")
async def read_cabinet_program(id: Id, caller: Reader) -> CabinetProgram:
    """Le programme que suit une armoire ou un circuit, ce qu'il dit maintenant et au prochain changement."""
    now = datetime.now(UTC)
    async with caller.reading() as connection:
        asset = await ASSETS.get(connection, id)
        in_force = await store.read_in_force(connection, id)
        row = (await read_lamps(connection, [id]))[id]
    lamps = row.lamps
    wanted = expected(lamps.program, row.place, now)
    following = next_change(lamps.program, row.place, now)
    watts = None if wanted is None or lamps.rated_power_w is None else wanted.power_ratio * lamps.rated_power_w
    return CabinetProgram(
        program_id=None if in_force is None else in_force.program_id,
        program_name=None if in_force is None else in_force.program_name,
        version=None if in_force is None else in_force.version,
        is_own=in_force is not None and in_force.is_own,
        protected=asset.attributes.get("protected") is True,
        level=None if wanted is None else wanted.level,
        power_w=watts,
        next_change=None if following is None else NextChange(at=following[0], level=following[1]),
    )


class LegalHoursLine(Answer):
    """Une armoire face aux heures légales de sa catégorie."""

    asset_id: int
    name: str
    commune: str
    category: str = Field(description="De a à g (attribut `legal_category`) ; absente : a, la voirie")
    category_name: str
    hours: str = Field(description="Ce que dit l'arrêté")
    verdict: str = Field(description="no_hour, held, not_held ou unknown", examples=["no_hour"])
    reason: str
    nights: int = Field(description="Combien de nuits d'une année dépassent")


class LegalHours(Page[LegalHoursLine]):
    """Le rapport, page par page."""

    text_of_law: str = Field(TEXT_OF_LAW, description="L'arrêté, au Journal officiel")
    note: str = NOTE


@router.get(
    "/reports/legal-hours",
    summary="Comparer l'éclairage aux heures légales",
    response_model=LegalHours,
    responses={200: {"content": {"text/csv": {"schema": {"type": "string"}}}}},
)
async def report_legal_hours(
    caller: Reader,
    paging: Paged,
    commune: Commune = None,
    form: Annotated[
        Literal["json", "csv"],
        Query(alias="format", description="`csv` : la suite est dans l'en-tête Next-Cursor"),
    ] = "json",
) -> LegalHours | Response:
    """Chaque armoire face à l'arrêté du 27 décembre 2018, par sa catégorie de a à g. Cela ne bloque rien.

    L'éclairage public de la voirie n'a aucune heure légale d'extinction, et le rapport le dit.
    """
    async with caller.reading() as connection:
        found = await store.list_lit(connection, commune=commune, after=paging.after, most=paging.most)
        lamps = await read_lamps(connection, [one.id for one in found])
    judged = [(one.attributes, lamps[one.id].lamps.program, lamps[one.id].place) for one in found[: paging.limit]]
    await caller.end_sharing()
    findings = await asyncio.to_thread(_judge_all, judged)
    lines = [
        LegalHoursLine(
            asset_id=one.id,
            name=one.name,
            commune=one.commune,
            category=finding.category,
            category_name=CATEGORIES[finding.category].name,
            hours=CATEGORIES[finding.category].hours,
            verdict=finding.verdict,
            reason=finding.reason,
            nights=finding.nights,
        )
        for one, finding in zip(found, findings, strict=False)
    ]
    following = page_of(found, paging.limit, lambda one: one).next
    return (
        _as_csv(lines, following)
        if form == "csv"
        else LegalHours(items=lines, next=following, text_of_law=TEXT_OF_LAW)
    )


def _judge_all(wanted: list[tuple[dict[str, Any], Program, LampPlace]]) -> list[Finding]:
    first = datetime.now(UTC).date()
    return [judge(attributes, program, place, first) for attributes, program, place in wanted]


def _as_csv(lines: list[LegalHoursLine], following: str | None) -> Response:
    output = io.StringIO()
    writer = csv.writer(output)
    writer.writerow(LegalHoursLine.model_fields)
    for line in lines:
        writer.writerow([cell_of(value) for value in line.model_dump().values()])
    writer.writerow(["", NOTE])
    headers = {"Content-Disposition": 'attachment; filename="heures-legales.csv"'}
    if following is not None:
        headers["Next-Cursor"] = following
    return Response(output.getvalue(), media_type="text/csv; charset=utf-8", headers=headers)
