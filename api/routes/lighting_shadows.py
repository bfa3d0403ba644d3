"""What cabinets' clocks should hold, and what they have reported."""

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from api.auth import Reader
from api.fields import answer_of
from api.pages import Page, Paged, page_of
from core.runtime.http.errors import PROBLEM_RESPONSES
from lighting import shadow_list as store

router = APIRouter(prefix="/v1/lighting", tags=["Éclairage public"], responses=PROBLEM_RESPONSES)

Drifts = Annotated[bool | None, Query(description="Vrai : celles dont l'horloge ne tient pas le programme prévu")]
Commune = Annotated[str | None, Query(max_length=200, description="D'une commune", examples=["Brest"])]
HoldsProgram = Annotated[
    bool | None,
    Query(description="Vrai : celles qui gardent un programme ; faux : qui dépendent de la plateforme"),
]


class ShadowAnswer(answer_of(store.Shadow, {"id"})):
    """Une armoire ou un circuit : ce que son horloge doit tenir, et ce qu'elle dit tenir."""

    holds_program: bool = Field(description="Faux : pas d'horloge, son éclairage dépend de la plateforme")
    desired_version_id: int | None = Field(description="Null : aucun programme, du coucher au lever du soleil")
    desired_hash: str | None = Field(description="Null : rien ne peut être comparé", examples=["e352aa1e"])
    losses: list[str] = Field(description="Ce que l'appareil ne tient pas du programme")
    reported_hash: str | None = Field(examples=["e352aa1e"])
    clock_offset_s: float | None = Field(description="Avance de l'horloge à son dernier état", examples=[2.0])
    drifts: bool = Field(description="Elle tient autre chose que prévu")


def _show(shadow: store.Shadow) -> ShadowAnswer:
    return ShadowAnswer.model_validate(asdict(shadow))


@router.get("/shadows", summary="Lister ce que tiennent les horloges")
async def list_shadows(
    caller: Reader,
    paging: Paged,
    drifts: Drifts = None,
    commune: Commune = None,
    holds_program: HoldsProgram = None,
) -> Page[ShadowAnswer]:
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
