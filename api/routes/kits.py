"""Templates of kits: what a building needs, version by version."""

from collections import Counter
from datetime import datetime
from typing import Annotated, Any, Self

from fastapi import APIRouter, Query
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from alerting.rules.checks import InvalidRule, check_rule
from api.auth import Change, Manager, Reader
from api.fields import (
    PRINTABLE,
    Attributes,
    Body,
    Id,
    IdRef,
    Name,
    Text,
    Word,
    answer_of,
    example,
)
from api.pages import Page
from api.resources import Resource
from api.routes.alert_rules import NewRule
from api.routes.assets import checked_kind_attributes
from core.runtime.http.errors import PROBLEM_RESPONSES, FieldError, Problem
from registry import kits
from registry.kits import KitTemplate
from registry.profiles import read_profile

router = APIRouter(prefix="/v1", tags=["kits"], responses=PROBLEM_RESPONSES)

ITEMS_MOST, RULES_MOST = 50, 20
NAME_MOST, RULE_NAME_MOST = 200, 63
SITE = "{site}"
RETIRED = "ce kit est retiré : reprenez-le d'abord"
PDF = "application/pdf"
ITEM = {"key": "co2_1", "device_profile_id": 42, "asset_kind": "room", "asset_name": "{site}, salle 1"}
# Those that watch assets of a tag alone.
OF_TAGS = frozenset({"threshold", "range", "rate", "boolean", "flat", "silence", "loss"})


class KitItem(Body):
    """Un capteur du kit et l'actif qu'il sert."""

    model_config = example(ITEM)

    key: Word = Field(description="Le nom de cette ligne dans le kit, unique", examples=["co2_1"])
    device_profile_id: IdRef = Field(description="Le profil du capteur")
    asset_kind: Word = Field(description="Le type d'actif", examples=["room"])
    asset_name: Name = Field(description="Le nom de l'actif ; `{site}` est remplacé", examples=["{site}, salle 1"])
    device_name: Name | None = Field(None, description="Le nom du capteur ; absent : celui de l'actif")
    attributes: Attributes = Field(default_factory=dict, description="Les attributs de l'actif")


class KitVersionBody(Body):
    """Ce que le kit contient."""

    model_config = example({"items": [ITEM]})

    description: Text = Field("", examples=["École : 5 salles, 5 portes, eau, électricité, vanne"])
    items: list[KitItem] = Field(min_length=1, max_length=ITEMS_MOST)
    rules: list[NewRule] = Field(
        default_factory=list[NewRule],
        max_length=RULES_MOST,
        description="Les règles qui veillent sur chaque site ; leur nom y est suivi du numéro de la mise en "
        "service, et elles ne regardent que ses actifs (étiquette `kit_<numéro>`)",
    )

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        twice = [key for key, times in Counter(item.key for item in self.items).items() if times > 1]
        if twice:
            raise PydanticCustomError("items", "la ligne {key} est deux fois dans le kit", {"key": twice[0]})
        names = [name for name, times in Counter(item.asset_name for item in self.items).items() if times > 1]
        if names:
            raise PydanticCustomError("items", "deux actifs s'appellent {name}", {"name": names[0]})
        for rule in self.rules:
            if rule.kind not in OF_TAGS:
                raise PydanticCustomError(
                    "rules",
                    "une règle {kind} ne veille pas sur un site : mettez-la hors du kit",
                    {"kind": rule.kind},
                )
        return self


class NewKit(KitVersionBody):
    """Un modèle de kit."""

    model_config = example({"name": "École", "items": [ITEM]})

    name: Name = Field(examples=["École"])


class KitAnswer(answer_of(KitTemplate)):
    """Une version d'un modèle de kit."""

    version: int = Field(description="À partir de 1 ; une mise en service garde la sienne")
    retired_at: datetime | None = Field(description="Depuis quand le kit est retiré ; null : il sert")
    items: list[dict[str, Any]]
    rules: list[dict[str, Any]]


class RetiredBody(Body):
    """Si un kit est retiré."""

    model_config = example({"retired": True})

    retired: bool = Field(description="true : retiré, avec toutes ses versions ; false : repris")


KITS = Resource("kit_template", "kit", kits.read_template, KitAnswer.model_validate)


async def _save(change: Change, name: str, body: KitVersionBody) -> KitAnswer:
    """The next version of a template; raises 422 for a profile, attributes or a rule that cannot be."""
    for place, item in enumerate(body.items):
        if await read_profile(change.connection, item.device_profile_id) is None:
            raise wrong_field(f"items.{place}.device_profile_id", f"profil {item.device_profile_id} introuvable")
        checked_kind_attributes(item.asset_kind, item.attributes)
    for place, rule in enumerate(body.rules):
        try:
            check_rule(rule.rule(change.tenant_id))
        except InvalidRule as wrong:
            raise wrong_field(f"rules.{place}", str(wrong)) from None
    items = [item.model_dump() for item in body.items]
    rules = [rule.model_dump(exclude_unset=True) for rule in body.rules]
    made = await kits.create_template(
        change.connection, change.tenant_id, name, body.description, items, rules, change.actor
    )
    shown = KITS.show(made)
    await change.audit("create", KITS.entity, made.id, after=shown)
    return shown


@router.post("/kits", status_code=201, summary="Créer un modèle de kit")
async def create_kit(body: NewKit, caller: Manager) -> KitAnswer:
    """Créer un modèle ; rien n'est encore fait de lui."""
    async with caller.changing() as change:
        if await kits.list_templates(change.connection, body.name):
            raise Problem(409, f"un kit s'appelle déjà {body.name} : faites-en une version")
        return await _save(change, body.name, body)


@router.get("/kits", summary="Lister les modèles de kit")
async def list_kits(
    caller: Reader,
    name: Annotated[
        str | None, Query(max_length=200, pattern=PRINTABLE, description="Toutes les versions de ce modèle")
    ] = None,
    retired: Annotated[bool, Query(description="true : ceux qui sont retirés")] = False,
) -> Page[KitAnswer]:
    """La dernière version de chaque modèle qui sert, ou de chaque modèle retiré, par nom."""
    return await KITS.list(caller, kits.list_templates, name, retired=retired)


@router.get("/kits/{id}", summary="Lire un modèle de kit")
async def read_kit(id: Id, caller: Reader) -> KitAnswer:
    """Une version d'un modèle."""
    return await KITS.read(caller, id)


@router.post("/kits/{id}/versions", status_code=201, summary="Publier une version d'un modèle de kit")
async def create_kit_version(id: Id, body: KitVersionBody, caller: Manager) -> KitAnswer:
    """La version suivante ; ce qui a été mis en service ne change pas."""
    async with caller.changing() as change:
        former = await KITS.own(change, id)
        if former.retired_at is not None:
            raise Problem(409, RETIRED)
        return await _save(change, former.name, body)


@router.put("/kits/{id}/retired", operation_id="retireKit", summary="Retirer un modèle de kit, ou le reprendre")
async def retire_kit(id: Id, body: RetiredBody, caller: Manager) -> KitAnswer:
    """Retiré, il ne se met plus en service et quitte la liste ; les mises en service restent telles quelles."""
    async with caller.changing() as change:
        former = await KITS.own(change, id)
        retired = await kits.retire_template(change.connection, former, retired=body.retired)
        if retired is None:
            raise KITS.missing(id)
        before, shown = KITS.show(former), KITS.show(retired)
        await change.audit("retire" if body.retired else "restore", KITS.entity, id, before=before, after=shown)
    return shown


def wrong_field(field: str, message: str) -> Problem:
    """422, with what is wrong in a field of the body."""
    error = FieldError(field=f"body.{field}", code="kit", message=message)
    return Problem(422, message, errors=[error])
