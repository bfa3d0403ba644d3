"""A downlink that waits is taken back by a person."""

from typing import Annotated

from fastapi import APIRouter, Path

from api.auth import Manager
from api.fields import INT8_MOST, EuiPath
from api.routes.device_traffic import DownlinkAnswer, own_device, show_downlink
from core.runtime.http.errors import PROBLEM_RESPONSES, Problem, not_found
from lighting.command_store import is_commanded
from registry.downlinks import read_downlink, withdraw

router = APIRouter(prefix="/v1/devices/{dev_eui}/downlinks", tags=["devices"], responses=PROBLEM_RESPONSES)

DownlinkId = Annotated[int, Path(ge=1, le=INT8_MOST, description="Identifiant du message", examples=[42])]


@router.post("/{id}/cancel", operation_id="cancelDeviceDownlink", summary="Retirer un message de la file")
async def cancel_downlink(dev_eui: EuiPath, id: DownlinkId, caller: Manager) -> DownlinkAnswer:
    """Retirer un message qui attend encore. Un ordre d'éclairage se reprend par /v1/lighting/commands."""
    async with caller.changing() as change:
        device, _ = await own_device(change, caller, dev_eui)
        former = await read_downlink(change.connection, id)
        if former is None or former.device_id != device.id:
            raise not_found(f"message {id}")
        if await is_commanded(change.connection, id):
            raise Problem(409, "ce message porte un ordre d'éclairage : donnez l'ordre contraire")
        if not await withdraw(change.connection, id):
            raise Problem(409, "ce message n'attend plus : il ne peut plus être retiré")
        row = await read_downlink(change.connection, id)
        assert row is not None  # noqa: S101 - Changed in this very transaction.
        shown = show_downlink(row, None)
        await change.audit("cancel", "downlink", id, before=show_downlink(former, None), after=shown)
    return shown
