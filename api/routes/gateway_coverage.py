"""What a gateway hears: which devices how well, and how much by day."""

from datetime import UTC, datetime, timedelta

from fastapi import APIRouter
from pydantic import Field

from api import coverage_store as store
from api.auth import Reader
from api.fields import Answer, Eui, EuiPath, answer_of
from api.routes.gateways import GATEWAYS
from core.model.region import region_of
from core.runtime.http.errors import PROBLEM_RESPONSES
from registry.tenants import read_with_timezone

router = APIRouter(prefix="/v1/gateways", tags=["gateways"], responses=PROBLEM_RESPONSES)

DEVICES_SINCE, DAYS_SINCE = timedelta(days=1), timedelta(days=30)
DEVICES_MOST = 500


class ReceivedDeviceAnswer(answer_of(store.ReceivedDevice, {"id"})):
    """Un capteur que la passerelle a entendu."""

    dev_eui: Eui
    asset_id: int | None = Field(description="L'actif servi en ce moment")
    receptions: int = Field(description="Trames reçues en 24 heures")
    rssi: float = Field(description="Le plus fort, en dBm")
    snr: float = Field(description="Le meilleur, en dB")


class GatewayDayAnswer(answer_of(store.DayOfGateway)):
    """Un jour local de la passerelle."""

    uplinks: int = Field(description="Trames entendues")
    crc_errors: int = Field(description="Trames reçues avec un CRC faux")


class CoverageAnswer(Answer):
    """Ce qu'une passerelle entend."""

    devices: list[ReceivedDeviceAnswer] = Field(
        description=f"Capteurs visibles entendus en 24 heures, le plus faible d'abord ; {DEVICES_MOST} au plus"
    )
    days: list[GatewayDayAnswer] = Field(description="Trente jours, le dernier d'abord")


@router.get(
    "/{gateway_id}/coverage", operation_id="getGatewayCoverage", summary="Dire ce qu'une passerelle entend"
)
async def read_coverage(gateway_id: EuiPath, caller: Reader) -> CoverageAnswer:
    """Les capteurs entendus en 24 heures, avec RSSI et SNR, et le nombre de trames par jour."""
    now = datetime.now(UTC)
    async with caller.reading() as connection:
        gateway = await GATEWAYS.get(connection, gateway_id)
        tenant, timezone = await read_with_timezone(connection, caller.principal.tenant_id)
        zone = region_of(tenant.department, timezone).zone.key
        received = await store.list_received(connection, gateway.id, now - DEVICES_SINCE, DEVICES_MOST)
        days = await store.list_days(connection, gateway.id, now - DAYS_SINCE, zone)
        await caller.audit_personal(connection, devices=[device.id for device in received])
    return CoverageAnswer(
        devices=[ReceivedDeviceAnswer.model_validate(device) for device in received],
        days=[GatewayDayAnswer.model_validate(day) for day in days],
    )
