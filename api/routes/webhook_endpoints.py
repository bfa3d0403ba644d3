"""Webhook endpoints: where a tenant's events go, signed (Standard Webhooks)."""

import math
from datetime import datetime
from functools import partial
from typing import Annotated, Literal, Self

from fastapi import APIRouter, Query, Response
from pydantic import Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from alerting import proof, store
from alerting.addresses import shown_url
from alerting.message_formats import EMAIL
from api.auth import Change, Manager, NetworkOperator, Reader
from api.fields import Answer, Body, Id, Patch, Text, answer_of, example
from api.pages import Cursor, Limit, Page, cursor_id, page_of
from api.resources import Resource
from core.runtime.http.errors import PROBLEM_RESPONSES, Problem, invalid

router = APIRouter(prefix="/v1/webhook-endpoints", tags=["webhooks"], responses=PROBLEM_RESPONSES)


Url = Annotated[str, StringConstraints(min_length=1, max_length=2000)]


class NewWebhookEndpoint(Body):
    """Une adresse qui reçoit les événements."""

    model_config = example({"url": "https://si.collectivite.fr/territoire", "description": "Gestion des tournées"})

    url: Url = Field(
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
    purpose: Literal["events", "measurements"] = Field(
        "events",
        description="events : alertes, interventions, résumés ; measurements : les lots des webhooks de mesures "
        "(/v1/measurement-webhooks), et rien d'autre ; de forme standard ou cloudevents",
    )

    @model_validator(mode="after")
    def _is_of_software(self) -> Self:
        if self.purpose == store.MEASUREMENTS and not proof.answers_by_itself(self.form):
            raise PydanticCustomError(
                "form", "des mesures vont à un logiciel : form doit être standard ou cloudevents"
            )
        return self


class WebhookEndpointPatch(Patch):
    """Suspendre l'envoi, le reprendre, ou envoyer ailleurs."""

    model_config = example({"enabled": False})

    enabled: bool | None = Field(None, description="false suspend, true reprend")
    url: Url | None = Field(
        None, description="Une autre adresse de la même forme, à prouver de nouveau ; pas celle d'un courrier"
    )

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.enabled is None and self.url is None:
            raise PydanticCustomError("nothing", "enabled ou url attendu")
        return self


class CodeBody(Body):
    """Le code qu'une personne a lu."""

    model_config = example({"code": "4821 9930"})

    code: Annotated[str, StringConstraints(pattern=r"^ *([0-9] *){8}$")] = Field(
        description="Les huit chiffres du message, espaces permis", examples=["4821 9930"]
    )


class ChallengeAnswer(Answer):
    """Le message qui part pour prouver l'adresse."""

    message_id: str = Field(
        description="Son résultat : /attempts?message_id=…", examples=["proof_0123456789abcdef"]
    )


class OperatorBody(Body):
    """Faire d'une adresse celle de l'exploitant."""

    model_config = example({"for_operator": True})

    for_operator: bool = Field(description="true : elle reçoit les avertissements, et aucune alerte")


def to_do(form: str, state: str) -> str | None:
    """What is left to do until an endpoint receives, in French; None: nothing."""
    if state != "unproved":
        return None
    if proof.answers_by_itself(form):
        return "elle doit répondre au défi qui lui est envoyé ; un nouveau : POST …/challenge"
    return "saisissez le code qui y est arrivé (POST …/proof) ; un nouveau : POST …/challenge"


class WebhookEndpointAnswer(answer_of(store.Endpoint, {"tenant_id"})):
    """Une adresse, sans son secret."""

    url: str = Field(
        description="mailto: … pour une adresse de courrier, faite par un contact d'équipe. D'un salon, d'une "
        "adresse avec « ? » ou avec une suite tirée au hasard, l'hôte seulement : qui la connaît entière peut "
        "y écrire ; elle est scellée au repos, et ne se relit pas"
    )
    form: str = Field(examples=["standard"])
    purpose: Literal["events", "measurements"]
    state: str = Field(
        description="enabled, disabled (suspendue), ou unproved : non prouvée, elle ne reçoit rien encore",
        examples=["enabled"],
    )
    proved_at: datetime | None = Field(description="Depuis quand elle est prouvée ; null : elle ne l'est pas")
    proof_until: datetime | None = Field(description="Jusque-là valent le défi ou le code envoyés en dernier")
    to_do: str | None = Field(None, description="Ce qu'il reste à faire pour qu'elle reçoive ; null : rien")
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
        self.to_do = to_do(self.form, self.state)
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


@router.post("", operation_id="createWebhookEndpoint", status_code=201, summary="Ajouter une adresse de webhook")
async def create_endpoint(body: NewWebhookEndpoint, caller: Manager) -> CreatedWebhookEndpoint:
    """Ajouter une adresse. Le secret n'est montré que dans cette réponse.

    Elle est `unproved` et ne reçoit rien tant qu'elle n'est pas prouvée. Une adresse `standard` reçoit un message
    `webhook.challenge` et répond 200 avec `{"challenge": …}` du message ; une adresse `cloudevents` répond à
    `OPTIONS` par `WebHook-Allowed-Origin` ([HTTP 1.1 Web Hooks](https://github.com/cloudevents/spec), section 4) ;
    dans un salon arrive un code, à saisir (`/proof`). Le défi est réessayé une journée ; `/challenge` en envoie un
    autre.

    Essayez-la ensuite (`/test`, puis `/attempts`). Une adresse interne est refusée à l'envoi tant que
    l'exploitant du réseau ne l'a pas autorisée (`PUT /v1/tenants/{id}/webhook-allow-list`). Les messages sont
    décrits à la section « webhooks » du document OpenAPI ; ils se vérifient avec ce secret et une bibliothèque
    [Standard Webhooks](https://www.standardwebhooks.com).
    """
    async with caller.changing() as change:
        try:
            endpoint, secret = await store.create_endpoint(
                change.connection,
                caller.platform.keys,
                change.tenant_id,
                body.url,
                body.description,
                body.form,
                body.purpose,
            )
        except store.RejectedUrl as refused:
            raise invalid("url", "refused_url", str(refused)) from None
        await begin_proof(change, endpoint.id, body.form)
        endpoint = await ENDPOINTS.get(change.connection, endpoint.id)
        shown = WebhookEndpointAnswer.model_validate(endpoint)
        await change.audit("create", "webhook_endpoint", endpoint.id, after=shown)
    return CreatedWebhookEndpoint(**shown.model_dump(), secret=secret)


@router.get("", operation_id="listWebhookEndpoints", summary="Lister les adresses de webhook")
async def list_endpoints(caller: Reader) -> Page[WebhookEndpointAnswer]:
    """Les adresses de la collectivité."""
    return await ENDPOINTS.list(caller, store.list_endpoints)


@router.get("/{id}", operation_id="getWebhookEndpoint", summary="Lire une adresse de webhook")
async def read_endpoint(id: Id, caller: Reader) -> WebhookEndpointAnswer:
    """Une adresse."""
    return await ENDPOINTS.read(caller, id)


@router.patch(
    "/{id}",
    operation_id="updateWebhookEndpoint",
    summary="Suspendre, reprendre ou déplacer une adresse de webhook",
)
async def update_endpoint(id: Id, body: WebhookEndpointPatch, caller: Manager) -> WebhookEndpointAnswer:
    """Suspendre ou reprendre l'envoi vers une adresse, ou la changer.

    Changée, elle est à prouver de nouveau ; ce qui attendait l'ancienne devient des messages abandonnés.

    Ce qui attendait devient des messages abandonnés, à renvoyer une fois l'envoi repris (`/dead-letters`).
    Ce qui arrive pendant la suspension va aux autres adresses, et n'est pas envoyé ici ensuite.
    """
    if not body.model_fields_set:
        raise Problem(422, "rien à changer : enabled ou url attendu")
    if body.url is None:
        return await ENDPOINTS.switch(caller, id, store.set_endpoint_enabled, enabled=body.enabled is True)
    async with caller.changing() as change:
        known = await ENDPOINTS.get(change.connection, id)
        if known.form == EMAIL:
            raise Problem(409, "une adresse de courrier ne se change pas : ajoutez un contact, retirez l'ancien")
        if body.enabled is not None:
            await store.set_endpoint_enabled(change.connection, id, enabled=body.enabled)
        try:
            await store.set_url(change.connection, caller.platform.keys, id, known.form, body.url)
        except store.RejectedUrl as rejected:
            raise invalid("url", "refused_url", str(rejected)) from None
        if (await ENDPOINTS.get(change.connection, id)).state == "unproved":
            await begin_proof(change, id, known.form)
        noted = {"url": shown_url(known.form, body.url), "enabled": body.enabled}
        shown = ENDPOINTS.show(await ENDPOINTS.get(change.connection, id))
        await change.audit("update", "webhook_endpoint", id, noted, before=ENDPOINTS.show(known), after=shown)
        return shown


@router.post(
    "/{id}/challenge",
    operation_id="challengeWebhookEndpoint",
    status_code=202,
    summary="Envoyer un nouveau défi ou un nouveau code",
)
async def send_challenge(id: Id, caller: Manager) -> ChallengeAnswer:
    """Envoyer de nouveau de quoi prouver une adresse ; le défi ou le code d'avant ne vaut plus."""
    async with caller.changing() as change:
        endpoint = await ENDPOINTS.get(change.connection, id)
        if endpoint.state != "unproved":
            raise Problem(409, "il n'y a rien à prouver : l'adresse l'est, ou elle est suspendue")
        message_id = await begin_proof(change, id, endpoint.form)
        former, shown = ENDPOINTS.show(endpoint), ENDPOINTS.show(await ENDPOINTS.get(change.connection, id))
        noted = {"message_id": message_id}
        await change.audit("challenge", "webhook_endpoint", id, noted, before=former, after=shown)
    return ChallengeAnswer(message_id=message_id or "")


@router.post("/{id}/proof", operation_id="proveWebhookEndpoint", summary="Prouver une adresse par son code")
async def prove_endpoint(id: Id, body: CodeBody, caller: Manager) -> WebhookEndpointAnswer:
    """Saisir le code qui est arrivé à l'adresse, dans un salon ou par courrier : elle reçoit dès lors les alertes.

    Cinq erreurs, ou un jour, et il en faut un autre (`/challenge`).
    """
    async with caller.changing() as change:
        endpoint = await ENDPOINTS.get(change.connection, id)
        if proof.answers_by_itself(endpoint.form):
            raise Problem(409, "cette adresse répond elle-même au défi : aucun code ne la prouve")
        entered = await proof.enter_code(change.connection, id, body.code.replace(" ", ""))
        former, shown = ENDPOINTS.show(endpoint), ENDPOINTS.show(await ENDPOINTS.get(change.connection, id))
        await change.audit("prove", "webhook_endpoint", id, {"outcome": entered}, before=former, after=shown)
    if entered is None:
        raise Problem(409, "il n'y a rien à prouver : l'adresse l'est, ou elle est suspendue")
    if entered is proof.Entered.OVER:
        raise Problem(409, "ce code ne vaut plus : demandez-en un autre (POST …/challenge)")
    if entered is proof.Entered.WRONG:
        raise Problem(409, "ce n'est pas le code qui a été envoyé")
    return shown


async def require_probe(change: Change, endpoint_id: int) -> None:
    """Count a test, a challenge or a code; raises 429 when there were too many lately."""
    wait_s = math.ceil(await proof.wait_s(change.connection, endpoint_id))
    if wait_s > 0:
        raise Problem(
            429,
            f"trop d'essais, de défis et de codes : le prochain dans {wait_s} s",
            headers={"Retry-After": str(wait_s)},
        )


async def begin_proof(change: Change, endpoint_id: int, form: str) -> str | None:
    """Send a challenge or a code; raises 429 when there were too many lately."""
    await require_probe(change, endpoint_id)
    return await proof.begin(change.connection, endpoint_id, form)


@router.put(
    "/{id}/operator",
    operation_id="setWebhookEndpointOperator",
    summary="Faire d'une adresse celle de l'exploitant",
)
async def set_for_operator(id: Id, body: OperatorBody, caller: NetworkOperator) -> WebhookEndpointAnswer:
    """Dire, en exploitant du réseau, que cette adresse est la sienne.

    Elle est avertie quand une alerte d'une collectivité ne prévient personne, faute d'adresse en service.
    """
    change = partial(store.set_for_operator, for_operator=body.for_operator)
    return await ENDPOINTS.change(caller, id, change)


@router.delete(
    "/{id}", operation_id="deleteWebhookEndpoint", status_code=204, summary="Retirer une adresse de webhook"
)
async def delete_endpoint(id: Id, caller: Manager) -> Response:
    """Retirer une adresse, avec ce qui attend d'y être envoyé."""
    return await ENDPOINTS.delete(caller, id, store.delete_endpoint)


@router.get(
    "/{id}/attempts", operation_id="listWebhookAttempts", summary="Lister les essais d'envoi vers une adresse"
)
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
