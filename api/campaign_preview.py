"""What a lighting campaign will do: by which gateway, until when, and whom it leaves out."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timedelta

from pydantic import Field

from api.campaign_targets import Prepared
from api.fields import Answer
from core.runtime.postgres import Connection
from lighting import target_store
from lighting.campaign_plan import GatewayShare, PlannedGroup, shares_of
from lighting.compilers import SET_PROGRAM
from lighting.group_sending import plan_groups
from lighting.requests import EMERGENCY_PRIORITY, LightingRequest
from lorawan.instants import from_us, to_us

HOUR = timedelta(hours=1)
LOSS_OVER = timedelta(days=30)


class GatewayShareAnswer(Answer):
    """Ce qu'une campagne demande à une passerelle, dans sa part de l'heure."""

    gateway: str = Field(
        description="Sa passerelle, ou le serveur d'un autre réseau", examples=["0016c001f0000001"]
    )
    targets: int
    airtime_s: float = Field(
        description="Temps d'antenne des ordres (d'un groupe, une trame) et de leurs questions, sans répétition"
    )
    used_s: float = Field(description="Ce que des campagnes ont pris de l'heure passée")
    left_s: float = Field(description="Ce qui en reste à prendre")
    loss: float = Field(description="Part des ordres à répéter, mesurée ; 0,1 où rien n'a été mesuré")
    ends_at: datetime = Field(description="Quand la dernière sera partie, répétitions comprises")


class RejectedTargetAnswer(Answer):
    """Un circuit que la campagne ne peut pas commander."""

    asset_id: int
    name: str
    reason: str = Field(examples=["ce circuit est protégé : il ne s'éteint jamais"])


class PreviewAnswer(Answer):
    """Ce qui se passera : combien, par qui, jusqu'à quand, et qui n'est pas commandé."""

    targets: int
    canary: int = Field(description="Ceux qui partent d'abord ; les autres suivent quand ils l'ont prouvé")
    unproven: int = Field(
        description="Horloges d'un autre fabricant que rien ne relit : leur programme part sans preuve"
    )
    rejected: list[RejectedTargetAnswer]
    gateways: list[GatewayShareAnswer]
    ends_at: datetime | None = Field(description="Fin prévue si elle part maintenant")


def _gateway(share: GatewayShare) -> GatewayShareAnswer:
    return GatewayShareAnswer(
        gateway=share.gateway,
        targets=share.targets,
        airtime_s=round(share.airtime_us / 1e6, 3),
        used_s=round(share.used_us / 1e6, 3),
        left_s=round(share.left_us / 1e6, 3),
        loss=round(share.loss, 3),
        ends_at=from_us(share.ends_us),
    )


async def preview_of(
    connection: Connection,
    prepared: Prepared,
    canary: frozenset[int],
    now: datetime,
    request: LightingRequest,
    campaign_id: int | None = None,
    planned: Sequence[int] | None = None,
) -> PreviewAnswer:
    """`planned`: all circuits of the campaign, where `prepared` has but those that wait."""
    gateways = sorted({target.gateway for target in prepared.targets})
    sent = await target_store.released_since(connection, now - HOUR)
    measured_loss = await target_store.read_measured_loss(connection, gateways, now - LOSS_OVER)
    waiting = [one.asset_id for one in prepared.targets]
    groups: list[PlannedGroup] = []
    if request.action != SET_PROGRAM:
        groups = await plan_groups(
            connection,
            campaign_id,
            waiting,
            waiting if planned is None else planned,
            request.action,
            request.asked_at(now),
            priority=request.priority,
        )
    shares = shares_of(
        [(one.asset_id, one.gateway, one.airtime_us, one.asset_id in canary) for one in prepared.targets],
        prepared.neighbours,
        [(gateway, to_us(at), airtime_us) for gateway, at, airtime_us in sent],
        measured_loss,
        to_us(now),
        is_emergency=request.priority == EMERGENCY_PRIORITY,
        groups=groups,
    )
    return PreviewAnswer(
        targets=len(prepared.targets),
        canary=len(canary),
        unproven=len(prepared.unproven),
        rejected=[RejectedTargetAnswer.model_validate(asdict(one)) for one in prepared.rejected],
        gateways=[_gateway(share) for share in shares],
        ends_at=from_us(max(share.ends_us for share in shares)) if shares else None,
    )
