"""Typed commands: a valve for N minutes, an interval, a relay; their octets are shown before they are sent."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Response
from pydantic import Field

from api.auth import Caller, Manager, Reader
from api.codec_fields import CommandSpec
from api.command_encoding import Encoded, encode, known_commands, target_of
from api.fields import Answer, Body, EuiPath, HexOctets, Instant, Json, Text, example
from api.lighting_octets import keep_for_unknown_act
from api.pages import Page
from api.routes.device_traffic import DownlinkAnswer, device_of, queue_downlink, show_downlink, useful_until
from api.switching import REASON_TEXT, demand_reason, demand_right_to_switch
from core.runtime.http.errors import PROBLEM_RESPONSES, Problem, read_only
from decoders.catalogue import can_switch
from lighting.circuit_store import serves_lighting
from lorawan.instants import to_us

# lorawan.airtime.Priority.COMMAND
PRIORITY = 1

router = APIRouter(prefix="/v1/devices/{dev_eui}/commands", tags=["devices"], responses=PROBLEM_RESPONSES)

CommandName = Annotated[
    str, Path(pattern=r"^[a-z0-9][a-z0-9_.-]{0,62}$", description="Nom de la commande", examples=["open_valve"])
]


class CommandOrder(Body):
    """Une commande et ses paramètres ; par défaut un aperçu, rien n'est envoyé."""

    model_config = example({"parameters": {"minutes": 30}, "preview": False})

    parameters: Json = Field(default_factory=dict, examples=[{"minutes": 30}])
    preview: bool = Field(True, description="Montrer les octets sans les envoyer")
    confirmed: bool = Field(False, description="Demander au capteur d'accuser réception")
    not_after: Instant | None = Field(None, description="Dernier instant utile, 30 jours au plus ; absent : 24 h")
    reason: Text = Field("", description=REASON_TEXT, examples=["Fuite signalée rue du Port"])


class CommandOutcome(Answer):
    """Les octets d'une commande, et le message qui les porte s'ils sont envoyés."""

    command: str
    f_port: int
    payload: HexOctets
    warnings: list[str]
    decoded_back: dict[str, Any] | None = Field(
        description="Ce que le décodeur du fabricant relit de ces octets ; absent : il n'en a pas"
    )
    agrees: bool | None = Field(description="Vrai : la relecture dit ce qui est demandé")
    downlink: DownlinkAnswer | None = Field(description="Absent : un aperçu, rien n'est envoyé")


@router.get("", operation_id="listDeviceCommands", summary="Lister les commandes d'un capteur")
async def list_commands(dev_eui: EuiPath, caller: Reader) -> Page[CommandSpec]:
    """Ce qu'on peut demander à ce capteur, avec les paramètres de chaque commande."""
    async with caller.reading() as connection:
        target, _ = await target_of(connection, await device_of(connection, dev_eui))
    return Page(items=known_commands(target), next=None)


@router.post("/{name}", operation_id="createDeviceCommand", summary="Commander un capteur")
async def order(
    dev_eui: EuiPath, name: CommandName, body: CommandOrder, caller: Manager, response: Response
) -> CommandOutcome:
    """Encoder une commande, la relire là où le fabricant le permet, et montrer ses octets.

    Avec `preview: false` elle est mise en file. Ce qui agit sur le territoire demande le droit `lighting` ou
    `operate`, et un motif. Ce qui sert un éclairage se commute par /v1/lighting/commands ; toute autre commande y
    est un acte inconnu, après lequel le circuit revient à son programme dans les 12 heures.
    """
    now = datetime.now(UTC)
    not_after = useful_until(body.not_after, now)
    async with caller.reading() as connection:
        device = await device_of(connection, dev_eui)
        if device.tenant_id != caller.principal.tenant_id:
            raise read_only(f"capteur {dev_eui}")
        target, profile = await target_of(connection, device)
        lights = await serves_lighting(connection, device.id)
    now_us = to_us(now)
    await caller.end_sharing()
    encoded = await encode(target, name, body.parameters, caller.platform.codec_workers, now_us)
    if encoded.switches or can_switch(profile.codec, profile.capabilities):
        demand_right_to_switch(caller)
        if not body.preview:
            demand_reason(body.reason)
    if encoded.switches and lights and not body.preview:
        raise Problem(
            422, "ce capteur commande un éclairage : il se commute par /v1/lighting/commands, avec une fin"
        )
    downlink = None
    if not body.preview:
        downlink = await _send(caller, dev_eui, name, body, encoded, not_after)
        response.status_code = 201
    return CommandOutcome.model_validate(asdict(encoded) | {"command": name, "downlink": downlink})


async def _send(
    caller: Caller, dev_eui: str, name: str, body: CommandOrder, encoded: Encoded, not_after: datetime
) -> DownlinkAnswer:
    if encoded.agrees is False:
        raise Problem(
            422, "relue par le décodeur du fabricant, la commande ne dit pas la même chose ; rien n'est envoyé"
        )
    async with caller.changing() as change:
        device = await device_of(change.connection, dev_eui)
        noted = {"dev_eui": dev_eui, "command": name, "payload": encoded.payload.hex()}
        queued, preflight = await queue_downlink(
            change,
            device,
            noted | body.model_dump(mode="json"),
            f_port=encoded.f_port,
            payload=encoded.payload,
            not_after=not_after,
            confirmed=body.confirmed,
            priority=PRIORITY,
        )
        await keep_for_unknown_act(change, caller, device.id)
    await caller.platform.nudge_downlink(queued.slot, device.id)
    return show_downlink(queued, preflight)
