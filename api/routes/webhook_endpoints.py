"""Webhook endpoints: where a tenant's events go, signed (Standard Webhooks)."""

from datetime import datetime
from typing import Annotated, Literal, Self

from fastapi import APIRouter, Query, Response
from pydantic import Field, StringConstraints, model_validator

from alerting import store
from api.auth import Manager, Reader
from api.fields import Answer, Body, Id, Text, example
from api.pages import Cursor, Limit, Page, cursor_id, page_of
from core.runtime.http.errors import PROBLEM_RESPONSES, invalid, not_found

router = APIRouter(prefix="/v1/webhook-endpoints", tags=["Webhooks"], responses=PROBLEM_RESPONSES)


class NewWebhookEndpoint(Body):
    """Une adresse qui reçoit les événements."""

    model_config = example({"url": "https://si.collectivite.fr/territoire", "description": "Gestion des tournées"})

    url: Annotated[str, StringConstraints(min_length=1, max_length=2000)] = Field(
        description="Adresse (https, ou http) qui reçoit les événements en POST",
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


class WebhookEndpointAnswer(Answer):
    """Une adresse, sans son secret."""

    id: int
    url: str = Field(
        description="mailto: … pour une adresse de courrier, faite par un contact d'équipe ; d'un salon, l'hôte "
        "seulement : qui connaît l'adresse entière peut y écrire"
    )
    form: str = Field(examples=["standard"])
    description: str
    state: str = Field(examples=["enabled"])
    disabled_reason: str | None
    previous_until: datetime | None = Field(description="Jusque-là, l'ancien secret signe aussi")
    created_at: datetime

    @model_validator(mode="after")
    def _keep_the_rest(self) -> Self:
        self.url = store.shown_url(self.form, self.url)
        return self


class CreatedWebhookEndpoint(WebhookEndpointAnswer):
    """Une adresse et son secret de signature, montré cette seule fois."""

    secret: str = Field(examples=["whsec_…"])


class AttemptAnswer(Answer):
    """Un essai d'envoi."""

    id: int
    message_id: str
    alert_id: int = Field(description="0 : un essai d'adresse, ou un message sur plusieurs alertes")
    attempt: int
    at: datetime
    outcome: str = Field(examples=["delivered"])
    status: int | None
    duration_ms: int
    answer: str = Field(description="Le premier ko de la réponse, ou ce qui a manqué")
    next_at: datetime | None = Field(description="Prochain essai prévu ; null : aucun")
    trace_id: str | None = Field(
        description="La trace de la trame qui en est la cause, telle que les journaux et `traceparent` la disent"
    )


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
        except store.RefusedUrl as refused:
            raise invalid("url", "refused_url", str(refused)) from None
        shown = {"url": store.shown_url(body.form, body.url)}
        await change.audit("create", "webhook_endpoint", endpoint.id, body.model_dump() | shown)
    return CreatedWebhookEndpoint(**WebhookEndpointAnswer.model_validate(endpoint).model_dump(), secret=secret)


@router.get("", summary="Lister les adresses de webhook")
async def list_endpoints(caller: Reader) -> Page[WebhookEndpointAnswer]:
    """Les adresses de la collectivité."""
    async with caller.reading() as connection:
        endpoints = await store.list_endpoints(connection)
    return Page(items=[WebhookEndpointAnswer.model_validate(endpoint) for endpoint in endpoints], next=None)


@router.get("/{id}", summary="Lire une adresse de webhook")
async def read_endpoint(id: Id, caller: Reader) -> WebhookEndpointAnswer:  # noqa: A002 - The path's word.
    """Une adresse."""
    async with caller.reading() as connection:
        endpoint = await store.read_endpoint(connection, id)
    if endpoint is None:
        raise not_found(f"adresse {id}")
    return WebhookEndpointAnswer.model_validate(endpoint)


@router.patch("/{id}", summary="Suspendre ou reprendre une adresse de webhook")
async def update_endpoint(
    id: Id,  # noqa: A002 - The path's word.
    body: WebhookEndpointPatch,
    caller: Manager,
) -> WebhookEndpointAnswer:
    """Suspendre ou reprendre l'envoi vers une adresse.

    Ce qui attendait devient des messages abandonnés, à renvoyer une fois l'envoi repris (`/dead-letters`).
    Ce qui arrive pendant la suspension va aux autres adresses, et n'est pas envoyé ici ensuite.
    """
    async with caller.changing() as change:
        endpoint = await store.set_endpoint_enabled(change.connection, id, enabled=body.enabled)
        if endpoint is None:
            raise not_found(f"adresse {id}")
        await change.audit("update", "webhook_endpoint", id, body.model_dump())
    return WebhookEndpointAnswer.model_validate(endpoint)


@router.delete("/{id}", status_code=204, summary="Retirer une adresse de webhook")
async def delete_endpoint(id: Id, caller: Manager) -> Response:  # noqa: A002 - The path's word.
    """Retirer une adresse, avec ce qui attend d'y être envoyé."""
    async with caller.changing() as change:
        if not await store.delete_endpoint(change.connection, id):
            raise not_found(f"adresse {id}")
        await change.audit("delete", "webhook_endpoint", id)
    return Response(status_code=204)


@router.get("/{id}/attempts", summary="Lister les essais d'envoi vers une adresse")
async def list_attempts(
    id: Id,  # noqa: A002 - The path's word.
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
        if await store.read_endpoint(connection, id) is None:
            raise not_found(f"adresse {id}")
        rows = await store.list_attempts(connection, id, before=before, most=limit + 1, message_id=message_id)
    return page_of(rows, limit, AttemptAnswer.model_validate, lambda attempt: str(attempt.id))
