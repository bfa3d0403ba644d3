"""Lighting campaigns: prepared with a preview, and followed."""

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal, Self

from fastapi import APIRouter, Query
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from api import campaign_changes as changes
from api.auth import LightingOperator, Reader
from api.campaign_answers import CAMPAIGNS, CampaignAnswer, campaign_fields
from api.campaign_preview import PreviewAnswer, preview_of
from api.campaign_targets import LONGEST_CAMPAIGN, MOST_TARGETS, Prepared, prepare
from api.fields import Answer, Body, Id, IdRef, Instant, Name, ShortText, Text, answer_of, example
from api.pages import Page, Paged, page_of
from core.runtime.http.errors import PROBLEM_RESPONSES, Problem
from lighting import campaign_store as store
from lighting import target_store
from lighting.campaigns import canary_of
from lighting.circuit_store import Wanted
from lighting.commands import LONGEST_OFF
from lighting.compilers import SET_PROGRAM
from lighting.requests import EMERGENCY_PRIORITY, PRIORITY, LightingRequest
from lighting.target_store import NewTarget

router = APIRouter(prefix="/v1", tags=["lighting"], responses=PROBLEM_RESPONSES)

StateQuery = Annotated[
    Literal[
        "draft", "approved", "canary", "running", "paused", "halted", "ended", "cancelled", "expired", "refused"
    ]
    | None,
    Query(description="Celles qui en sont là"),
]
USUALLY_WITHIN = timedelta(hours=2)


class CampaignTargets(Body):
    """À qui s'adresse une campagne : une liste, une commune, une étiquette ou un programme ; l'un des quatre.

    `drifted` ne garde que les horloges en écart ; seul, toutes celles de la collectivité.
    """

    model_config = example({"commune": "Plouzané"})

    asset_ids: list[IdRef] | None = Field(None, min_length=1, max_length=MOST_TARGETS)
    commune: ShortText | None = Field(None, min_length=1, examples=["Plouzané"])
    tag: ShortText | None = Field(None, min_length=1, examples=["centre-bourg"])

    program_id: IdRef | None = Field(None, description="Ce qui suit ce programme, affecté à soi ou au-dessus")
    drifted: bool = Field(False, description="Les horloges qui tiennent un autre programme que prévu")

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        given = sum(one is not None for one in (self.asset_ids, self.commune, self.tag, self.program_id))
        if given > 1 or not (given or self.drifted):
            raise PydanticCustomError(
                "targets", "donnez une liste d'actifs, une commune, une étiquette ou un programme"
            )
        return self


class NewCampaign(Body):
    """Un ordre à beaucoup d'armoires. Rien ne part avant qu'une autre personne, ou une autre clé, l'approuve."""

    model_config = example(
        {
            "name": "Coupure du 14 juillet",
            "action": "off",
            "off_until": "2026-07-15T04:00:00Z",
            "reason": "Feu d'artifice",
            "targets": {"commune": "Plouzané"},
        }
    )

    name: Name = Field(examples=["Coupure du 14 juillet"])
    action: Literal["on", "off", "dim", "set_program"] = Field(
        description="`on` allumer, `off` éteindre, `dim` graduer, `set_program` donner à chaque horloge le "
        "programme de son armoire"
    )
    level: int | None = Field(None, ge=1, le=100, description="Niveau d'une gradation, en pour cent")
    off_until: Instant | None = Field(
        None, description="Fin de l'extinction, ou d'une gradation qui en a une, 12 heures au plus"
    )
    reason: Text = Field(min_length=1, description="Motif, gardé dans l'historique de chaque armoire")
    targets: CampaignTargets
    not_after: Instant | None = Field(
        None, description="Rien ne part plus tard, 24 heures au plus ; absent : dans deux heures"
    )

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if (self.action == "dim") != (self.level is not None):
            raise PydanticCustomError("level", "un niveau va avec une gradation, et elle en a un")
        if self.off_until is None if self.action == "off" else self.off_until is not None and self.action != "dim":
            raise PydanticCustomError("off_until", "une extinction a une fin (off_until) ; un allumage n'en a pas")
        if self.targets.drifted and self.action != SET_PROGRAM:
            raise PydanticCustomError("drifted", "des horloges en écart reçoivent leur programme (set_program)")
        return self


class CountsAnswer(Answer):
    """Où en sont les circuits d'une partie de la campagne."""

    waiting: int
    under_way: int
    proved: int = Field(description="L'équipement l'a dit lui-même")
    failed: int
    superseded: int = Field(description="Un ordre plus récent les a remplacés")
    unproven: int = Field(description="Leur programme est parti ; rien ne relit ce que tient leur horloge")


class ProgressAnswer(CampaignAnswer):
    """Une campagne avec ses chiffres du moment."""

    canary: CountsAnswer
    others: CountsAnswer
    darkened: int = Field(description="Circuits dont une alerte dit qu'ils se sont éteints après leur ordre")


class CreatedCampaignAnswer(CampaignAnswer):
    """Le projet, et ce qu'il fera."""

    preview: PreviewAnswer


class TargetAnswer(answer_of(target_store.Target, {"airtime_us", "is_unprovable"})):
    """Un circuit d'une campagne, et l'état de son ordre ou de son programme."""

    state: str | None = Field(examples=["applied"])
    program_hash: str | None = Field(description="Ce que son horloge dira tenir", examples=["e352aa1e"])
    attempts: int = Field(description="Combien de fois cela a été envoyé")


def _until(body: NewCampaign, now: datetime) -> datetime:
    """No frame goes out later; raises 422 for an end that is none."""
    not_after = body.not_after or now + USUALLY_WITHIN
    if not now < not_after <= now + LONGEST_CAMPAIGN:
        raise Problem(422, "la fin de la campagne (not_after) est à venir, dans 24 heures au plus")
    if body.off_until is None:
        return not_after
    if not now < body.off_until <= now + LONGEST_OFF:
        raise Problem(422, "la fin d'extinction doit être à venir, et dans 12 heures au plus")
    return min(not_after, body.off_until)


@router.post(
    "/lighting-campaigns",
    operation_id="createLightingCampaign",
    status_code=201,
    summary="Préparer une campagne d'éclairage",
)
async def create_campaign(body: NewCampaign, caller: LightingOperator) -> CreatedCampaignAnswer:
    """Préparer un projet de campagne et voir ce qu'il fera ; rien ne part avant son approbation."""
    now = datetime.now(UTC)
    values = body.model_dump(exclude={"targets"}) | {"not_after": _until(body, now), "is_emergency": False}
    async with caller.changing() as change:
        wanted = Wanted(**body.targets.model_dump())
        request = LightingRequest(body.action, "", "", off_until=body.off_until, level=body.level)
        prepared = await prepare(change, caller, request, wanted)
        if prepared.outside:
            first, *others = prepared.outside
            values |= {
                "decided_by": first.set_by_id,
                "outside": first.why,
                "then_decided_by": [one.set_by_id for one in others],
                "then_outside": [one.why for one in others],
                "proposed_by": change.tenant_slug,
            }
        if not prepared.targets:
            reasons = {one.reason for one in prepared.rejected}
            raise Problem(
                422, f"aucun circuit à commander : {' ; '.join(sorted(reasons)) or 'aucune armoire ici'}"
            )
        canary = canary_of([(one.asset_id, one.gateway) for one in prepared.targets], prepared.unproven)
        made = await changes.create_campaign(change, caller, values, prepared, canary)
        preview = await preview_of(change.connection, prepared, canary, now, request, made.id)
        shown = CreatedCampaignAnswer.model_validate(campaign_fields(made) | {"preview": preview})
        await changes.audit_everywhere(change, "create", made, prepared.owners)
    return shown


@router.get(
    "/lighting-campaigns", operation_id="listLightingCampaigns", summary="Lister les campagnes d'éclairage"
)
async def list_campaigns(caller: Reader, paging: Paged, state: StateQuery = None) -> Page[CampaignAnswer]:
    """Les campagnes, la dernière d'abord."""
    return await CAMPAIGNS.page(
        caller, paging, store.list_campaigns, before=paging.before, most=paging.most, state=state
    )


@router.get(
    "/lighting-campaigns/{id}", operation_id="getLightingCampaign", summary="Suivre une campagne d'éclairage"
)
async def read_campaign(id: Id, caller: Reader) -> ProgressAnswer:
    """Une campagne et ses chiffres du moment."""
    async with caller.reading() as connection:
        campaign = await CAMPAIGNS.get(connection, id)
        progress = await store.read_progress(connection, id)
    return ProgressAnswer.model_validate(campaign_fields(campaign) | asdict(progress))


@router.get(
    "/lighting-campaigns/{id}/targets",
    operation_id="listLightingCampaignTargets",
    summary="Lister les circuits d'une campagne",
)
async def list_targets(id: Id, caller: Reader, paging: Paged) -> Page[TargetAnswer]:
    """Les circuits d'une campagne et l'état de leur ordre."""
    async with caller.reading() as connection:
        await CAMPAIGNS.get(connection, id)
        rows = await target_store.list_targets(connection, id, after=paging.after, most=paging.most)
    return page_of(rows, paging.limit, TargetAnswer.model_validate, lambda row: str(row.asset_id))


@router.get(
    "/lighting-campaigns/{id}/preview",
    operation_id="previewLightingCampaign",
    summary="Prévoir une campagne d'éclairage",
)
async def preview_campaign(id: Id, caller: Reader) -> PreviewAnswer:
    """Ce qu'elle fera si elle part maintenant, selon ce que les passerelles ont envoyé depuis une heure."""
    now = datetime.now(UTC)
    async with caller.reading() as connection:
        campaign = await CAMPAIGNS.get(connection, id)
        rows = await target_store.list_targets(connection, id, after=0, most=MOST_TARGETS)
        waiting = [row for row in rows if row.released_at is None and row.rejected is None]
        neighbours = await store.read_neighbours(connection, id)
        targets = [NewTarget(row.asset_id, row.gateway, row.airtime_us, {}, row.is_canary) for row in waiting]
        canary = frozenset(row.asset_id for row in waiting if row.is_canary)
        unproven = [row.asset_id for row in waiting if row.is_unprovable]
        prepared = Prepared(targets, (), neighbours, unproven=unproven)
        request = LightingRequest(
            campaign.action,
            "",
            "",
            campaign.off_until,
            campaign.level,
            priority=EMERGENCY_PRIORITY if campaign.is_emergency else PRIORITY,
        )
        planned = [row.asset_id for row in rows if row.rejected is None]
        return await preview_of(connection, prepared, canary, now, request, id, planned)
