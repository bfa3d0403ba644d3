"""DevNonces are flushed: a device that was reset may join again, one alone or a whole delivery."""

from typing import Self

from fastapi import APIRouter
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from api.auth import FieldAgent, Manager
from api.fields import Answer, Body, Eui, EuiPath, IdRef, example
from api.routes.devices import DEVICES
from core.runtime.http.errors import PROBLEM_RESPONSES, Problem, not_found
from registry.joins import flush_dev_nonces, list_own_otaa

MOST_DEVICES = 1_000

router = APIRouter(prefix="/v1", tags=["devices"], responses=PROBLEM_RESPONSES)


class NewFlush(Body):
    """Quels capteurs : une liste, ou tous ceux d'un profil."""

    model_config = example({"dev_euis": ["70b3d57ed0001234", "70b3d57ed0001235"]})

    dev_euis: list[Eui] | None = Field(None, min_length=1, max_length=MOST_DEVICES)
    device_profile_id: IdRef | None = Field(None, description="Tous les capteurs OTAA de ce profil")

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.dev_euis is None) == (self.device_profile_id is None):
            raise PydanticCustomError("choice", "donnez « dev_euis » ou « device_profile_id », l'un des deux")
        return self


class FlushAnswer(Answer):
    """Ce qui a été effacé."""

    devices: int = Field(description="Capteurs concernés")
    dev_nonces: int = Field(description="DevNonces effacés")


@router.delete(
    "/devices/{dev_eui}/dev-nonces", operation_id="flushDeviceNonces", summary="Effacer les DevNonces d'un capteur"
)
async def flush_one(dev_eui: EuiPath, caller: FieldAgent) -> FlushAnswer:
    """Effacer les DevNonces utilisés par un capteur remis à zéro : il peut alors se réactiver.

    Sa session en cours continue jusqu'au premier message de la nouvelle.
    """
    async with caller.changing() as change:
        device = await DEVICES.own(change, dev_eui)
        if device.activation != "OTAA":
            raise Problem(409, "ce capteur ne s'active pas par OTAA : il n'a pas de DevNonce")
        flushed = await flush_dev_nonces(change.connection, [device.id])
        count = sum(flushed.values())
        await change.audit("flush_dev_nonces", "device", device.dev_eui.hex(), before={"dev_nonces": count})
    return FlushAnswer(devices=len(flushed), dev_nonces=count)


@router.post(
    "/dev-nonce-flushes", operation_id="flushManyDevNonces", summary="Effacer les DevNonces de plusieurs capteurs"
)
async def flush_many(body: NewFlush, caller: Manager) -> FlushAnswer:
    """Effacer les DevNonces de plusieurs capteurs de la collectivité : tous, ou aucun si l'un n'est pas à elle."""
    wanted = None if body.dev_euis is None else sorted({bytes.fromhex(eui) for eui in body.dev_euis})
    async with caller.changing() as change:
        own = await list_own_otaa(
            change.connection, change.tenant_id, dev_euis=wanted, device_profile_id=body.device_profile_id
        )
        for missing in set(wanted or ()) - set(own.values()):
            raise not_found(f"capteur OTAA {missing.hex()}, pour cette collectivité,")
        flushed = await flush_dev_nonces(change.connection, list(own))
        count = sum(flushed.values())
        before = {"dev_euis": [dev_eui.hex() for dev_eui in own.values()], "dev_nonces": count}
        await change.audit("flush_dev_nonces", "device", "bulk", before=before)
    return FlushAnswer(devices=len(flushed), dev_nonces=count)
