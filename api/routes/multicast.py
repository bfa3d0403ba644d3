"""Multicast groups: class C devices, street lights above all, that are told one thing at once."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Response
from pydantic import AfterValidator, Field, StringConstraints
from pydantic_core import PydanticCustomError

from api.auth import Caller, Change, Manager, Reader
from api.downlink_reasons import sentence
from api.fields import (
    INT4_MOST,
    Answer,
    Body,
    DevAddrHex,
    Eui,
    HexOctets,
    Id,
    Instant,
    Key,
    Name,
    example,
)
from api.pages import Cursor, Limit, Page, cursor_id, page_of
from core.runtime.http.errors import PROBLEM_RESPONSES, Problem, invalid, not_found
from decoders.catalogue import can_switch
from lighting.requests import is_off
from lorawan.airtime import Priority
from lorawan.identifiers import DevAddr
from lorawan.regions import EU868
from registry import multicast
from registry.multicast import Candidate, GroupKeys, MulticastGroup

USUAL_WAIT = timedelta(minutes=10)
LONGEST_WAIT = timedelta(days=1)
# For the audit: never a key.
SECRETS = {"nwk_s_key", "app_s_key"}

router = APIRouter(prefix="/v1/multicast-groups", tags=["Groupes multicast"], responses=PROBLEM_RESPONSES)


def _frequency(frequency: int) -> int:
    if EU868.sub_band_of(frequency) is None or frequency % 100:
        raise PydanticCustomError("frequency", "fréquence en Hz d'une sous-bande de 863 à 870 MHz attendue")
    return frequency


DevEuis = Annotated[list[Eui], Field(max_length=1000, examples=[["70b3d57ed0001234"]])]


class NewMulticastGroup(Body):
    """Un groupe d'appareils de classe C. L'adresse et les clés sont celles que chaque membre a reçues."""

    model_config = example(
        {
            "name": "Rue de Brest",
            "dev_addr": "00c0ffee",
            "nwk_s_key": "000102030405060708090a0b0c0d0e0f",
            "app_s_key": "0f0e0d0c0b0a09080706050403020100",
            "repeats": 2,
        }
    )

    name: Name = Field(examples=["Rue de Brest"])
    dev_addr: DevAddrHex = Field(description="Adresse multicast : 8 chiffres hexadécimaux")
    nwk_s_key: Key
    app_s_key: Key
    data_rate: int = Field(3, ge=0, le=5, description="Débit auquel les membres écoutent : 0 (SF12) à 5 (SF7)")
    frequency: Annotated[int, AfterValidator(_frequency)] = Field(
        869_525_000, description="Fréquence à laquelle les membres écoutent, en Hz"
    )
    repeats: int = Field(2, ge=1, le=5, description="Nombre de fois que chaque passerelle émet le message")
    f_cnt: int = Field(
        0, ge=0, lt=2**32, description="Premier compteur, si le groupe vient d'un autre réseau ; sinon 0"
    )


class GroupMembers(Body):
    """Les membres d'un groupe, tous de classe C."""

    model_config = example({"dev_euis": ["70b3d57ed0001234"]})

    dev_euis: DevEuis


class NewMulticastMessage(Body):
    """Un message pour tous les membres. Une extinction ne passe pas par ici : elle n'aurait pas de fin."""

    model_config = example({"f_port": 10, "payload": "0132"})

    f_port: int = Field(ge=1, le=223, description="Port LoRaWAN du message (FPort)", examples=[10])
    payload: Annotated[str, StringConstraints(max_length=484, pattern="^([0-9a-fA-F]{2})*$")] = Field(
        examples=["0132"], description="En hexadécimal, 242 octets au plus"
    )
    not_after: Instant | None = Field(
        None, description="Dernier instant utile, 24 heures au plus ; absent : 10 minutes"
    )


class GroupAnswer(Answer):
    """Un groupe et ses membres ; ses clés ne sont jamais relues."""

    id: int
    tenant_id: int
    name: str
    dev_addr: HexOctets
    data_rate: int
    frequency: int
    repeats: int
    f_cnt: int = Field(description="Compteur du prochain message")
    created_at: datetime
    dev_euis: list[HexOctets]


class MessageAnswer(Answer):
    """Un message et où il en est."""

    id: int
    f_port: int
    payload: HexOctets
    not_after: datetime
    state: str = Field(
        examples=["sent"],
        description="`queued` en attente, `sending` en cours d'émission, `sent` émis, `failed`, `expired`",
    )
    reason: str | None = Field(
        examples=["SOME_GATEWAYS"],
        description="`SOME_GATEWAYS` des passerelles n'ont pas émis, `NO_GATEWAY` aucune n'a émis, "
        "`NO_MEMBER_HEARD` aucun membre n'a encore été entendu, `PAYLOAD_TOO_LARGE` trop long pour ce débit, "
        "`NOT_AFTER` trop tard",
    )
    explanation: str | None = Field(
        examples=["des passerelles n'ont pas émis"], description="La même chose en français"
    )
    f_cnt: int | None
    emissions: list[dict[str, Any]] = Field(description="Ce que chaque passerelle a fait, à chaque répétition")
    created_at: datetime
    updated_at: datetime


def show_message(message: multicast.MulticastMessage) -> MessageAnswer:
    """The message as the API says it."""
    return MessageAnswer(
        id=message.id,
        f_port=message.f_port,
        payload=message.payload.hex(),
        not_after=message.not_after,
        state=message.state,
        reason=message.reason,
        explanation=None if message.reason is None else sentence(message.reason),
        f_cnt=message.f_cnt,
        emissions=list(message.emissions),
        created_at=message.created_at,
        updated_at=message.updated_at,
    )


async def _own(change: Change, group_id: int) -> MulticastGroup:
    group = await multicast.read_group(change.connection, group_id)
    if group is None:
        raise not_found(f"groupe {group_id}")
    return group


async def _candidates(change: Change, caller: Caller, dev_euis: list[str]) -> list[Candidate]:
    """The tenant's own class C devices of these EUIs; who may switch lights alone may group or tell lights."""
    wanted = {bytes.fromhex(dev_eui) for dev_eui in dev_euis}
    found = await multicast.read_candidates(change.connection, change.tenant_id, list(wanted))
    missing = wanted - {candidate.dev_eui for candidate in found}
    if missing:
        raise not_found(f"capteur {min(missing).hex()}")
    for candidate in found:
        if candidate.device_class != "C":
            raise invalid("dev_euis", "class", f"le capteur {candidate.dev_eui.hex()} n'est pas de classe C")
        if can_switch(candidate.codec, candidate.capabilities):
            caller.demand("lighting")
    return found


@router.post("", status_code=201, summary="Créer un groupe multicast")
async def create(body: NewMulticastGroup, caller: Manager) -> GroupAnswer:
    """Créer un groupe, sans membres : ils se donnent ensuite."""
    wrap = caller.platform.keys.wrap
    keys = GroupKeys(
        DevAddr(bytes.fromhex(body.dev_addr)),
        wrap(bytes.fromhex(body.nwk_s_key.get_secret_value())),
        wrap(bytes.fromhex(body.app_s_key.get_secret_value())),
        caller.platform.keys.kek_id,
    )
    async with caller.changing() as change:
        group_id = await multicast.create_group(
            change.connection,
            change.tenant_id,
            body.name,
            keys,
            data_rate=body.data_rate,
            frequency=body.frequency,
            repeats=body.repeats,
            f_cnt=body.f_cnt,
        )
        group = await _own(change, group_id)
        await change.audit("create", "multicast_group", group_id, body.model_dump(exclude=SECRETS))
    return GroupAnswer.model_validate(group)


@router.get("", summary="Lister les groupes multicast")
async def list_groups(caller: Reader, limit: Limit = 100, cursor: Cursor = None) -> Page[GroupAnswer]:
    """Les groupes de la collectivité, avec leurs membres."""
    async with caller.reading() as connection:
        after = min(cursor_id(cursor, 0) or 0, INT4_MOST)
        rows = await multicast.list_groups(connection, after=after, most=limit + 1)
    return page_of(rows, limit, GroupAnswer.model_validate, lambda group: str(group.id))


@router.get("/{id}", summary="Lire un groupe multicast")
async def read(id: Id, caller: Reader) -> GroupAnswer:
    """Un groupe et ses membres."""
    async with caller.reading() as connection:
        group = await multicast.read_group(connection, id)
    if group is None:
        raise not_found(f"groupe {id}")
    return GroupAnswer.model_validate(group)


@router.put("/{id}/devices", summary="Donner ses membres à un groupe multicast")
async def set_members(id: Id, body: GroupMembers, caller: Manager) -> GroupAnswer:
    """Remplacer les membres. Pour des appareils qui commutent, le rôle `lighting` est demandé en plus."""
    async with caller.changing() as change:
        await _own(change, id)
        found = await _candidates(change, caller, body.dev_euis)
        await multicast.set_members(change.connection, id, [candidate.dev_eui for candidate in found])
        group = await _own(change, id)
        await change.audit("update", "multicast_group", id, body.model_dump())
    return GroupAnswer.model_validate(group)


@router.delete("/{id}", status_code=204, summary="Retirer un groupe multicast")
async def delete(id: Id, caller: Manager) -> Response:
    """Retirer un groupe et ses messages. Recréé avec les mêmes clés, il lui faut le compteur où il en était."""
    async with caller.changing() as change:
        group = await _own(change, id)
        await multicast.delete_group(change.connection, id)
        await change.audit("delete", "multicast_group", id, {"name": group.name, "f_cnt": group.f_cnt})
    return Response(status_code=204)


@router.post("/{id}/messages", status_code=201, summary="Envoyer un message à un groupe multicast")
async def create_message(id: Id, body: NewMulticastMessage, caller: Manager) -> MessageAnswer:
    """Mettre un message en file. Pour des appareils qui commutent, le rôle `lighting` est demandé en plus."""
    now = datetime.now(UTC)
    not_after = body.not_after or now + USUAL_WAIT
    if not now < not_after <= now + LONGEST_WAIT:
        raise invalid("not_after", "range", "« not_after » doit être à venir, dans 24 heures au plus")
    payload = bytes.fromhex(body.payload)
    async with caller.changing() as change:
        group = await _own(change, id)
        members = await _candidates(change, caller, [dev_eui.hex() for dev_eui in group.dev_euis])
        if any(is_off(member.codec, payload) for member in members):
            raise Problem(422, "une extinction doit avoir une fin : demandez-la par /v1/lighting/commands")
        message_id = await multicast.enqueue_multicast(
            change.connection,
            id,
            f_port=body.f_port,
            payload=payload,
            priority=Priority.COMMAND,
            not_after=not_after,
        )
        message = await multicast.read_message(change.connection, message_id or 0)
        if message is None:
            raise not_found(f"groupe {id}")
        await change.audit(
            "create", "multicast_message", message_id, {"group": id, **body.model_dump(mode="json")}
        )
    await caller.platform.nudge_downlink(group.slot, 0)
    return show_message(message)


@router.get("/{id}/messages", summary="Lister les messages d'un groupe multicast")
async def list_messages(
    id: Id,
    caller: Reader,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[MessageAnswer]:
    """Les messages du groupe, le dernier d'abord."""
    before = cursor_id(cursor)
    async with caller.reading() as connection:
        if await multicast.read_group(connection, id) is None:
            raise not_found(f"groupe {id}")
        rows = await multicast.list_messages(connection, id, before=before, most=limit + 1)
    return page_of(rows, limit, show_message, lambda message: str(message.id))
