"""Webhook endpoints: where a tenant's events go, signed (Standard Webhooks)."""

from datetime import datetime
from functools import partial
from typing import Annotated, Literal, Self

from fastapi import APIRouter, Query, Response
from pydantic import Field, StringConstraints, model_validator

from alerting import store
from alerting.addresses import shown_url
from api.auth import Manager, NetworkOperator, Reader
from api.fields import Body, Id, Text, answer_of, example
from api.pages import Cursor, Limit, Page, cursor_id, page_of
from api.resources import Resource
from core.runtime.http.errors import PROBLEM_RESPONSES, invalid

router = APIRouter(prefix="/v1/webhook-endpoints", tags=["Webhooks"], responses=PROBLEM_RESPONSES)


class NewWebhookEndpoint(Body):
    """Une adresse qui reçoit les événements."""

    model_config = example({"url": "https://si.collectivite.fr/territoire", "description": "Gestion des tournées"})

    url: Annotated[str, StringConstraints(min_length=1, max_length=2000)] = Field(
        description="Adresse (https, ou http) qui reçoit les événements en POST ; scellée au repos si elle vaut "
        "un mot de passe (salon, « ? », suite tirée au hasard)",
        examples=["https://si.collectivite.fr/territoire"],
    )
    description: Text = Field("", examples=["Gestion des tournées"])
    form: Literal["standard", "cloudevents", "chat", "teams"] = Field(
        "standard",
        description="standard (Standard Webhooks), cloudevents (JSON structuré, signé de même), "
        "chat (webhook entrant de Mattermost ou Slack), teams (flux de travail de Microsoft Teams)",
    )


class WebhookEndpointPatch(Body):
    """Suspendre l'envoi, ou le reprendre."""

    model_config = example({"enabled": False})

    enabled: bool = Field(description="false suspend, true reprend")


class OperatorBody(Body):
    """Faire d'une adresse celle de l'exploitant."""

    model_config = example({"for_operator": True})

    for_operator: bool = Field(description="true : elle reçoit les avertissements, et aucune alerte")


class WebhookEndpointAnswer(answer_of(store.Endpoint, {"tenant_id"})):
    """Une adresse, sans son secret."""

    url: str = Field(
        description="mailto: … pour une adresse de courrier, faite par un contact d'équipe. D'un salon, d'une "
        "adresse avec « ? » ou avec une suite tirée au hasard, l'hôte seulement : qui la connaît entière peut "
        "y écrire ; elle est scellée au repos, et ne se relit pas"
    )
    form: str = Field(examples=["standard"])
    state: str = Field(examples=["enabled"])
    previous_until: datetime | None = Field(description="Jusque-là, l'ancien secret signe aussi")
    for_operator: bool = Field(
        description="De l'exploitant du réseau : avertie des alertes qui ne préviennent personne, d'aucune alerte"
    )
    gone_at: datetime | None = Field(
        description="Première réponse 410 depuis le dernier envoi réussi ; un jour plus tard, une autre la suspend"
    )

    @model_validator(mode="after")
    def _keep_the_rest(self) -> Self:
        self.url = shown_url(self.form, self.url)
        return self


class CreatedWebhookEndpoint(WebhookEndpointAnswer):
    """Une adresse et son secret de signature, montré cette seule fois."""

    secret: str = Field(examples=["whsec_…"])


class AttemptAnswer(answer_of(store.Attempt, {"tenant_id", "endpoint_id"})):
    """Un essai d'envoi."""

    alert_id: int = Field(description="0 : un essai d'adresse, ou un message sur plusieurs alertes")
    outcome: str = Field(examples=["delivered"])
    answer: str = Field(description="Le premier ko de la réponse, ou ce qui a manqué")
    next_at: datetime | None = Field(description="Prochain essai prévu ; null : aucun")
    trace_id: str | None = Field(
        description="La trace de la trame qui en est la cause, telle que les journaux et `traceparent` la disent"
    )


ENDPOINTS = Resource("webhook_endpoint", "adresse", store.read_endpoint, WebhookEndpointAnswer.model_validate)


@router.post("", status_code=201, summary="Ajouter une adresse de webhook")
async def create_endpoint(body: NewWebhookEndpoint, caller: Manager) -> CreatedWebhookEndpoint:
    """Ajouter une adresse. Le secret n'est montré que dans cette réponse.

    Essayez-la ensuite (`/test`, puis `/attempts`). Une adresse interne est refusée à l'envoi tant que
    l'exploitant du réseau ne l'a pas autorisée (`PUT /v1/tenants/{id}/webhook-allow-list`). Les messages sont
    décrits à la section « webhooks » du document OpenAPI ; ils se vérifient avec ce secret et une bibliothèque
    [Standard Webhooks](https://www.standardwebhooks.com).
    """
    async with caller.changing() as change:
        try:
            endpoint, secret = await store.create_endpoint(
                change.connection, caller.platform.keys, change.tenant_id, body.url, body.description, body.form
            )
        except store.RejectedUrl as refused:
            raise invalid("url", "refused_url", str(refused)) from None
        shown = WebhookEndpointAnswer.model_validate(endpoint)
        await change.audit("create", "webhook_endpoint", endpoint.id, after=shown)
    return CreatedWebhookEndpoint(**shown.model_dump(), secret=secret)


@router.get("", summary="Lister les adresses de webhook")
async def list_endpoints(caller: Reader) -> Page[WebhookEndpointAnswer]:
    """Les adresses de la collectivité."""
    return await ENDPOINTS.list(caller, store.list_endpoints)


@router.get("/{id}", summary="Lire une adresse de webhook")
async def read_endpoint(id: Id, caller: Reader) -> WebhookEndpointAnswer:
    """Une adresse."""
    return await ENDPOINTS.read(caller, id)


@router.patch("/{id}", summary="Suspendre ou reprendre une adresse de webhook")
async def update_endpoint(id: Id, body: WebhookEndpointPatch, caller: Manager) -> WebhookEndpointAnswer:
    """Suspendre ou reprendre l'envoi vers une adresse.

    Ce qui attendait devient des messages abandonnés, à renvoyer une fois l'envoi repris (`/dead-letters`).
    Ce qui arrive pendant la suspension va aux autres adresses, et n'est pas envoyé ici ensuite.
    """
    return await ENDPOINTS.switch(caller, id, store.set_endpoint_enabled, enabled=body.enabled)


@router.put("/{id}/operator", summary="Faire d'une adresse celle de l'exploitant")
async def set_for_operator(id: Id, body: OperatorBody, caller: NetworkOperator) -> WebhookEndpointAnswer:
    """Dire, en exploitant du réseau, que cette adresse est la sienne.

    Elle est avertie quand une alerte d'une collectivité ne prévient personne, faute d'adresse en service.
    """
    change = partial(store.set_for_operator, for_operator=body.for_operator)
    return await ENDPOINTS.change(caller, id, change)


@router.delete("/{id}", status_code=204, summary="Retirer une adresse de webhook")
async def delete_endpoint(id: Id, caller: Manager) -> Response:
    """Retirer une adresse, avec ce qui attend d'y être envoyé."""
    return await ENDPOINTS.delete(caller, id, store.delete_endpoint)


@router.get("/{id}/attempts", summary="Lister les essais d'envoi vers une adresse")
async def list_attempts(
    id: Id,
    caller: Reader,
    limit: Limit = 100,
    cursor: Cursor = None,
    message_id: Annotated[
        str | None, Query(max_length=100, pattern="^[a-z0-9_]+$", description="Ceux de ce message seulement")
    ] = None,
) -> Page[AttemptAnswer]:
    """Les essais d'envoi vers une adresse, le dernier d'abord."""
    before = cursor_id(cursor)
    async with caller.reading() as connection:
        await ENDPOINTS.get(connection, id)
        rows = await store.list_attempts(connection, id, before=before, most=limit + 1, message_id=message_id)
    return page_of(rows, limit, AttemptAnswer.model_validate)
