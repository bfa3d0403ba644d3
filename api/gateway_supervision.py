"""How a gateway works, as the API shows it: counts of a day, duty cycle, changes of address."""

from datetime import datetime, timedelta
from typing import Self

from pydantic import Field

from api.fields import Answer, Eui, answer_of
from core.runtime.postgres import Connection
from lorawan.regions import EU868, REGIONS
from lorawan.regions.region import SubBand
from registry.gateway_supervision import (
    AddressChange,
    HourOfGateway,
    list_address_changes,
    read_airtime,
    read_hours,
    read_outcomes,
)

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
CHANGES_SHOWN = 10


class GatewayActivity(Answer):
    """Ce que la passerelle a apporté en 24 heures."""

    uplinks: int = Field(description="Trames entendues")
    duplicates: int = Field(description="Trames apportées deux fois en une demi-seconde (miroir d'un autre canal)")
    crc_errors: int = Field(description="Trames reçues avec un CRC faux, selon les statistiques de la passerelle")
    rejected: int = Field(description="Éléments illisibles, ou transmis malgré leur CRC faux")
    limited: int = Field(description="Datagrammes écartés parce que la passerelle dépassait son débit permis")


class SubBandUse(Answer):
    """Temps d'émission dans une sous-bande, sur l'heure glissante."""

    low: int = Field(description="Hz, comprise", examples=[869400000])
    high: int = Field(description="Hz, non comprise", examples=[869650000])
    limit: float = Field(description="Part d'une heure que la loi permet", examples=[0.1])
    used: float = Field(description="Part du temps permis qui est employée : 1 quand il n'en reste pas")
    used_s: float = Field(description="Secondes d'émission")
    left_s: float = Field(description="Secondes qui restent")


class AddressChangeAnswer(answer_of(AddressChange)):
    """Une passerelle qui a parlé depuis une autre adresse."""

    gateway_id: Eui
    former: str = Field(
        description="D'où elle parlait ; vide : nulle part, et il manquait le jeton ou le certificat attendu",
        examples=["192.0.2.7"],
    )
    address: str = Field(description="D'où elle a parlé ensuite", examples=["198.51.100.4"])
    refused: bool = Field(
        description="true : ce qui venait de la nouvelle adresse a été refusé, car l'ancienne parlait encore ; "
        "quelqu'un d'autre emploie peut-être son identifiant"
    )


class Supervision(Answer):
    """Comment la passerelle travaille."""

    activity: GatewayActivity
    round_trip_ms: float | None = Field(description="Dernier aller-retour mesuré, en millisecondes")
    duty_cycle: list[SubBandUse]
    downlinks: dict[str, int] = Field(
        description="Émissions demandées en 24 heures, par résultat : `OK`, `NO_ACK` (la passerelle n'a rien "
        "répondu), `TOO_LATE`, `COLLISION_PACKET`…, `UNKNOWN` (en cours)",
        examples=[{"OK": 12, "TOO_LATE": 1}],
    )
    address_changes: list[AddressChangeAnswer] = Field(description="Les dix derniers, le dernier d'abord")

    @classmethod
    async def read(cls, connection: Connection, gateway_id: bytes, region: str, now: datetime) -> Self:
        """Everything that is known of one gateway's work until `now`."""
        hours = await read_hours(connection, gateway_id, now - DAY)
        airtime = await read_airtime(connection, gateway_id, now - HOUR, now)
        changes = await list_address_changes(connection, gateway_id, CHANGES_SHOWN)
        measured = [hour.round_trip_ms for hour in hours if hour.round_trip_ms is not None]
        bands = REGIONS.get(region, EU868).sub_bands
        return cls(
            activity=_activity_of(hours),
            round_trip_ms=measured[-1] if measured else None,
            duty_cycle=[_use_of(band, airtime) for band in bands],
            downlinks=await read_outcomes(connection, gateway_id, now - DAY),
            address_changes=[AddressChangeAnswer.model_validate(change) for change in changes],
        )


def _activity_of(hours: list[HourOfGateway]) -> GatewayActivity:
    counted = GatewayActivity.model_fields
    return GatewayActivity.model_validate({n: sum(getattr(hour, n) for hour in hours) for n in counted})


def _use_of(band: SubBand, airtime: dict[int, int]) -> SubBandUse:
    used_us = sum(us for frequency, us in airtime.items() if band.low <= frequency < band.high)
    return SubBandUse(
        low=band.low,
        high=band.high,
        limit=band.duty_cycle,
        used=round(used_us / band.hourly_airtime_us, 4),
        used_s=used_us / 1e6,
        left_s=max(0, band.hourly_airtime_us - used_us) / 1e6,
    )
