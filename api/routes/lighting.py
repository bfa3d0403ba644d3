"""Lighting commands: requested, listed, applied by the relay's word and confirmed by the meter's."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Literal

from fastapi import APIRouter
from pydantic import Field

from api.auth import Caller, Change, LightingOperator, Reader
from api.campaign_targets import outside_bounds
from api.fields import BigId, Body, Id, IdQuery, IdRef, Instant, Text, answer_of, example
from api.impersonation import as_owner
from api.lighting_octets import octets_of
from api.pages import Page, Paged
from api.resources import Resource
from api.routes.assets import ASSETS
from api.routes.trades import PlaceAnswer, ValueAnswer, WantedQuery, best_value, next_page, read_places
from api.trade_store import LIGHTING, last_values
from core.runtime.http.errors import PROBLEM_RESPONSES, Problem
from lighting import circuit_store, command_store
from lighting.circuit_store import names_of
from lighting.commands import UNCONFIRMED_FR, Failure, RejectedLightingCommand, Unconfirmed, failure_text
from lighting.requests import LightingRequest, Requested, circuits_to_command, request_command

PROPOSE = "le propriétaire le propose par une campagne (POST /v1/lighting-campaigns), que le syndicat approuve"

router = APIRouter(prefix="/v1/lighting", tags=["lighting"], responses=PROBLEM_RESPONSES)


class NewCommand(Body):
    """Un ordre à une armoire d'éclairage, ou à un de ses circuits. Une extinction a toujours une fin."""

    model_config = example(
        {
            "asset_id": 42,
            "action": "off",
            "off_until": "2026-11-25T23:30:00Z",
            "reason": "Intervention sur le réseau",
        }
    )

    asset_id: IdRef = Field(description="L'armoire, le circuit ou le point lumineux, un actif")
    action: Literal["on", "off", "dim"] = Field(description="`on` allumer, `off` éteindre, `dim` graduer")
    off_until: Instant | None = Field(
        None,
        description="Fin de l'extinction, ou d'une gradation qui en a une, 12 heures au plus",
        examples=["2026-11-25T23:30:00Z"],
    )
    level: int | None = Field(
        None, ge=1, le=100, description="Niveau d'une gradation, en pour cent", examples=[50]
    )
    reason: Text = Field("", description="Motif, gardé dans l'historique", examples=["Intervention sur le réseau"])


class CommandAnswer(
    answer_of(command_store.Command, {"tenant_id", "device_id", "downlink_id", "read_back_downlink_id"})
):
    """Un ordre et où il en est.

    `queued` en attente, `sent` émis, `acknowledged` reçu par l'équipement, `applied` exécuté par la parole du
    relais, `confirmed` par la puissance mesurée (à 20 % près), `unproven` émis à un équipement dont rien ne peut
    prouver l'effet, `failed`, `expired`, `superseded` remplacé par un plus récent.
    """

    state: str = Field(examples=["queued"])
    failure: str | None = Field(examples=["no_read_back"])
    failure_message: str | None = Field(examples=[failure_text(Failure.NO_READ_BACK)])
    unconfirmed: str | None = Field(examples=["no_meter"], description="Pourquoi la puissance ne le confirme pas")
    unconfirmed_message: str | None = Field(examples=[UNCONFIRMED_FR[Unconfirmed.NO_METER]])
    reconciled_at: datetime | None = Field(
        description="Quand l'équipement l'a dit après coup : l'état reste, et rien n'est dû"
    )
    work_order_at: datetime | None = Field(description="Quand une intervention a été demandée")


class CreatedAnswer(CommandAnswer):
    """Le premier des ordres donnés : il y en a un par circuit de l'armoire."""

    command_ids: list[int] = Field(description="Tous, dans l'ordre des circuits", examples=[[17, 18]])


def _show(command: command_store.Command) -> CommandAnswer:
    return CommandAnswer.model_validate(_said(command))


def _said(command: command_store.Command) -> dict[str, Any]:
    return asdict(command) | {
        "failure_message": failure_text(command.failure),
        "unconfirmed_message": None if command.unconfirmed is None else UNCONFIRMED_FR[command.unconfirmed],
    }


class CabinetAnswer(PlaceAnswer):
    """Une armoire d'éclairage : ce qu'elle a dit de son relais, et le dernier ordre."""

    switch_state: ValueAnswer | None = Field(description="1 allumée, 0 éteinte, si `known` ; sinon on ne sait pas")
    active_power: ValueAnswer | None
    command: CommandAnswer | None = Field(description="Le dernier ordre")


class CabinetDetail(CabinetAnswer):
    """Une armoire, et ce qu'on peut lui demander."""

    dims: bool = Field(description="Un de ses circuits se gradue (`dim`), d'après le profil de son équipement")


COMMANDS = Resource("lighting_command", "ordre", command_store.read_command, _show)


@router.post(
    "/commands",
    operation_id="createLightingCommand",
    status_code=201,
    summary="Commander l'éclairage d'une armoire ou d'un circuit",
)
async def create_command(body: NewCommand, caller: LightingOperator) -> CreatedAnswer:
    """Commander une armoire, un circuit ou un point lumineux, à soi ou partagé avec le rôle `operator`.

    Une armoire qui a des circuits les commande tous ; les circuits protégés ne s'éteignent pas. Un ordre plus
    récent remplace ceux qui sont en cours. Hors des bornes du syndicat, 403 : cela se propose par une campagne.
    """
    async with caller.changing() as change:
        asset = await ASSETS.get(change.connection, body.asset_id)
        async with as_owner(change, asset.tenant_id, asset.id, f"actif {asset.id}") as acting:
            try:
                requested = await _request(caller, acting, body)
            except RejectedLightingCommand as refused:
                raise Problem(422, str(refused)) from None
            for one in requested:
                await acting.audit("create", "lighting_command", one.command.id, after=body)
        if acting is not change:
            for one in requested:
                await change.audit("create", "lighting_command", one.command.id, after=body)
    for one in requested:
        await caller.platform.nudge_downlink(one.slot, one.command.device_id)
    ids = [one.command.id for one in requested]
    return CreatedAnswer.model_validate(_said(requested[0].command) | {"command_ids": ids})


async def _request(caller: Caller, acting: Change, body: NewCommand) -> list[Requested]:
    now = datetime.now(UTC)
    request = LightingRequest(body.action, acting.actor, body.reason, body.off_until, body.level)
    circuits = await circuit_store.find_circuits(acting.connection, body.asset_id)
    chosen = circuits_to_command(circuits, request, now)
    named = await names_of(acting.connection, [circuit.asset_id for circuit in chosen])
    for overstep, *_ in (
        await outside_bounds(acting, request, {one.id: one.tags for one in named.values()}, now)
    ).values():
        raise Problem(403, f"hors des bornes du syndicat : {overstep.why} ; {PROPOSE}")
    encoded = [await octets_of(acting.connection, caller, circuit, request.asked_at(now)) for circuit in chosen]
    return [
        await request_command(acting.connection, circuit, request, octets, now)
        for circuit, octets in zip(chosen, encoded, strict=True)
    ]


@router.get("/cabinets", operation_id="listLightingCabinets", summary="Lister les armoires d'éclairage")
async def list_cabinets(caller: Reader, wanted: WantedQuery) -> Page[CabinetAnswer]:
    """Les armoires : d'abord celles dont on ne sait rien, puis celles qui sont éteintes."""
    async with caller.reading() as connection:
        places, values = await read_places(caller, connection, LIGHTING, wanted)
        commands = await command_store.last_commands(connection, [place.id for place in places])
    items = [
        CabinetAnswer(
            **place._asdict(),
            switch_state=best_value(values.get(place.id, []), "switch_state"),
            active_power=best_value(values.get(place.id, []), "active_power"),
            command=None if place.id not in commands else _show(commands[place.id]),
        )
        for place in places[: wanted.limit]
    ]
    return Page(items=items, next=next_page(places, wanted))


@router.get("/cabinets/{id}", operation_id="getLightingCabinet", summary="Lire une armoire d'éclairage")
async def read_cabinet(id: Id, caller: Reader) -> CabinetDetail:
    """Ce qu'un actif a dit de son relais, son dernier ordre, et s'il se gradue."""
    async with caller.reading() as connection:
        asset = await ASSETS.get(connection, id)
        values = (await last_values(connection, LIGHTING, [id])).get(id, [])
        await caller.audit_personal(connection, streams=[one.datastream_id for one in values])
        commands = await command_store.last_commands(connection, [id])
        circuits = await circuit_store.find_circuits(connection, id)
    return CabinetDetail(
        **PlaceAnswer.model_validate(asset).model_dump(),
        switch_state=best_value(values, "switch_state"),
        active_power=best_value(values, "active_power"),
        command=None if id not in commands else _show(commands[id]),
        dims=any({"switch", "dim"} <= set(circuit.capabilities or ()) for circuit in circuits),
    )


@router.get("/commands", operation_id="listLightingCommands", summary="Lister les ordres d'éclairage")
async def list_commands(caller: Reader, paging: Paged, asset_id: IdQuery = None) -> Page[CommandAnswer]:
    """Les ordres, le dernier d'abord."""
    return await COMMANDS.page(
        caller, paging, command_store.list_commands, before=paging.before, most=paging.most, asset_id=asset_id
    )


@router.get("/commands/{id}", operation_id="getLightingCommand", summary="Lire un ordre d'éclairage")
async def read_command(id: BigId, caller: Reader) -> CommandAnswer:
    """Un ordre et où il en est."""
    return await COMMANDS.read(caller, id)
