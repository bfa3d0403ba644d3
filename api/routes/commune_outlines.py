"""Outlines of communes: taken in from GeoJSON, and given to maps that have no background."""

from collections import Counter
from dataclasses import replace
from typing import Any

import msgspec
from fastapi import APIRouter, Request, Response
from pydantic import Field, JsonValue

from api.auth import Caller, Change, Manager, Reader
from api.extent import Commune
from api.fields import Answer, Body, Slug, answer_of, example
from api.list_formats import GEOJSON
from api.pages import Page, Paged, page_of
from api.public_pages import compressed
from core.model.outlines import InvalidOutline, Outline, read_outline
from core.runtime.http.errors import PROBLEM_RESPONSES, FieldError, Problem, not_found
from registry import outlines, tenants
from registry.entering import act_as_operator, enter_as_operator

router = APIRouter(prefix="/v1", tags=["assets"], responses=PROBLEM_RESPONSES)

FEATURES_MOST = 200
# A browser asks again within the hour; what was taken in meanwhile waits for that long.
KEPT = "private, max-age=3600"
EXAMPLE: dict[str, Any] = {
    "type": "Feature",
    "properties": {"insee": "29103", "nom": "Landerneau"},
    "geometry": {
        "type": "Polygon",
        "coordinates": [[[-4.3, 48.42], [-4.2, 48.42], [-4.2, 48.48], [-4.3, 48.48], [-4.3, 48.42]]],
    },
}


class NewOutlines(Body):
    """Des contours de communes, en GeoJSON (WGS 84) ; ils sont simplifiés pour les cartes."""

    model_config = example({"features": [EXAMPLE]})

    features: list[dict[str, JsonValue]] = Field(
        min_length=1, max_length=FEATURES_MOST, description="Des `Feature`, avec code INSEE et nom"
    )
    shared: bool = Field(False, description="Proposés à toutes les collectivités : rôle `operate`")
    tenant: Slug | None = Field(None, description="Pour quelle collectivité, quand on exploite le réseau")
    generated: bool = Field(False, description="Inventés pour une démonstration : la carte le dit")


class TakenIn(Answer):
    """Ce que sont devenus ces contours."""

    created: int
    updated: int
    unchanged: int


class OutlinesAnswer(Answer):
    """Une `FeatureCollection` de GeoJSON : code INSEE, nom et contour de chaque commune."""

    type: str = Field(examples=["FeatureCollection"])
    generated: bool = Field(description="Certains sont inventés, pour une démonstration")
    features: list[dict[str, Any]]


class CommuneConflictAnswer(answer_of(outlines.CommuneConflict)):
    """Un actif dont la commune, saisie ou importée, n'est pas celle de sa position."""

    commune: str = Field(description="Telle qu'elle a été saisie ou importée : elle reste")
    insee: str | None
    position_insee: str = Field(description="Code INSEE de la commune dont le contour contient sa position")
    position_commune: str = Field(description="Le nom de cette commune")


def _read_all(features: list[dict[str, Any]]) -> list[Outline]:
    read, wrong = list[Outline](), list[FieldError]()
    for number, feature in enumerate(features):
        try:
            read.append(read_outline(feature))
        except InvalidOutline as why:
            wrong.append(FieldError(field=f"body.features.{number}", code="outline", message=str(why)))
    if wrong:
        raise Problem(422, f"{len(wrong)} contours illisibles : rien n'est pris", errors=wrong)
    return read


async def _owner_of(body: NewOutlines, change: Change, caller: Caller) -> int | None:
    if body.shared or body.tenant not in {None, change.tenant_slug}:
        caller.demand("operate")
        await act_as_operator(change.connection)
    if body.shared:
        return None
    if body.tenant in {None, change.tenant_slug}:
        return change.tenant_id
    tenant = await tenants.find_tenant(change.connection, body.tenant or "")
    if tenant is None:
        raise not_found(f"collectivité {body.tenant}")
    await enter_as_operator(change.connection, tenant.id)
    return tenant.id


@router.post("/commune-outlines", operation_id="importCommuneOutlines", summary="Prendre des contours de communes")
async def take_in(body: NewOutlines, caller: Manager) -> TakenIn:
    """Tous, ou aucun. Le contour d'un code INSEE déjà connu est remplacé ; le même deux fois ne change rien."""
    read = _read_all(body.features)
    async with caller.changing() as change:
        owner = await _owner_of(body, change, caller)
        counts = Counter(
            [await outlines.take_in(change.connection, owner, one, is_generated=body.generated) for one in read]
        )
        answer = TakenIn(created=counts["created"], updated=counts["updated"], unchanged=counts["unchanged"])
        if answer.created or answer.updated:
            whose = "toutes les collectivités" if body.shared else body.tenant or change.tenant_slug
            details = {"tenant": whose, "communes": [one.insee for one in read]}
            owned = change if owner is None else replace(change, tenant_id=owner)
            await owned.audit("import", "commune_outline", read[0].insee, details, after=answer)
    return answer


@router.get(
    "/commune-outlines",
    operation_id="listCommuneOutlines",
    summary="Lire les contours des communes",
    response_model=OutlinesAnswer,
    responses={200: {"content": {GEOJSON: {}}}},
)
async def list_outlines(caller: Reader, request: Request, commune: Commune = None) -> Response:
    """En GeoJSON, simplifiés (80 m), de quoi dessiner une carte sans fond. À garder une heure."""
    async with caller.reading() as connection:
        found = await outlines.list_outlines(connection, commune)
    answer = {
        "type": "FeatureCollection",
        "generated": any(one.is_generated for one in found),
        "features": [
            {
                "type": "Feature",
                "properties": {"insee": one.insee, "name": one.name},
                "geometry": {"type": "MultiPolygon", "coordinates": one.polygons},
            }
            for one in found
        ],
    }
    return compressed(request, msgspec.json.encode(answer), GEOJSON, KEPT)


@router.get(
    "/commune-conflicts",
    operation_id="listCommuneConflicts",
    summary="Lister les actifs dont la commune contredit la position",
)
async def list_conflicts(caller: Reader, paging: Paged) -> Page[CommuneConflictAnswer]:
    """Rien n'est changé de ce qui a été saisi ou importé : corrigez la position, la commune, ou le contour.

    `PATCH /v1/assets/{id}` avec `commune` vide laisse la position décider.
    """
    async with caller.reading() as connection:
        found = await outlines.list_conflicts(connection, after=paging.after, most=paging.most)
        await caller.audit_personal(connection, assets=[one.id for one in found[: paging.limit]])
    return page_of(found, paging.limit, CommuneConflictAnswer.model_validate)
