"""Webhooks of measurements: what changes in the feed, posted in signed batches, none missed."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Literal, Self

from fastapi import APIRouter, Response
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from alerting import dead_letters
from alerting import measurement_webhooks as store
from alerting.measurement_webhooks import STOPPED_FOR, MeasurementWebhook, Owner
from alerting.store import MEASUREMENTS
from api.auth import Change, Manager, Reader
from api.fields import INT4_MOST, Answer, Body, Id, IdRef, Patch, ShortText, Text, answer_of, example
from api.pages import Cursor, Limit, Page, cursor_id, page_of
from api.resources import Resource
from api.routes.webhook_endpoints import ENDPOINTS, to_do
from core.model.quantities import QUANTITIES
from core.runtime.http.errors import PROBLEM_RESPONSES, FieldError, Problem
from registry.feed import Standing, read_state

router = APIRouter(prefix="/v1/measurement-webhooks", tags=["webhooks"], responses=PROBLEM_RESPONSES)

IDS_MOST = 2000
Ids = Annotated[list[Annotated[int, Field(ge=1, le=INT4_MOST)]], Field(min_length=1, max_length=IDS_MOST)]
State = Literal["active", "waiting", "abandoned", "suspended", "stopped"]
Reason = Literal[
    "asked", "tenant_closed", "key_ended", "person_gone", "withdrawn", "personal", "forgotten", "restored"
]
GIVEN_UP = (
    "le dernier lot a été abandonné après tous ses essais : réparez le récepteur, puis relancez (POST …/restart), "
    "ou effacez ce lot parmi les messages abandonnés de l'adresse pour passer au suivant"
)
WAITS = (
    "le dernier lot n'a pas encore été pris : il est réessayé, et le suivant l'attend ; le récepteur réparé, un "
    "essai de l'adresse (POST /v1/webhook-endpoints/{id}/test) le fait partir aussitôt"
)
OUT_OF_SERVICE = "l'adresse n'est pas en service : prouvez-la ou reprenez l'envoi (/v1/webhook-endpoints)"
PERSONAL_TEXT = (
    "Envoyer aussi ce qui est de classe 2 (données personnelles) ; chaque lecture est au journal d'audit"
)


class Wanted(Body):
    """Ce qui est envoyé ; sans filtre, tout ce que voit qui en a les droits."""

    datastream_ids: Ids | None = Field(None, description="Ces flux")
    asset_ids: Ids | None = Field(None, description="Les flux de ces actifs")
    asset_kind: ShortText | None = Field(None, description="Type d'actif", examples=["waste_container"])
    quantity: ShortText | None = Field(None, description="Grandeur, de /v1/quantities", examples=["fill_level"])
    tag: ShortText | None = Field(None, description="Étiquette de l'actif")
    commune: ShortText | None = Field(None, description="Commune, par son nom ou son code INSEE")

    @model_validator(mode="after")
    def _names_a_quantity(self) -> Self:
        if self.quantity is not None and self.quantity not in QUANTITIES:
            raise PydanticCustomError("quantity", "grandeur inconnue : voyez /v1/quantities")
        return self


class NewMeasurementWebhook(Wanted):
    """Un webhook de mesures."""

    model_config = example({"endpoint_id": 3, "quantity": "fill_level", "batch_most": 500, "batch_seconds": 10})

    endpoint_id: IdRef = Field(description="L'adresse, faite avec `purpose` measurements (/v1/webhook-endpoints)")
    description: Text = Field("", examples=["Plateforme de données"])
    key_id: ShortText | None = Field(
        None,
        description="La clé d'application dont il a les droits, types d'actifs compris ; absente : les vôtres. "
        "Révoquée, il s'arrête",
    )
    personal: bool = Field(False, description=PERSONAL_TEXT)
    batch_most: int = Field(500, ge=1, le=1000, description="Mesures par lot, au plus")
    batch_seconds: int = Field(10, ge=1, le=3600, description="Secondes d'un lot au suivant, s'il n'est pas plein")
    begins: Literal["now", "oldest"] = Field(
        "now",
        alias="from",
        description="now : ce qui changera ; oldest : depuis le plus ancien du fil (7 jours)",
    )


class MeasurementWebhookPatch(Patch):
    """Changer ce qu'il envoie ; un filtre à null n'en est plus un."""

    EMPTIED: ClassVar[Mapping[str, Any]] = dict.fromkeys(
        ("datastream_ids", "asset_ids", "asset_kind", "quantity", "tag", "commune")
    )
    model_config = example({"batch_seconds": 60})

    description: Text | None = None
    datastream_ids: Ids | None = None
    asset_ids: Ids | None = None
    asset_kind: ShortText | None = None
    quantity: ShortText | None = None
    tag: ShortText | None = None
    commune: ShortText | None = None
    personal: bool | None = Field(None, description=PERSONAL_TEXT)
    batch_most: int | None = Field(None, ge=1, le=1000)
    batch_seconds: int | None = Field(None, ge=1, le=3600)


class RestartBody(Body):
    """D'où repartir."""

    model_config = example({"from": "cursor"})

    begins: Literal["cursor", "now", "oldest"] = Field(
        "cursor",
        alias="from",
        description="cursor : d'où il en était, le lot abandonné d'abord ; now : de maintenant, ce qui précède "
        "est laissé ; oldest : du plus ancien du fil, ce qui a été envoyé l'est de nouveau",
    )
    key_id: ShortText | None = Field(None, description="La clé dont il aura les droits ; absente : les vôtres")


class MeasurementWebhookAnswer(
    answer_of(MeasurementWebhook, {"tenant_id", "person_id", "epoch", "xid", "number", "place"})
):
    """Un webhook de mesures et où il en est."""

    key_id: str | None = Field(description="La clé dont il a les droits ; null : ceux d'une personne")
    state: State = Field(
        description="active ; waiting : le dernier lot n'est pas encore pris ; abandoned : il a été abandonné ; "
        "suspended : l'adresse n'est pas en service ; stopped : voir `reason`"
    )
    reason: Reason | None = Field(description="Pourquoi il est arrêté")
    to_do: str | None = Field(None, description="Ce qu'il y a à faire, en français ; null : rien")
    withheld: int = Field(
        description="Parmi les flux qu'il nomme, ceux dont rien ne peut être envoyé : droit retiré ou classe 2"
    )
    batches: int = Field(description="Lots faits ; le numéro du dernier")
    readings: int = Field(description="Mesures dans ces lots")
    reached_at: datetime = Field(description="Ce qui a été enregistré avant est dans un lot, ou n'est pas voulu")
    lag_s: float = Field(0.0, description="Son retard : depuis quand")
    cursor: str = Field(description="Où commence le prochain lot : un curseur de `GET /v1/measurements`")

    @model_validator(mode="after")
    def _say_what_to_do(self) -> Self:
        said = {"waiting": WAITS, "abandoned": GIVEN_UP, "suspended": OUT_OF_SERVICE}
        self.to_do = STOPPED_FOR[self.reason] if self.reason is not None else said.get(self.state)
        self.lag_s = max(0.0, (datetime.now(UTC) - self.reached_at).total_seconds())
        return self


class BatchAnswer(answer_of(store.Batch)):
    """Un lot et ses essais."""

    number: int = Field(description="`data.sequence` du message")
    message_id: str = Field(
        description="`webhook-id` ; ses essais : …/webhook-endpoints/{id}/attempts?message_id=…"
    )
    readings: int = Field(description="Mesures dans ce lot")
    recorded_from: datetime = Field(description="Le premier changement de ce lot a été enregistré à")
    recorded_until: datetime = Field(description="Le dernier")
    attempts: int = Field(description="Essais d'envoi")
    delivered_at: datetime | None = Field(description="Pris par le récepteur à ; null : pas encore")
    status: int | None = Field(description="Code de la dernière réponse ; null : aucune")
    answer: str | None = Field(description="La dernière réponse, ou ce qui a manqué ; null : aucun essai")
    next_at: datetime | None = Field(description="Prochain essai prévu ; null : aucun")


class Restarted(Answer):
    """D'où il repart."""

    webhook: MeasurementWebhookAnswer
    replayed: int = Field(description="1 : le lot abandonné part de nouveau d'abord")


WEBHOOKS = Resource(
    "measurement_webhook", "webhook de mesures", store.read_webhook, MeasurementWebhookAnswer.model_validate
)


@router.post(
    "", operation_id="createMeasurementWebhook", status_code=201, summary="Recevoir les mesures par webhook"
)
async def create(body: NewMeasurementWebhook, caller: Manager) -> MeasurementWebhookAnswer:
    """Envoyer par lots signés tout ce qui change dans les mesures : reçues, en retard, corrigées, redécodées.

    Faites d'abord l'adresse (`POST /v1/webhook-endpoints`, `purpose` measurements) et prouvez-la. Rien n'est
    manqué ni doublé : un lot porte son `webhook-id` à chaque essai et son numéro (`data.sequence`), le suivant
    attend qu'il soit pris, et le reste attend dans le fil, sept jours. Les droits sont vérifiés à chaque lot.
    """
    given = body.model_dump(exclude={"endpoint_id", "key_id", "begins"})
    async with caller.changing() as change:
        await _require_address(change, body.endpoint_id)
        owner = await _owner(change, caller.principal.key_id or None, caller.principal.person_id, body.key_id)
        state = await read_state(change.connection)
        begins = (state.epoch, state.now if body.begins == "now" else state.oldest)
        made = await store.create_webhook(
            change.connection, change.tenant_id, body.endpoint_id, owner, begins, given
        )
        shown = WEBHOOKS.show(made)
        await change.audit("create", WEBHOOKS.entity, made.id, after=shown)
    return shown


async def _require_address(change: Change, endpoint_id: int) -> None:
    endpoint = await ENDPOINTS.find(change.connection, endpoint_id)
    if endpoint is None:
        raise _rejected("endpoint_id", "unknown", f"adresse {endpoint_id} introuvable")
    if endpoint.purpose != MEASUREMENTS:
        message = "cette adresse reçoit les alertes : faites-en une avec `purpose` measurements"
        raise _rejected("endpoint_id", "purpose", message)


async def _owner(change: Change, own_key: str | None, person_id: int | None, wanted: str | None) -> Owner:
    if wanted is None:
        return Owner(None, person_id) if person_id is not None else Owner(own_key, None)
    if not await store.is_reading_key(change.connection, wanted):
        message = "aucune clé de ce nom, en cours de validité et avec le droit de lire, dans votre collectivité"
        raise _rejected("key_id", "unknown", message)
    return Owner(wanted, None)


def _rejected(field: str, code: str, message: str) -> Problem:
    return Problem(422, message, errors=[FieldError(field=f"body.{field}", code=code, message=message)])


@router.get("", operation_id="listMeasurementWebhooks", summary="Lister les webhooks de mesures")
async def list_all(caller: Reader) -> Page[MeasurementWebhookAnswer]:
    """Ceux de la collectivité, avec leur retard et ce qu'il y a à faire."""
    return await WEBHOOKS.list(caller, store.list_webhooks)


@router.get("/{id}", operation_id="getMeasurementWebhook", summary="Lire un webhook de mesures")
async def read(id: Id, caller: Reader) -> MeasurementWebhookAnswer:
    """Où il en est."""
    return await WEBHOOKS.read(caller, id)


@router.patch("/{id}", operation_id="updateMeasurementWebhook", summary="Changer un webhook de mesures")
async def update(id: Id, body: MeasurementWebhookPatch, caller: Manager) -> MeasurementWebhookAnswer:
    """Ce qu'il envoie et comment ; le lot en route reste tel quel, et le curseur où il est."""
    given = body.changed()
    if not given:
        raise Problem(422, "rien à changer")
    if given.get("quantity") is not None and given["quantity"] not in QUANTITIES:
        raise _rejected("quantity", "quantity", "grandeur inconnue : voyez /v1/quantities")
    return await WEBHOOKS.change(caller, id, lambda connection, key: store.update_webhook(connection, key, given))


@router.post("/{id}/stop", operation_id="stopMeasurementWebhook", summary="Arrêter un webhook de mesures")
async def stop(id: Id, caller: Manager) -> MeasurementWebhookAnswer:
    """Ne plus faire de lots ; celui qui est en route y reste, et le curseur vaut sept jours."""
    async with caller.changing() as change:
        former = await WEBHOOKS.own(change, id)
        if not await store.stop_webhook(change.connection, id):
            raise Problem(409, "il est déjà arrêté")
        shown = WEBHOOKS.show(await WEBHOOKS.get(change.connection, id))
        await change.audit("stop", WEBHOOKS.entity, id, before=WEBHOOKS.show(former), after=shown)
    return shown


@router.post("/{id}/restart", operation_id="restartMeasurementWebhook", summary="Relancer un webhook de mesures")
async def restart(id: Id, body: RestartBody, caller: Manager) -> Restarted:
    """Repartir, avec vos droits ou ceux d'une clé : d'où il en était, de maintenant, ou du plus ancien gardé.

    D'où il en était n'est plus possible quand des mesures ont quitté le fil, ou après une restauration (409).
    """
    principal = caller.principal
    replayed = 0
    async with caller.changing() as change:
        former = await WEBHOOKS.own(change, id)
        owner = await _owner(change, principal.key_id or None, principal.person_id, body.key_id)
        state = await read_state(change.connection)
        if body.begins == "cursor":
            standing = state.standing_of(former.epoch, former.position)
            if standing is not Standing.GOOD:
                raise Problem(409, STOPPED_FOR[standing.value])
            job = await store.abandoned_job(change.connection, id)
            if job is not None:
                await _require_enabled(change, former.endpoint_id)
                replayed = await dead_letters.replay(change.connection, former.endpoint_id, [job])
        else:
            position = state.now if body.begins == "now" else state.oldest
            await store.begin_at(change.connection, id, state, position)
        await store.go_on(change.connection, id, owner)
        shown = WEBHOOKS.show(await WEBHOOKS.get(change.connection, id))
        noted = {"from": body.begins, "replayed": replayed}
        await change.audit("restart", WEBHOOKS.entity, id, noted, before=WEBHOOKS.show(former), after=shown)
    return Restarted(webhook=shown, replayed=replayed)


async def _require_enabled(change: Change, endpoint_id: int) -> None:
    endpoint = await ENDPOINTS.get(change.connection, endpoint_id)
    if endpoint.state != "enabled":
        todo = to_do(endpoint.form, endpoint.state) or "reprenez l'envoi d'abord"
        raise Problem(409, f"l'adresse n'est pas en service : {todo}")


@router.delete(
    "/{id}", operation_id="deleteMeasurementWebhook", status_code=204, summary="Retirer un webhook de mesures"
)
async def delete(id: Id, caller: Manager) -> Response:
    """Retirer un webhook, avec ce qui attend d'être envoyé ; l'adresse reste."""
    return await WEBHOOKS.delete(caller, id, store.delete_webhook)


@router.get(
    "/{id}/batches", operation_id="listMeasurementBatches", summary="Lister les lots d'un webhook de mesures"
)
async def list_batches(id: Id, caller: Reader, limit: Limit = 100, cursor: Cursor = None) -> Page[BatchAnswer]:
    """Les lots, le dernier d'abord, avec leurs essais ; gardés aussi longtemps que ceux-ci."""
    before = cursor_id(cursor)
    async with caller.reading() as connection:
        await WEBHOOKS.get(connection, id)
        rows: list[Any] = await store.list_batches(connection, id, before=before, most=limit + 1)
    return page_of(rows, limit, BatchAnswer.model_validate, lambda row: str(row.number))
