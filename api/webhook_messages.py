"""The messages that we post to endpoints, as the section "webhooks" of the OpenAPI document shows them."""

from datetime import datetime
from typing import Literal

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from pydantic import ConfigDict, Field

from alerting.proof import TO_ANSWER
from alerting.rules.model import Severity
from alerting.rules.sensor_health import CauseName
from api.fields import Answer, example

SIGNED = (
    "Signé comme le veut Standard Webhooks : `webhook-id` (le même à chaque essai : ce qui a déjà été reçu "
    "s'y reconnaît), `webhook-timestamp`, `webhook-signature` (deux signatures pendant un changement de secret). "
    "Répondez 2xx en moins de dix secondes ; `Retry-After` est suivi. Un premier 410 est réessayé, un second, un "
    "jour plus tard, suspend l'adresse."
)
OPENED = {
    "type": "alert.opened",
    "timestamp": "2026-11-25T06:05:00Z",
    "data": {
        "alert": 7,
        "tenant": "brest",
        "rule": "bin_75",
        "severity": "major",
        "message": "Bac 12 (3 rue de Siam, Brest) : rempli à 92 % depuis le 25/11/2026 à 6 h 05 (seuil 75 %), "
        "à collecter.",
        "asset": {
            "id": 12,
            "kind": "waste_container",
            "name": "Bac 12",
            "street": "3 rue de Siam",
            "commune": "Brest",
        },
        "device": "em400-12",
        "gateway": None,
        "value": 92.0,
        "unit": "%",
        "threshold": 75.0,
        "since": "2026-11-25T05:05:00Z",
        "occurrences": 1,
        "link": "https://territoire.collectivite.fr/v1/alerts/7",
        "sequence": 1,
    },
}
SENSOR_HEALTH = {
    "type": "team.sensor_health",
    "timestamp": "2026-11-30T06:30:00Z",
    "data": {
        "tenant": "brest",
        "team": "Voirie",
        "message": "Santé des capteurs de la semaine : 1 capteur sur 88 à voir (muet : 1).",
        "sensors": 88,
        "count": 1,
        "more": 0,
        "causes": {"silent": 1},
        "lines": ["Bac 12 (Brest), em400-12 : muet depuis 5 h, attendu toutes les 60 min"],
        "items": [{"dev_eui": "70b3d57ed0001234", "asset": 12, "causes": ["silent"]}],
    },
}
REPORT = {
    "type": "team.report",
    "timestamp": "2026-11-02T06:30:00Z",
    "data": {
        "tenant": "brest",
        "team": "Élus",
        "message": "Rapport d’octobre 2026 : Landerneau.",
        "month": "2026-10",
        "service": "all",
        "lines": ["Bâtiments et eau, électricité : 372 kWh, +20 % sur un an"],
        "more": 0,
        "link": "https://territoire.collectivite.fr/rapports/42",
        "reports": [42],
    },
}
DIGEST = {
    "type": "team.digest",
    "timestamp": "2026-11-26T06:30:00Z",
    "data": {
        "tenant": "brest",
        "team": "Voirie",
        "message": "1 alerte en attente pour l'équipe Voirie, dont 1 déjà terminée.",
        "count": 1,
        "more": 0,
        "alerts": [
            {
                "alert": 7,
                "severity": "major",
                "message": "Bac 12 (3 rue de Siam, Brest) : fin d'alerte, le bac a été vidé (4 %).",
                "at": "2026-11-26T04:10:00Z",
                "is_over": True,
                "link": "https://territoire.collectivite.fr/v1/alerts/7",
            }
        ],
    },
}
WARNING = {
    "type": "endpoint.gone",
    "timestamp": "2026-11-25T18:00:00Z",
    "data": {
        "severity": "warning",
        "message": "L'adresse n° 3 (https://si.collectivite.fr/alertes) a répondu 410 (disparue) : ses messages "
        "sont réessayés ; si elle le répète dans un jour, elle sera suspendue.",
        "endpoint": 3,
    },
}
WORK_ORDER = {
    "type": "work_order.closed",
    "timestamp": "2026-11-28T09:40:00Z",
    "data": {
        "work_order": 12,
        "tenant": "brest",
        "message": "Intervention n° 12, faite : Armoire 12 : l'éclairage devait revenir et rien ne le prouve",
        "action": "done",
        "state": "done",
        "origin": "lighting",
        "priority": "high",
        "title": "Armoire 12 : l'éclairage devait revenir et rien ne le prouve",
        "description": "Armoire 12 : l'éclairage devait revenir et rien ne le prouve : aucune relecture.",
        "team": "Éclairage",
        "assignee": "M. Le Goff",
        "due_at": "2026-11-28T17:00:00Z",
        "external_reference": "OT-2026-0042",
        "resolution": "Disjoncteur remplacé, rue rallumée.",
        "comment": "Disjoncteur remplacé, rue rallumée.",
        "by": "M. Le Goff",
        "event_source": None,
        "asset_ids": [42],
        "alert_ids": [7],
        "campaign_id": None,
        "asset": "Armoire 12",
        "street": "3 rue de Siam",
        "commune": "Brest",
        "latitude": 48.39,
        "longitude": -4.49,
        "sequence": 3,
        "link": "https://territoire.collectivite.fr/interventions/12",
    },
}
TEST = {
    "type": "webhook.test",
    "timestamp": "2026-11-25T18:00:00Z",
    "data": {
        "message": "Essai demandé depuis Territoire : cette adresse reçoit les messages. Il n'y a rien à faire."
    },
}


CHALLENGE = {
    "type": "webhook.challenge",
    "timestamp": "2026-11-25T18:00:00Z",
    "data": {
        "challenge": "pZ3vT0dW6q1cXyNqk8R2mJhB4uAeLs7f",
        "message": TO_ANSWER,
    },
}


class SentModel(Answer):
    """What is sent has these fields and no others."""

    model_config = ConfigDict(extra="forbid")


class ToldAsset(SentModel):
    """L'actif concerné."""

    id: int
    kind: str
    name: str
    street: str
    commune: str


class EarlierState(SentModel):
    """Un état de l'alerte dont le message n'a pas été pris : le suivant l'a remplacé."""

    id: str = Field(description="Le `webhook-id` qu'aurait eu son message")
    type: str
    timestamp: datetime
    sequence: int
    severity: Severity
    message: str


class AlertData(SentModel):
    """L'alerte, au moment du message."""

    alert: int
    tenant: str = Field(description="Identifiant de la collectivité")
    rule: str
    severity: Severity
    message: str = Field(description="Ce qu'il y a à lire, en français")
    asset: ToldAsset | None
    device: str | None
    gateway: str | None
    value: float | None
    unit: str | None
    threshold: float | None
    since: datetime
    occurrences: int
    link: str
    learnt_at: datetime | None = Field(None, description="Appris tard : quand nous l'avons su")
    cause: str | None = Field(None, description="Pourquoi elle est finie ; de `alert.resolved` seulement")
    rung: int | None = Field(None, description="L'échelon appelé ; de `alert.escalated` seulement")
    sequence: int = Field(
        description="Le rang du message dans son alerte, à partir de 1 ; aussi dans l'en-tête `webhook-sequence`"
    )
    story: list[EarlierState] = Field(
        default_factory=list[EarlierState],
        description="Les états d'avant que cette adresse n'a pas pris, le plus ancien d'abord ; absent : aucun",
    )


class AlertMessage(SentModel):
    """Une alerte s'ouvre, se rouvre, s'aggrave, finit, va et vient, est résumée, ou n'est prise par personne."""

    model_config = example(OPENED)

    type: Literal[
        "alert.opened",
        "alert.reopened",
        "alert.raised",
        "alert.resolved",
        "alert.flapping",
        "alert.digest",
        "alert.escalated",
    ]
    timestamp: datetime
    data: AlertData


class DigestLine(SentModel):
    """Une alerte du résumé."""

    alert: int
    severity: Severity
    message: str
    at: datetime
    is_over: bool
    link: str


class DigestData(SentModel):
    """Ce qui a attendu, le plus grave d'abord."""

    tenant: str
    team: str
    message: str
    count: int
    more: int = Field(description="Combien d'autres ne tiennent pas dans le message")
    alerts: list[DigestLine]


class DigestMessage(SentModel):
    """Le résumé d'une équipe, après ses heures calmes."""

    model_config = example(DIGEST)

    type: Literal["team.digest"]
    timestamp: datetime
    data: DigestData


class IllSensor(SentModel):
    """Un capteur qui va mal."""

    dev_eui: str
    asset: int | None
    causes: list[CauseName]


class SensorHealthData(SentModel):
    """Les capteurs qui vont mal, le plus grave d'abord."""

    tenant: str
    team: str
    message: str
    sensors: int = Field(description="Capteurs en service")
    count: int = Field(description="Dont ceux qui vont mal")
    more: int = Field(description="Combien d'autres ne tiennent pas dans le message")
    causes: dict[CauseName, int]
    lines: list[str] = Field(description="Une phrase par capteur")
    items: list[IllSensor]


class SensorHealthMessage(SentModel):
    """La santé des capteurs, une fois par semaine, à l'équipe qui la demande."""

    model_config = example(SENSOR_HEALTH)

    type: Literal["team.sensor_health"]
    timestamp: datetime
    data: SensorHealthData


class ReportData(SentModel):
    """Les rapports d'un mois."""

    tenant: str
    team: str
    message: str
    month: str = Field(description="Le mois, fini", examples=["2026-10"])
    service: Literal["all", "waste", "buildings", "lighting", "network", "cost"]
    lines: list[str] = Field(description="D'un seul rapport ce qui est à retenir ; de plusieurs leurs communes")
    more: int = Field(description="Combien d'autres ne tiennent pas dans le message")
    link: str
    reports: list[int] = Field(description="`GET /v1/reports/{id}`, et son PDF")


class ReportMessage(SentModel):
    """Les rapports mensuels, le 2 du mois, à l'équipe qui les reçoit ; un courrier porte les PDF."""

    model_config = example(REPORT)

    type: Literal["team.report"]
    timestamp: datetime
    data: ReportData


class WorkOrderData(SentModel):
    """L'intervention, telle qu'elle est quand le message est fait."""

    work_order: int
    tenant: str = Field(description="Identifiant de la collectivité")
    message: str = Field(description="Ce qu'il y a à lire, en français")
    action: str = Field(description="Ce qui vient d'être fait ; `action` de son historique")
    state: Literal["open", "assigned", "in_progress", "done", "cancelled"]
    origin: Literal["person", "rule", "lighting"]
    priority: Literal["low", "normal", "high", "urgent"]
    title: str
    description: str
    team: str | None
    assignee: str | None
    due_at: datetime | None
    external_reference: str | None
    resolution: str
    comment: str = Field(description="La remarque de ce changement")
    by: str | None = Field(description="Qui l'a fait ; null : la plateforme")
    event_source: int | None = Field(description="La source qui l'a rapporté : ignorez ce que vous avez envoyé")
    asset_ids: list[int]
    alert_ids: list[int]
    campaign_id: int | None
    asset: str | None = Field(description="Le nom du premier de ses actifs")
    street: str
    commune: str
    latitude: float | None
    longitude: float | None
    sequence: int = Field(
        description="Le rang du changement dans son intervention : ne prenez pas un état plus ancien"
    )
    link: str


class WorkOrderMessage(SentModel):
    """Une intervention est ouverte, change ou est finie. Aux adresses `standard` et `cloudevents` seulement."""

    model_config = example(WORK_ORDER)

    type: Literal["work_order.opened", "work_order.changed", "work_order.closed"]
    timestamp: datetime
    data: WorkOrderData


class WarningData(SentModel):
    """Ce qui ne va pas dans l'envoi."""

    severity: Severity
    message: str
    endpoint: int | None = Field(None, description="L'adresse en cause ; pas de `operator.…`")
    tenant: str | None = Field(None, description="La collectivité ; de `operator.…` seulement")
    count: int | None = Field(None, description="Combien d'alertes ; de `operator.…` seulement")


class DeliveryWarning(SentModel):
    """Une adresse a disparu, un webhook de mesures est en retard ou arrêté, des alertes n'ont prévenu personne."""

    model_config = example(WARNING)

    type: Literal[
        "endpoint.gone",
        "endpoint.suspended",
        "operator.nobody_notified",
        "measurement_webhook.late",
        "measurement_webhook.stopped",
    ]
    timestamp: datetime
    data: WarningData


class AddressTestData(SentModel):
    """Rien à faire."""

    message: str


class AddressTest(SentModel):
    """Un essai, demandé par `/test`."""

    model_config = example(TEST)

    type: Literal["webhook.test"]
    timestamp: datetime
    data: AddressTestData


class ChallengeData(SentModel):
    """Le défi, à rendre tel quel."""

    challenge: str
    message: str


class AddressChallenge(SentModel):
    """Le défi d'une adresse `standard` : elle ne reçoit rien d'autre tant qu'elle n'y a pas répondu."""

    model_config = example(CHALLENGE)

    type: Literal["webhook.challenge"]
    timestamp: datetime
    data: ChallengeData


class ChallengeReturned(SentModel):
    """La réponse attendue."""

    challenge: str = Field(
        description="`data.challenge` du message", examples=["pZ3vT0dW6q1cXyNqk8R2mJhB4uAeLs7f"]
    )


messages = APIRouter(tags=["webhooks"], default_response_class=Response)


@messages.post(
    "alert", operation_id="receiveAlert", status_code=204, summary="Ce qui arrive à une alerte", description=SIGNED
)
def alert(message: AlertMessage) -> None:
    """Described, never called."""


@messages.post(
    "team.digest",
    operation_id="receiveTeamDigest",
    status_code=204,
    summary="Le résumé d'une équipe",
    description=SIGNED,
)
def digest(message: DigestMessage) -> None:
    """Described, never called."""


@messages.post(
    "team.sensor_health",
    operation_id="receiveSensorHealth",
    status_code=204,
    summary="La santé des capteurs de la semaine",
    description=SIGNED,
)
def sensor_health(message: SensorHealthMessage) -> None:
    """Described, never called."""


@messages.post(
    "team.report",
    operation_id="receiveReport",
    status_code=204,
    summary="Les rapports mensuels",
    description=SIGNED,
)
def report(message: ReportMessage) -> None:
    """Described, never called."""


@messages.post(
    "work_order",
    operation_id="receiveWorkOrder",
    status_code=204,
    summary="Ce qui arrive à une intervention",
    description=SIGNED,
)
def work_order(message: WorkOrderMessage) -> None:
    """Described, never called."""


@messages.post(
    "delivery.warning",
    operation_id="receiveDeliveryWarning",
    status_code=204,
    summary="Un avertissement sur l'envoi",
    description=SIGNED,
)
def warning(message: DeliveryWarning) -> None:
    """Described, never called."""


@messages.post(
    "webhook.test", operation_id="receiveWebhookTest", status_code=204, summary="Un essai", description=SIGNED
)
def test(message: AddressTest) -> None:
    """Described, never called."""


@messages.post(
    "webhook.challenge",
    operation_id="receiveWebhookChallenge",
    summary="Le défi d'une adresse",
    description=f"{SIGNED} Une adresse `cloudevents` reçoit à la place `OPTIONS`, avec `WebHook-Request-Origin`.",
    response_class=JSONResponse,
)
def challenge(message: AddressChallenge) -> ChallengeReturned:  # pyright: ignore[reportReturnType]
    """Described, never called."""
