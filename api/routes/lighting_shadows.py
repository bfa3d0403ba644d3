"""What cabinets' clocks should hold, and what they have reported."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from api.auth import LightingOperator, Reader
from api.fields import Answer, Id, answer_of
from api.impersonation import as_owner
from api.pages import Page, Paged, page_of
from api.routes.assets import ASSETS
from core.runtime.http.errors import PROBLEM_RESPONSES, Problem
from lighting import shadow_list as store
from lighting.program_sending import RejectedProgram, send_program

router = APIRouter(prefix="/v1/lighting", tags=["lighting"], responses=PROBLEM_RESPONSES)

Drifts = Annotated[bool | None, Query(description="Vrai : celles dont l'horloge ne tient pas le programme prévu")]
Commune = Annotated[str | None, Query(max_length=200, description="D'une commune", examples=["Brest"])]
HoldsProgram = Annotated[
    bool | None,
    Query(description="Vrai : celles qui gardent un programme ; faux : qui dépendent de la plateforme"),
]


class LightingShadowAnswer(answer_of(store.Shadow, {"id"})):
    """Une armoire ou un circuit : ce que son horloge doit tenir, et ce qu'elle dit tenir."""

    holds_program: bool = Field(description="Faux : pas d'horloge, son éclairage dépend de la plateforme")
    desired_version_id: int | None = Field(description="Null : aucun programme, du coucher au lever du soleil")
    desired_hash: str | None = Field(description="Null : rien ne peut être comparé", examples=["e352aa1e"])
    losses: list[str] = Field(description="Ce que l'appareil ne tient pas du programme")
    reported_hash: str | None = Field(examples=["e352aa1e"])
    clock_offset_s: float | None = Field(description="Avance de l'horloge à son dernier état", examples=[2.0])
    drifts: bool = Field(description="Elle tient autre chose que prévu")


def _show(shadow: store.Shadow) -> LightingShadowAnswer:
    return LightingShadowAnswer.model_validate(asdict(shadow))


@router.get("/shadows", operation_id="listLightingShadows", summary="Lister ce que tiennent les horloges")
async def list_shadows(
    caller: Reader,
    paging: Paged,
    drifts: Drifts = None,
    commune: Commune = None,
    holds_program: HoldsProgram = None,
) -> Page[LightingShadowAnswer]:
    """Les armoires et circuits qu'un appareil commute, dans l'ordre de leur numéro ; à jour à une minute près."""
    async with caller.reading() as connection:
        found = await store.list_shadows(
            connection,
            after=paging.after,
            most=paging.most,
            drifts=drifts,
            commune=commune,
            holds_program=holds_program,
        )
    return page_of(found, paging.limit, _show)


class SentProgramAnswer(Answer):
    """Le message qui porte le programme. L'horloge le prouve à son prochain état, par l'empreinte."""

    asset_id: int
    downlink_id: int
    program_hash: str = Field(description="Ce que l'horloge dira tenir", examples=["e352aa1e"])
    not_after: datetime = Field(description="Le message n'est plus émis après")


@router.post(
    "/shadows/{id}/program", status_code=201, summary="Envoyer à une horloge le programme qu'elle doit tenir"
)
async def send_clock_program(id: Id, caller: LightingOperator) -> SentProgramAnswer:
    """À une horloge en écart ; 409 si l'armoire dépend de la plateforme, ou si rien n'est en écart."""
    async with caller.changing() as change:
        asset = await ASSETS.get(change.connection, id)
        async with as_owner(change, asset.tenant_id, asset.id, f"actif {asset.id}") as acting:
            try:
                sent = await send_program(acting.connection, id, datetime.now(UTC))
            except RejectedProgram as refused:
                raise Problem(409, str(refused)) from None
            after = {"asset_id": id, "program_hash": sent.program_hash}
            await acting.audit("create", "downlink", sent.downlink.id, after=after)
        if acting is not change:
            await change.audit("create", "downlink", sent.downlink.id, after=after)
    await caller.platform.nudge_downlink(sent.downlink.slot, sent.device_id)
    return SentProgramAnswer(
        asset_id=id,
        downlink_id=sent.downlink.id,
        program_hash=sent.program_hash,
        not_after=sent.not_after,
    )
