"""Multicast groups: class C devices, street lights above all, that receive one frame at once."""

from collections.abc import Awaitable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from uuid import uuid4

from fastapi import APIRouter, Response
from pydantic import AfterValidator, Field, StringConstraints
from pydantic_core import PydanticCustomError

from api.auth import Caller, Change, Manager, Reader
from api.downlink_reasons import sentence
from api.fields import (
    Body,
    DevAddrHex,
    Eui,
    HexOctets,
    Id,
    Instant,
    Key,
    Name,
    Text,
    answer_of,
    example,
    key_octets,
)
from api.lighting_octets import keep_for_unknown_act
from api.pages import Cursor, Limit, Page, Paged, cursor_id, page_of
from api.resources import Resource
from api.switching import REASON_TEXT, demand_reason, demand_right_to_switch
from core.runtime.http.errors import PROBLEM_RESPONSES, invalid, not_found
from decoders.catalogue import can_switch
from lorawan.airtime import Priority
from lorawan.regions import EU868
from registry import multicast
from registry.keys import row_owner
from registry.multicast import Candidate, MulticastGroup, MulticastMessage

USUAL_WAIT = timedelta(minutes=10)
LONGEST_WAIT = timedelta(days=1)
# For the audit: never a key.
SECRETS = {"nwk_s_key", "app_s_key"}

router = APIRouter(prefix="/v1/multicast-groups", tags=["multicast"], responses=PROBLEM_RESPONSES)


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
    """Un message pour tous les membres. Un éclairage est ramené à son programme dans les 12 heures qui suivent."""

    model_config = example({"f_port": 10, "payload": "0132"})

    f_port: int = Field(ge=1, le=223, description="Port LoRaWAN du message (FPort)", examples=[10])
    payload: Annotated[str, StringConstraints(max_length=484, pattern="^([0-9a-fA-F]{2})*$")] = Field(
        examples=["0132"], description="En hexadécimal, 242 octets au plus"
    )
    not_after: Instant | None = Field(
        None, description="Dernier instant utile, 24 heures au plus ; absent : 10 minutes"
    )
    reason: Text = Field("", description=REASON_TEXT, examples=["Nouveaux horaires"])


class GroupAnswer(answer_of(MulticastGroup, {"slot"})):
    """Un groupe et ses membres, sans ses clés : aucune route ne les montre."""

    dev_addr: HexOctets
    f_cnt: int = Field(description="Compteur du prochain message")
    dev_euis: list[HexOctets]
    keys_given_to: list[HexOctets] = Field(
        description="Horloges (`territoire.clock`) à qui les clés du groupe ont été envoyées, sans réponse encore"
    )
    keys_acknowledged_by: list[HexOctets] = Field(
        description="Horloges qui ont acquitté les clés : elles seules sont commandées par le groupe"
    )


class MessageAnswer(answer_of(MulticastMessage, {"group_id", "priority"})):
    """Un message et où il en est."""

    payload: HexOctets
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
    emissions: list[dict[str, Any]] = Field(description="Ce que chaque passerelle a fait, à chaque répétition")


def show_message(message: MulticastMessage) -> MessageAnswer:
    """The message as the API says it."""
    explanation = None if message.reason is None else sentence(message.reason)
    return MessageAnswer.model_validate(asdict(message) | {"explanation": explanation})


GROUPS = Resource("multicast_group", "groupe", multicast.read_group, GroupAnswer.model_validate)


async def _candidates(change: Change, caller: Caller, dev_euis: list[str]) -> list[Candidate]:
    """The tenant's own class C devices of these EUIs; 403 when one switches lights and the caller may not."""
    wanted = {bytes.fromhex(dev_eui) for dev_eui in dev_euis}
    found = await multicast.read_candidates(change.connection, change.tenant_id, list(wanted))
    missing = wanted - {candidate.dev_eui for candidate in found}
    if missing:
        raise not_found(f"capteur {min(missing).hex()}")
    for candidate in found:
        if candidate.device_class != "C":
            raise invalid("dev_euis", "class", f"le capteur {candidate.dev_eui.hex()} n'est pas de classe C")
        if can_switch(candidate.codec, candidate.capabilities):
            demand_right_to_switch(caller)
    return found


@router.post("", operation_id="createMulticastGroup", status_code=201, summary="Créer un groupe multicast")
async def create(body: NewMulticastGroup, caller: Manager) -> GroupAnswer:
    """Créer un groupe, sans membres : ils se donnent ensuite."""
    keys, sealed_for = caller.platform.keys, uuid4()
    given = body.model_dump(exclude=SECRETS) | {
        "dev_addr": bytes.fromhex(body.dev_addr),
        "nwk_s_key_wrapped": keys.wrap(
            key_octets(body.nwk_s_key), row_owner("multicast_group", sealed_for, "nwk_s_key")
        ),
        "app_s_key_wrapped": keys.wrap(
            key_octets(body.app_s_key), row_owner("multicast_group", sealed_for, "app_s_key")
        ),
        "kek_id": keys.kek_id,
        "sealed_for": sealed_for,
    }

    def create(change: Change) -> Awaitable[MulticastGroup]:
        return multicast.create_group(change.connection, change.tenant_id, given)

    return await GROUPS.create(caller, create)


@router.get("", operation_id="listMulticastGroups", summary="Lister les groupes multicast")
async def list_groups(caller: Reader, paging: Paged) -> Page[GroupAnswer]:
    """Les groupes de la collectivité, avec leurs membres."""
    return await GROUPS.page(caller, paging, multicast.list_groups, after=paging.after, most=paging.most)


@router.get("/{id}", operation_id="getMulticastGroup", summary="Lire un groupe multicast")
async def read(id: Id, caller: Reader) -> GroupAnswer:
    """Un groupe et ses membres."""
    return await GROUPS.read(caller, id)


@router.put(
    "/{id}/devices", operation_id="setMulticastGroupDevices", summary="Donner ses membres à un groupe multicast"
)
async def set_members(id: Id, body: GroupMembers, caller: Manager) -> GroupAnswer:
    """Remplacer les membres. Pour des appareils qui commutent, il faut `lighting` ou `operate`."""
    async with caller.changing() as change:
        former = GroupAnswer.model_validate(await GROUPS.get(change.connection, id))
        found = await _candidates(change, caller, body.dev_euis)
        await multicast.set_members(change.connection, id, [candidate.dev_eui for candidate in found])
        shown = GroupAnswer.model_validate(await GROUPS.get(change.connection, id))
        await change.audit("update", "multicast_group", id, before=former, after=shown)
    return shown


@router.delete(
    "/{id}", operation_id="deleteMulticastGroup", status_code=204, summary="Retirer un groupe multicast"
)
async def delete(id: Id, caller: Manager) -> Response:
    """Retirer un groupe et ses messages. Recréé avec les mêmes clés, il lui faut le compteur où il en était."""
    async with caller.changing() as change:
        group = await GROUPS.get(change.connection, id)
        await multicast.delete_group(change.connection, id)
        await change.audit("delete", "multicast_group", id, before=GroupAnswer.model_validate(group))
    return Response(status_code=204)


@router.post(
    "/{id}/messages",
    operation_id="createMulticastMessage",
    status_code=201,
    summary="Envoyer un message à un groupe multicast",
)
async def create_message(id: Id, body: NewMulticastMessage, caller: Manager) -> MessageAnswer:
    """Mettre un message en file. Pour des appareils qui commutent, `lighting` ou `operate`, et un motif.

    Pour un éclairage c'est un acte inconnu : dans les 12 heures, chaque circuit est ramené à son programme.
    """
    now = datetime.now(UTC)
    not_after = body.not_after or now + USUAL_WAIT
    if not now < not_after <= now + LONGEST_WAIT:
        raise invalid("not_after", "range", "« not_after » doit être à venir, dans 24 heures au plus")
    payload = bytes.fromhex(body.payload)
    async with caller.changing() as change:
        group = await GROUPS.get(change.connection, id)
        members = await _candidates(change, caller, [dev_eui.hex() for dev_eui in group.dev_euis])
        if any(can_switch(member.codec, member.capabilities) for member in members):
            demand_reason(body.reason)
        message = await multicast.enqueue_multicast(
            change.connection,
            id,
            f_port=body.f_port,
            payload=payload,
            priority=Priority.COMMAND,
            not_after=not_after,
        )
        if message is None:
            raise GROUPS.missing(id)
        for member in members:
            await keep_for_unknown_act(change, caller, member.id)
        await change.audit("create", "multicast_message", message.id, {"group": id}, after=body)
    await caller.platform.nudge_downlink(group.slot, 0)
    return show_message(message)


@router.get(
    "/{id}/messages", operation_id="listMulticastMessages", summary="Lister les messages d'un groupe multicast"
)
async def list_messages(id: Id, caller: Reader, limit: Limit = 50, cursor: Cursor = None) -> Page[MessageAnswer]:
    """Les messages du groupe, le dernier d'abord."""
    before = cursor_id(cursor)
    async with caller.reading() as connection:
        await GROUPS.get(connection, id)
        rows = await multicast.list_messages(connection, id, before=before, most=limit + 1)
    return page_of(rows, limit, show_message)
