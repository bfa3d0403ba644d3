"""A lighting campaign as the API shows it."""

from dataclasses import asdict
from typing import Any

from pydantic import Field

from api.fields import answer_of
from api.resources import Resource
from lighting.campaign_store import Campaign, read_campaign
from lighting.campaigns import HALT_FR


class CampaignAnswer(answer_of(Campaign, {"tenant_id", "author_id", "approver_id"})):
    """Une campagne et où elle en est."""

    state: str = Field(
        examples=["running"],
        description="draft (projet), approved, canary (premières armoires), running, paused, halted "
        "(d'elle-même), ended, cancelled, expired ou refused",
    )
    halted_for: str | None = Field(examples=["too_many_failures"])
    halted_message: str | None = Field(description="Pourquoi elle s'est arrêtée d'elle-même")
    decided_by: int | None = Field(description="Une proposition : la collectivité qui l'approuve ou la refuse")
    proposed_by: str = Field(description="Une proposition : de quelle collectivité", examples=["plouzane"])
    outside: str | None = Field(description="Une proposition : la borne qu'elle dépasse")
    then_decided_by: list[int] = Field(
        description="Qui en décide ensuite, dans cet ordre : elle dépasse aussi une borne de chacun"
    )
    then_outside: list[str] = Field(description="La borne de chacun d'eux")
    decided_before: list[int] = Field(description="Qui l'a déjà acceptée pour sa borne")
    refused_for: str | None = Field(description="Pourquoi elle a été refusée")


def show_campaign(campaign: Campaign) -> CampaignAnswer:
    """The campaign as it stands."""
    return CampaignAnswer.model_validate(campaign_fields(campaign))


def campaign_fields(campaign: Campaign) -> dict[str, Any]:
    """Its values, and in words why it halted."""
    why = campaign.halted_for
    return asdict(campaign) | {"halted_message": None if why is None else HALT_FR.get(why, why)}


CAMPAIGNS = Resource("lighting_campaign", "campagne", read_campaign, show_campaign)
