"""Kinds of assets: which attributes each may have; and the assets that have others, from before the rules."""

from typing import Literal

from fastapi import APIRouter
from pydantic import Field

from api.auth import Reader
from api.fields import Answer
from api.pages import Page, Paged
from core.runtime.http.errors import PROBLEM_RESPONSES
from registry import assets
from registry.asset_attributes import ATTRIBUTES, LABELS_FR, OF_EVERY_KIND, Attribute, issues_of

router = APIRouter(prefix="/v1", tags=["assets"], responses=PROBLEM_RESPONSES)

FORMS_TEXT = (
    "`text` un texte, `number` un nombre, `whole` un nombre entier, `boolean` true ou false, `pdl` 14 chiffres, "
    "`object` un objet, `times` deux heures"
)


class AttributeAnswer(Answer):
    """Un attribut qu'un type d'actif peut avoir."""

    name: str = Field(examples=["volume_l"])
    form: Literal["text", "number", "whole", "boolean", "pdl", "object", "times"] = Field(description=FORMS_TEXT)
    unit: str = Field(description="Code UCUM ; vide : sans unité", examples=["L"])
    required: bool = Field(description="À donner à la création")
    description: str = Field(validation_alias="french", examples=["volume utile, en litres"])
    example: str = Field(examples=["4000"])
    minimum: float | None = Field(description="Compris ; null : sans borne, ou ce n'est pas un nombre")
    maximum: float | None
    pattern: str = Field(description="Expression régulière d'un texte ; vide : libre")


class AssetKindAnswer(Answer):
    """Un type d'actif, et les attributs qu'il peut avoir ; un autre nom, une autre valeur est refusé (422)."""

    kind: str = Field(examples=["glass_container"])
    label_fr: str = Field(examples=["Borne à verre"])
    attributes: list[AttributeAnswer]


class AttributeIssue(Answer):
    """Ce qui ne va pas dans un attribut."""

    attribute: str = Field(examples=["volum_l"])
    message: str = Field(examples=["pas d'attribut de ce nom ; vouliez-vous dire « volume_l » ?"])


class AttributeIssuesAnswer(Answer):
    """Un actif dont les attributs ne sont pas ceux de son type."""

    id: int
    tenant_id: int = Field(description="La collectivité à qui il est")
    kind: str
    name: str
    issues: list[AttributeIssue]


def _shown(attribute: Attribute) -> AttributeAnswer:
    is_number = attribute.form in {"number", "whole"}
    return AttributeAnswer.model_validate(
        {
            name: getattr(attribute, name)
            for name in ("name", "form", "unit", "required", "french", "example", "pattern")
        }
        | {
            "minimum": attribute.least if is_number else None,
            "maximum": attribute.most if is_number and attribute.most < float("inf") else None,
        }
    )


@router.get("/asset-kinds", summary="Lister les types d'actif")
async def list_asset_kinds(_caller: Reader) -> Page[AssetKindAnswer]:
    """Les types connus et leurs attributs ; ceux d'un type inventé par une collectivité sont libres."""
    return Page(
        items=[
            AssetKindAnswer(
                kind=kind,
                label_fr=LABELS_FR[kind],
                attributes=[_shown(one) for one in (*attributes, *OF_EVERY_KIND)],
            )
            for kind, attributes in ATTRIBUTES.items()
        ],
        next=None,
    )


@router.get("/assets/attribute-issues", summary="Lister les actifs aux attributs inconnus")
async def list_attribute_issues(caller: Reader, paging: Paged) -> Page[AttributeIssuesAnswer]:
    """Les actifs dont un attribut n'est pas de leur type : d'avant ces règles, ils le gardent jusqu'à correction.

    `limit` est le nombre d'actifs examinés : une page peut en montrer moins, et avoir une suite.
    """
    async with caller.reading() as connection:
        found = await assets.list_described(connection, list(ATTRIBUTES), after=paging.after, most=paging.most)
        examined = found[: paging.limit]
        wrong = {one.id: issues for one in examined if (issues := issues_of(one.kind, one.attributes))}
        await caller.audit_personal(connection, assets=list(wrong))
    items = [
        AttributeIssuesAnswer(
            id=one.id,
            tenant_id=one.tenant_id,
            kind=one.kind,
            name=one.name,
            issues=[AttributeIssue(attribute=name, message=why) for name, why in wrong[one.id].items()],
        )
        for one in examined
        if one.id in wrong
    ]
    return Page(items=items, next=str(examined[-1].id) if len(found) > paging.limit else None)
