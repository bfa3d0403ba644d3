"""What was said of a stop of a round by mistake, and taken back."""

from datetime import UTC, datetime

from fastapi import APIRouter

from api.auth import FieldAgent
from api.fields import Id
from api.round_types import RoundStopAnswer
from api.routes.rounds import AssetIdPath, changed_stop, stop_to_change
from core.runtime.http.errors import PROBLEM_RESPONSES
from indicators.waste.rounds import store

router = APIRouter(prefix="/v1/rounds", tags=["waste"], responses=PROBLEM_RESPONSES)


@router.delete(
    "/{id}/stops/{asset_id}/outcome",
    operation_id="withdrawRoundStop",
    summary="Reprendre ce qui a été dit d'une borne",
)
async def withdraw_round_stop(id: Id, asset_id: AssetIdPath, caller: FieldAgent) -> RoundStopAnswer:
    """Rien n'en est dit de nouveau, et rien n'est vidé ; ce qui avait été dit reste à l'audit."""
    missing = f"la borne {asset_id} de la tournée {id} n'a rien à reprendre"
    async with caller.changing() as change:
        former = await stop_to_change(change, id, asset_id, lambda stop: stop.outcome is not None, missing)
        now = datetime.now(UTC)
        await store.withdraw_outcome(change.connection, change.tenant_id, id, asset_id, now, change.actor)
        return await changed_stop(change, "withdraw", former)
