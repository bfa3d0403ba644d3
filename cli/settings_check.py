"""Checks the services' settings on this machine before anything is started."""

import os
from collections.abc import Iterable, Mapping

from pydantic_settings import BaseSettings

from core.runtime import settings
from services.alerting.settings import AlertingSettings
from services.api.settings import ApiSettings
from services.gateway_bridge.settings import Settings as BridgeSettings
from services.indicators.settings import IndicatorsSettings
from services.ingest.settings import IngestSettings
from services.intake.settings import IntakeSettings
from services.maintenance.settings import MaintenanceSettings
from services.network.settings import NetworkSettings

CLASSES: Mapping[str, type[BaseSettings]] = {
    "gateway_bridge": BridgeSettings,
    "network": NetworkSettings,
    "intake": IntakeSettings,
    "ingest": IngestSettings,
    "alerting": AlertingSettings,
    "lighting": settings.ServiceSettings,
    "maintenance": MaintenanceSettings,
    "indicators": IndicatorsSettings,
    "api": ApiSettings,
}
# What the stack gives its services whatever the operator wrote; the addresses are not known yet.
THE_STACK_S = {
    "TERRITOIRE_DATABASE_URL": "postgresql://127.0.0.1/territoire",
    "TERRITOIRE_NATS_URL": "nats://127.0.0.1",
    "TERRITOIRE_KEK": "00" * 32,
    "TERRITOIRE_KEK_ID": "kek-1",
    "TERRITOIRE_HEALTH_PORT": "0",
    **{f"TERRITOIRE_{name}_PORT": "0" for name in ("UDP", "STATION", "INTAKE", "API")},
}


def wrong_settings(
    services: Iterable[str], written: Mapping[str, str] = os.environ
) -> list[tuple[settings.WrongSetting, str]]:
    """Each wrong setting, and a line in French that has the services that it would stop."""
    return settings.wrong_settings({name: CLASSES[name] for name in services}, {**written, **THE_STACK_S})
