"""What was said of a stop of a round by mistake, and taken back."""

from datetime import UTC, datetime

from fastapi import APIRouter

from api.auth import FieldAgent
from api.fields import Id
from api.round_types import RoundStopAnswer
from api.routes.rounds import ROUNDS, AssetIdPath
from core.runtime.http.errors import PROBLEM_RESPONSES, Problem
from indicators.waste.rounds import store

router = APIRouter(prefix="/v1/rounds", tags=["waste"], responses=PROBLEM_RESPONSES)


@router.delete(
    "/{id}/stops/{asset_id}/outcome",
    operation_id="withdrawRoundStop",
    summary="Reprendre ce qui a été dit d'une borne",
)
async def withdraw_round_stop(id: Id, asset_id: AssetIdPath, caller: FieldAgent) -> RoundStopAnswer:
    """Rien n'en est dit de nouveau, et rien n'est vidé ; ce qui avait été dit reste à l'audit."""
    async with caller.changing() as change:
        connection = change.connection
        state = await store.lock_round(connection, id)
        if state is None:
            raise ROUNDS.missing(id)
        former = await store.read_stop(connection, id, asset_id)
        if former is None or former.outcome is None:
            raise Problem(404, f"la borne {asset_id} de la tournée {id} n'a rien à reprendre")
        if state == "cancelled":
            raise Problem(409, "cette tournée est annulée")
        await store.withdraw_outcome(connection, change.tenant_id, id, asset_id, datetime.now(UTC), change.actor)
        withdrawn = await store.read_stop(connection, id, asset_id)
        before, after = RoundStopAnswer.model_validate(former), RoundStopAnswer.model_validate(withdrawn)
        await change.audit("withdraw", ROUNDS.entity, id, {"asset_id": asset_id}, before=before, after=after)
        return after
