"""MQTT accesses: a reader has events published at our own broker, and reads them there."""

from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any, Literal

from fastapi import APIRouter, Response
from pydantic import Field

from api.auth import Caller, Change, Reader
from api.fields import Answer, Body, Id, Name, ShortText, answer_of, example
from api.pages import Page
from api.resources import Resource
from core.runtime.http.errors import PROBLEM_RESPONSES, FieldError, Problem, invalid
from registry import mqtt_accesses as store
from registry.mqtt_accesses import MqttAccess, Owner
from registry.mqtt_accounts import Credentials

OF_ONE_OWNER_MOST = 10
Reason = Literal["tenant_closed", "key_ended", "person_gone"]
REASONS: dict[str, str] = {
    "tenant_closed": "la collectivité est fermée",
    "key_ended": "la clé dont il a les droits est révoquée, a expiré, ne permet plus de lire, ou ne vaut que "
    "depuis certaines adresses, ce qu'un courtier ne vérifie pas",
    "person_gone": "la personne dont il a les droits n'a pas de rôle dans cette collectivité",
}

router = APIRouter(prefix="/v1/mqtt-accesses", tags=["applications"], responses=PROBLEM_RESPONSES)


class NewMqttAccess(Body):
    """Un accès MQTT pour soi, ou avec les droits d'une clé."""

    model_config = example({"name": "Node-RED du service Eau"})

    name: Name = Field(examples=["Node-RED du service Eau"])
    key_id: ShortText | None = Field(
        None, description="La clé dont il aura les droits (il faut `manage`) ; absente : les vôtres"
    )
    personal: bool = Field(
        False,
        description="Aussi les données personnelles (classe 2) que son titulaire peut lire ; c'est journalisé",
    )


class PasswordRenewal(Body):
    """Un autre mot de passe ; l'ancien compte vaut encore quelque temps."""

    model_config = example({"keep_former_hours": 24})

    keep_former_hours: int = Field(
        24, ge=0, le=720, description="Heures pendant lesquelles l'ancien compte vaut aussi ; 0 : il ne vaut plus"
    )


class MqttAccessAnswer(answer_of(MqttAccess, {"tenant_id", "account_id", "person_id"})):
    """Un accès, ce qui y a été publié, et pourquoi il ne vaut plus ; sans son mot de passe."""

    mqtt_url: str = Field("", description="Le courtier (MQTT 5 ou 3.1.1)", examples=["mqtts://mqtt.sdef.fr:8883"])
    username: str = Field(
        description="Le compte, et l'identifiant de client MQTT (`client_id`), qui doit être le même",
        examples=["tpa_5f0c8d1b2a3e4f60"],
    )
    topics: str = Field(
        description="Ce que ses topics ont devant : abonnez-vous à `{topics}/device/+/event/+` ; rien d'autre "
        "n'est permis, ni publier",
        examples=["territoire/events/sdef/application/b5c1…"],
    )
    key_id: str | None = Field(description="La clé dont il a les droits ; null : ceux d'une personne")
    person: str | None = Field(description="La personne dont il a les droits ; null : ceux d'une clé")
    mine: bool = Field(False, description="Il a vos droits : vous pouvez en changer le mot de passe")
    reason: Reason | None = Field(description="Pourquoi il ne vaut plus ; null : il vaut")
    to_do: str | None = Field(None, description="Le même, en français")
    applied_at: datetime | None = Field(
        description="Depuis quand le courtier connaît le compte ; null : pas encore, c'est l'affaire de 5 secondes"
    )
    former_until: datetime | None = Field(
        description="Jusqu'à quand l'ancien compte vaut aussi ; null : il n'y en a pas"
    )
    published: int = Field(description="Événements que le courtier a acquittés")
    withheld: int = Field(description="Événements retenus : son titulaire n'a pas, ou plus, le droit de les lire")
    dropped: int = Field(description="Événements abandonnés : trop en attente, ou capteur parti")
    waiting: int = Field(description="Événements en attente")
    last_error: str | None = Field(examples=["courtier MQTT injoignable : connexion refusée"])


class AccountAnswer(answer_of(Credentials, {"id"})):
    """Le compte ; son mot de passe est montré cette seule fois."""

    username: str = Field(
        description="Le compte, et l'identifiant de client MQTT (`client_id`), qui doit être le même",
        examples=["tpa_5f0c8d1b2a3e4f60"],
    )
    password: str = Field(description="Mot de passe au courtier", examples=["…"])


class CreatedMqttAccess(Answer):
    """Un accès avec son mot de passe, montré cette seule fois."""

    access: MqttAccessAnswer
    account: AccountAnswer


def _show(row: MqttAccess) -> MqttAccessAnswer:
    said = None if row.reason is None else REASONS[row.reason]
    return MqttAccessAnswer.model_validate(asdict(row) | {"username": row.username, "to_do": said})


ACCESSES = Resource("mqtt_access", "accès MQTT", store.read_access, _show)


def _owner_of(caller: Caller) -> Owner:
    principal = caller.principal
    person = principal.person_id
    return Owner(principal.key_id or None, None) if person is None else Owner(None, person)


def _shown(caller: Caller, row: MqttAccess) -> MqttAccessAnswer:
    known = {"mqtt_url": caller.platform.access.mqtt_url, "mine": _is_own(caller, row)}
    return _show(row).model_copy(update=known)


def _is_own(caller: Caller, row: MqttAccess) -> bool:
    return Owner(row.key_id, row.person_id) == _owner_of(caller)


async def _mine(caller: Caller, connection: Any, access: int) -> MqttAccess:
    """One's own, or with `manage` any of the tenant's; 404."""
    row = await ACCESSES.get(connection, access)
    if not caller.has("manage") and not _is_own(caller, row):
        raise ACCESSES.missing(access)
    return row


@router.post("", operation_id="createMqttAccess", status_code=201, summary="Recevoir les événements par MQTT")
async def create(body: NewMqttAccess, caller: Reader) -> CreatedMqttAccess:
    """Un compte à notre courtier, qui lit ses topics et rien d'autre ; son mot de passe est montré une seule fois.

    Il suffit de pouvoir lire. Ce que ChirpStack v4 publierait (`up`, `join`, `status`…) y est publié pour tout ce
    que son titulaire peut lire : ses capteurs, ceux de ses membres, et les mesures qu'un partage lui ouvre, tant
    que le partage vaut et pour sa période. Les droits sont vérifiés à chaque événement. Valable en 5 s.
    """
    if not caller.platform.access.mqtt_url:
        raise Problem(409, "cette installation n'a pas de courtier MQTT ouvert aux applications")
    async with caller.changing() as change:
        owner = await _wanted_owner(caller, change, body.key_id)
        if await store.count_accesses(change.connection, owner) >= OF_ONE_OWNER_MOST:
            raise Problem(
                409, f"{OF_ONE_OWNER_MOST} accès MQTT au plus pour une personne ou une clé : retirez-en un"
            )
        access, account = await store.create_access(
            change.connection, caller.platform.keys, change.tenant_id, owner, body.name, personal=body.personal
        )
        row = await ACCESSES.get(change.connection, access)
        if row.reason is not None:
            raise Problem(409, f"cet accès ne vaudrait pas : {REASONS[row.reason]}")
        shown = _shown(caller, row)
        await change.audit("create", ACCESSES.entity, access, after=shown)
    return CreatedMqttAccess(access=shown, account=AccountAnswer.model_validate(asdict(account)))


async def _wanted_owner(caller: Caller, change: Change, key_id: str | None) -> Owner:
    if key_id is None or key_id == caller.principal.key_id:
        return _owner_of(caller)
    caller.demand("manage")
    if not await store.is_open_key(change.connection, key_id):
        message = "aucune clé de ce nom, en cours de validité, avec le droit de lire et de partout, chez vous"
        raise invalid("key_id", "unknown", message)
    return Owner(key_id, None)


@router.get("", operation_id="listMqttAccesses", summary="Lister les accès MQTT")
async def list_all(caller: Reader) -> Page[MqttAccessAnswer]:
    """Les vôtres ; avec le droit `manage`, tous ceux de la collectivité."""
    async with caller.reading() as connection:
        rows = await store.list_accesses(connection, _owner_of(caller), every=caller.has("manage"))
    return Page(items=[_shown(caller, row) for row in rows], next=None)


@router.get("/{id}", operation_id="getMqttAccess", summary="Lire un accès MQTT")
async def read(id: Id, caller: Reader) -> MqttAccessAnswer:
    """Ses topics, ce qui y a été publié, ce qui ne l'a pas été, et s'il vaut encore."""
    async with caller.reading() as connection:
        return _shown(caller, await _mine(caller, connection, id))


@router.post(
    "/{id}/rotations",
    operation_id="renewMqttAccess",
    status_code=201,
    summary="Changer le mot de passe d'un accès MQTT",
)
async def renew(id: Id, body: PasswordRenewal, caller: Reader) -> AccountAnswer:
    """Un autre compte, montré cette seule fois ; l'ancien vaut encore le temps demandé.

    Son titulaire seul le peut : le mot de passe ouvre ce que lui peut lire. D'une clé aussi, avec `manage`.
    """
    async with caller.changing() as change:
        row = await _mine(caller, change.connection, id)
        if row.key_id is None and not _is_own(caller, row):
            message = "cet accès a les droits d'une autre personne : elle seule en change le mot de passe"
            raise Problem(403, message, errors=[FieldError(field="id", code="not_owner", message=message)])
        account = await store.renew_password(
            change.connection, caller.platform.keys, row, timedelta(hours=body.keep_former_hours)
        )
        after = _shown(caller, await ACCESSES.get(change.connection, id))
        before = _shown(caller, row)
        await change.audit("rotate", ACCESSES.entity, id, body.model_dump(), before=before, after=after)
    return AccountAnswer.model_validate(asdict(account))


@router.delete("/{id}", operation_id="deleteMqttAccess", status_code=204, summary="Retirer un accès MQTT")
async def delete(id: Id, caller: Reader) -> Response:
    """Retirer un accès : sa connexion est coupée dans les 5 secondes, et ce qui attendait n'est pas publié."""
    async with caller.changing() as change:
        before = _shown(caller, await _mine(caller, change.connection, id))
        await store.delete_access(change.connection, id)
        await change.audit("delete", ACCESSES.entity, id, before=before)
    return Response(status_code=204)
