"""How sending to an endpoint goes: health, dead letters sent again, the test, the rotation of the secret."""

from datetime import UTC, datetime
from typing import Annotated

import msgspec
from fastapi import APIRouter, Response
from pydantic import Field

from alerting import dead_letters, store
from api.auth import Change, Manager, Reader
from api.fields import INT8_MOST, Answer, BigId, Body, Id, answer_of, example
from api.pages import MOST, Cursor, Limit, Page, cursor_id, page_of
from api.rotation import RotationAnswer, RotationBody, rotate
from api.routes.webhook_endpoints import ENDPOINTS, require_probe, to_do
from core.runtime.http.errors import PROBLEM_RESPONSES, Problem, not_found

router = APIRouter(prefix="/v1/webhook-endpoints/{id}", tags=["webhooks"], responses=PROBLEM_RESPONSES)

TEST_TEXT = "Essai demandé depuis Territoire : cette adresse reçoit les messages. Il n'y a rien à faire."


class HealthAnswer(answer_of(dead_letters.Health)):
    """Comment va l'envoi vers une adresse."""

    state: str = Field(
        description="untried, healthy, failing (le dernier essai a échoué), disabled, ou unproved (non prouvée)"
    )
    waiting: int = Field(description="Messages qui attendent")
    dead: int = Field(description="Messages abandonnés, que vous pouvez renvoyer")
    median_ms: int | None = Field(description="Durée médiane d'un envoi réussi sur 24 h")
    delivered_at: datetime | None = Field(description="Dernier envoi réussi")


class DeadLetterAnswer(answer_of(dead_letters.DeadWebhook)):
    """Un message abandonné : tous ses essais ont échoué, ou l'adresse a été suspendue."""

    event: str = Field(examples=["alert.opened"])
    status: int | None = Field(description="Code de la dernière réponse ; null : aucune réponse")


class ReplayBody(Body):
    """Renvoyer des messages abandonnés."""

    model_config = example({"ids": None})

    ids: list[Annotated[int, Field(ge=1, le=INT8_MOST)]] | None = Field(
        None, max_length=MOST, description="Ceux-là ; null ou absent : tous"
    )


class ReplayAnswer(Answer):
    """Combien partent de nouveau."""

    replayed: int


class DiscardAnswer(Answer):
    """Combien ne sont plus là."""

    discarded: int


class TestAnswer(Answer):
    """Le message d'essai qui part."""

    message_id: str = Field(description="Son résultat : /attempts?message_id=…")


@router.get("/health", operation_id="getWebhookHealth", summary="Lire comment va l'envoi vers une adresse")
async def read_health(id: Id, caller: Reader) -> HealthAnswer:
    """Ce qui attend, ce qui a été abandonné, les réussites et les échecs des dernières 24 heures."""
    async with caller.reading() as connection:
        health = await dead_letters.read_health(connection, id)
    if health is None:
        raise not_found(f"adresse {id}")
    return HealthAnswer.model_validate(health)


@router.get("/dead-letters", summary="Lister les messages abandonnés d'une adresse")
async def list_dead_letters(
    id: Id,
    caller: Reader,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page[DeadLetterAnswer]:
    """Les messages abandonnés, le dernier d'abord ; ils restent jusqu'à ce qu'on les renvoie ou les efface.

    Tous leurs essais ont échoué, ou l'adresse a été suspendue pendant qu'ils attendaient.
    """
    before = cursor_id(cursor)
    async with caller.reading() as connection:
        await ENDPOINTS.get(connection, id)
        rows = await dead_letters.list_dead(connection, id, before=before, most=limit + 1)
    return page_of(rows, limit, DeadLetterAnswer.model_validate)


@router.post("/dead-letters/replay", summary="Renvoyer les messages abandonnés d'une adresse")
async def replay_dead_letters(id: Id, body: ReplayBody, caller: Manager) -> ReplayAnswer:
    """Renvoyer tous les messages abandonnés, ou ceux qu'on nomme ; chacun garde son identifiant `webhook-id`."""
    async with caller.changing() as change:
        await _require_enabled(change, id)
        count = await dead_letters.replay(change.connection, id, body.ids)
        await change.audit("replay", "webhook_endpoint", id, {"ids": body.ids}, after={"waiting": count})
    return ReplayAnswer(replayed=count)


@router.post("/dead-letters/{letter_id}/replay", summary="Renvoyer un message abandonné")
async def replay_dead_letter(id: Id, letter_id: BigId, caller: Manager) -> ReplayAnswer:
    """Renvoyer un message abandonné, avec le même identifiant."""
    async with caller.changing() as change:
        await _require_enabled(change, id)
        if not await dead_letters.replay(change.connection, id, [letter_id]):
            raise not_found(f"message {letter_id}")
        await change.audit("replay", "webhook_endpoint", id, {"ids": [letter_id]}, after={"waiting": 1})
    return ReplayAnswer(replayed=1)


@router.delete("/dead-letters", summary="Effacer les messages abandonnés d'une adresse")
async def discard_dead_letters(id: Id, caller: Manager) -> DiscardAnswer:
    """Effacer tous les messages abandonnés : ils ne pourront plus être renvoyés. Les alertes restent."""
    async with caller.changing() as change:
        await ENDPOINTS.get(change.connection, id)
        count = await dead_letters.discard(change.connection, id)
        await change.audit("discard", "webhook_endpoint", id, {"ids": None}, before={"abandoned": count})
    return DiscardAnswer(discarded=count)


@router.delete("/dead-letters/{letter_id}", status_code=204, summary="Effacer un message abandonné")
async def discard_dead_letter(id: Id, letter_id: BigId, caller: Manager) -> Response:
    """Effacer un message abandonné : il ne pourra plus être renvoyé."""
    async with caller.changing() as change:
        await ENDPOINTS.get(change.connection, id)
        if not await dead_letters.discard(change.connection, id, [letter_id]):
            raise not_found(f"message {letter_id}")
        await change.audit("discard", "webhook_endpoint", id, {"ids": [letter_id]}, before={"abandoned": 1})
    return Response(status_code=204)


@router.post("/test", operation_id="testWebhookEndpoint", status_code=202, summary="Essayer une adresse")
async def test_endpoint(id: Id, caller: Manager) -> TestAnswer:
    """Envoyer un message d'essai, par le même chemin que les alertes : signé, gardé, et réessayé s'il échoue.

    Un toutes les dix secondes par adresse ; vingt par minute et cent vingt par heure pour la collectivité, avec
    les défis et les codes (429 au-delà).
    """
    at = datetime.now(UTC)
    content = {"type": "webhook.test", "timestamp": at, "data": {"message": TEST_TEXT}}
    async with caller.changing() as change:
        await _require_enabled(change, id)
        await require_probe(change, id)
        message_id = await dead_letters.queue_test(change.connection, id, msgspec.json.encode(content))
        await change.audit("test", "webhook_endpoint", id, after={"message_id": message_id})
    if message_id is None:
        raise not_found(f"adresse {id}")
    return TestAnswer(message_id=message_id)


@router.post("/secret", operation_id="rotateWebhookSecret", summary="Changer le secret d'une adresse")
async def rotate_secret(id: Id, body: RotationBody, caller: Manager) -> RotationAnswer:
    """Changer le secret : jusqu'à l'heure dite, chaque message porte les deux signatures."""
    return await rotate(ENDPOINTS, caller, id, body, store.rotate_secret)


async def _require_enabled(change: Change, endpoint_id: int) -> None:
    endpoint = await ENDPOINTS.get(change.connection, endpoint_id)
    if endpoint.state == "unproved":
        raise Problem(409, f"l'adresse n'est pas prouvée : {to_do(endpoint.form, endpoint.state)}")
    if endpoint.state != "enabled":
        raise Problem(409, f"l'adresse est suspendue ({endpoint.disabled_reason}) : reprenez l'envoi d'abord")
