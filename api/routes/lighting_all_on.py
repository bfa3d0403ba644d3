"""Everything is switched on at once: without a second person, before all else."""

from datetime import UTC, datetime

from fastapi import APIRouter
from pydantic import Field

from api.auth import ProvenLightingOperator
from api.campaign_answers import show_campaign
from api.campaign_changes import audit_everywhere, create_campaign
from api.campaign_preview import PreviewAnswer, preview_of
from api.campaign_targets import LONGEST_CAMPAIGN, prepare
from api.fields import Answer, Body, ShortText, Text, example
from api.impersonation import as_owner
from core.runtime.http.errors import PROBLEM_RESPONSES, Problem
from lighting.campaign_store import pause_darkening
from lighting.circuit_store import Wanted
from lighting.requests import EMERGENCY_PRIORITY, LightingRequest

router = APIRouter(prefix="/v1", tags=["lighting"], responses=PROBLEM_RESPONSES)


class AllOn(Body):
    """Tout allumer, une commune ou tout ce qu'on a : sans approbation, avant tout le reste."""

    model_config = example({"commune": "Plouzané", "reason": "Accident rue du Port", "preview": False})

    commune: ShortText | None = Field(None, min_length=1, description="Absente : toutes", examples=["Plouzané"])
    reason: Text = Field(min_length=1, examples=["Accident rue du Port"])
    preview: bool = Field(True, description="Montrer quand tout sera allumé, sans rien envoyer")


class AllOnAnswer(Answer):
    """Ce que fait « tout allumer » ; sans campagne pour un aperçu."""

    campaign_id: int | None
    preview: PreviewAnswer


@router.post("/lighting/all-on", operation_id="switchAllOn", summary="Tout allumer")
async def all_on(body: AllOn, caller: ProvenLightingOperator) -> AllOnAnswer:
    """Tout allumer, dans une commune ou partout : sans seconde personne, avant tout le reste.

    Par défaut un aperçu dit quand tout sera allumé. Une campagne en cours qui éteindrait ou graduerait ces
    armoires est suspendue.
    """
    now = datetime.now(UTC)
    async with caller.changing() as change:
        request = LightingRequest("on", "", "", priority=EMERGENCY_PRIORITY)
        prepared = await prepare(change, caller, request, Wanted(commune=body.commune))
        if not prepared.targets:
            raise Problem(422, "aucune armoire à allumer ici")
        preview = await preview_of(change.connection, prepared, frozenset(), now, request)
        if body.preview:
            return AllOnAnswer(campaign_id=None, preview=preview)
        where = body.commune or "toutes les communes"
        values = {
            "name": f"Tout allumer : {where}",
            "action": "on",
            "level": None,
            "off_until": None,
            "reason": body.reason,
            "is_emergency": True,
            "not_after": now + LONGEST_CAMPAIGN,
        }
        made = await create_campaign(change, caller, values, prepared, frozenset())
        lit = [target.asset_id for target in prepared.targets]
        # What one's own campaigns would put out of others, too.
        for owner in sorted({change.tenant_id, *prepared.owners}):
            asset_id, _ = prepared.owners.get(owner, (None, 0))
            async with as_owner(change, owner, asset_id, f"actif {asset_id}") as acting:
                for paused in await pause_darkening(acting.connection, lit, owner):
                    await acting.audit("pause", "lighting_campaign", paused.id, after=show_campaign(paused))
        await audit_everywhere(change, "all_on", made, prepared.owners)
    return AllOnAnswer(campaign_id=made.id, preview=preview)
