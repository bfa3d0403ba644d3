"""The batches that webhooks of measurements post, as the section "webhooks" of the OpenAPI document shows them."""

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from api.fields import example
from api.webhook_messages import SIGNED, SentModel, messages
from registry.changed_measurements import Kind

BATCH: dict[str, Any] = {
    "type": "measurements.changed",
    "timestamp": "2026-11-28T10:00:10Z",
    "data": {
        "measurement_webhook": 4,
        "tenant": "brest",
        "sequence": 42,
        "items": [
            {
                "datastream_id": 118,
                "asset_id": 12,
                "quantity": "fill_level",
                "time": "2026-11-28T10:00:03Z",
                "value": 62.0,
                "flags": [],
                "change": "new",
                "recorded_at": "2026-11-28T10:00:04.125Z",
            }
        ],
        "next": "WyI4ZjNhMTBjMiIsMSw5MTIzNDUsODAxMiwxXQ",
        "has_more": False,
    },
}


class SentChange(SentModel):
    """Un instant d'un flux qui a changé, avec la valeur qui y faisait foi quand le lot a été fait."""

    datastream_id: int
    asset_id: int | None
    quantity: str
    time: datetime
    value: float | None = Field(description="Null : il n'y a plus de mesure de cet instant (`removed`)")
    flags: list[str] = Field(description="suspect, time_suspect, manual, redecoded, corrected")
    change: Kind = Field(description="Comme dans `GET /v1/measurements`")
    recorded_at: datetime = Field(description="Quand le changement a été enregistré")


class BatchData(SentModel):
    """Ce qui a changé depuis le lot d'avant, dans l'ordre."""

    measurement_webhook: int
    tenant: str = Field(description="Identifiant de la collectivité")
    sequence: int = Field(description="Le numéro du lot dans son webhook : un numéro qui manque a été effacé")
    items: list[SentChange]
    next: str = Field(description="Un curseur de `GET /v1/measurements` : ce qui suit ce lot")
    has_more: bool = Field(description="Le lot suivant est déjà plein, ou presque : il part tout de suite")


class MeasurementsMessage(SentModel):
    """Un lot de mesures, à une adresse `standard` ; `cloudevents` reçoit un lot d'événements, un par mesure."""

    model_config = example(BATCH)

    type: Literal["measurements.changed"]
    timestamp: datetime
    data: BatchData


@messages.post(
    "measurements.changed",
    operation_id="receiveMeasurements",
    status_code=204,
    summary="Un lot de mesures",
    description=f"{SIGNED} Un récepteur qui garde les `webhook-id` déjà pris n'enregistre rien deux fois.",
)
def measurements(message: MeasurementsMessage) -> None:
    """Described, never called."""
