"""How a device says it is: battery and margin, by LoRaWAN's own question."""

from datetime import datetime
from typing import Literal, Self

from fastapi import APIRouter
from pydantic import Field

from api.auth import Reader
from api.fields import Answer, EuiPath
from core.runtime.http.errors import PROBLEM_RESPONSES, not_found
from lorawan.commands.dev_status import EXTERNAL_POWER, DevStatusAns
from registry.device_status import DeviceStatus, read_status

router = APIRouter(prefix="/v1/devices/{dev_eui}", tags=["devices"], responses=PROBLEM_RESPONSES)


class DeviceStatusAnswer(Answer):
    """L'état du capteur. Tout est null tant qu'il n'a pas répondu à la question posée chaque jour."""

    power: Literal["battery", "external", "unknown"] | None = Field(
        description="`battery` sur pile, `external` sur secteur, `unknown` si le capteur ne sait pas le mesurer"
    )
    battery_percent: float | None = Field(description="Charge de la pile, de 0 à 100")
    margin: int | None = Field(
        description="Marge en dB avec laquelle le capteur a entendu la question ; négative : il nous entend mal"
    )
    reported_at: datetime | None

    @classmethod
    def of(cls, status: DeviceStatus) -> Self:
        """In words and percent."""
        if status.battery is None or status.margin is None:
            return cls(power=None, battery_percent=None, margin=None, reported_at=None)
        fraction = DevStatusAns(status.battery, status.margin).battery_fraction
        power = "external" if status.battery == EXTERNAL_POWER else "unknown" if fraction is None else "battery"
        return cls(
            power=power,
            battery_percent=None if fraction is None else round(100 * fraction, 1),
            margin=status.margin,
            reported_at=status.reported_at,
        )


@router.get("/status", operation_id="getDeviceStatus", summary="Lire l'état d'un capteur")
async def read(dev_eui: EuiPath, caller: Reader) -> DeviceStatusAnswer:
    """La pile et la marge radio que le capteur a annoncées en dernier."""
    async with caller.reading() as connection:
        status = await read_status(connection, bytes.fromhex(dev_eui))
    if status is None:
        raise not_found(f"capteur {dev_eui}")
    return DeviceStatusAnswer.of(status)
