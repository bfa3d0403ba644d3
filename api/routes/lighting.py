"""Lighting commands: requested, listed, and confirmed by the cabinet's read-back."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Literal

from fastapi import APIRouter
from pydantic import Field

from api.auth import LightingOperator, Reader
from api.fields import BigId, Body, Id, IdQuery, IdRef, Instant, Text, answer_of, example
from api.impersonation import as_owner
from api.pages import Page, Paged
from api.resources import Resource
from api.routes.assets import ASSETS
from api.routes.trades import PlaceAnswer, ValueAnswer, WantedQuery, best_value, next_page, read_places
from api.trade_store import LIGHTING, last_values
from core.runtime.http.errors import PROBLEM_RESPONSES, Problem
from lighting import store
from lighting.commands import Failure, RejectedLightingCommand, failure_text
from lighting.requests import request_command

router = APIRouter(prefix="/v1/lighting", tags=["Éclairage public"], responses=PROBLEM_RESPONSES)


class NewCommand(Body):
    """Un ordre à une armoire d'éclairage. Une extinction a toujours une fin."""

    model_config = example(
        {
            "asset_id": 42,
            "action": "off",
            "off_until": "2026-11-25T23:30:00Z",
            "reason": "Intervention sur le réseau",
        }
    )

    asset_id: IdRef = Field(description="L'armoire, un actif")
    action: Literal["on", "off", "dim"] = Field(description="`on` allumer, `off` éteindre, `dim` graduer")
    off_until: Instant | None = Field(
        None, description="Fin de l'extinction, 12 heures au plus", examples=["2026-11-25T23:30:00Z"]
    )
    reason: Text = Field("", description="Motif, gardé dans l'historique", examples=["Intervention sur le réseau"])


class CommandAnswer(answer_of(store.Command, {"tenant_id", "device_id", "downlink_id", "read_back_downlink_id"})):
    """Un ordre et où il en est : queued, sent, confirmed, failed, expired ou superseded."""

    state: str = Field(examples=["queued"])
    failure: str | None = Field(examples=["no_read_back"])
    failure_message: str | None = Field(examples=[failure_text(Failure.NO_READ_BACK)])


def _show(command: store.Command) -> CommandAnswer:
    return CommandAnswer.model_validate(asdict(command) | {"failure_message": failure_text(command.failure)})


class CabinetAnswer(PlaceAnswer):
    """Une armoire d'éclairage : ce qu'elle a dit de son relais, et le dernier ordre."""

    switch_state: ValueAnswer | None = Field(description="1 allumée, 0 éteinte, si `known` ; sinon on ne sait pas")
    active_power: ValueAnswer | None
    command: CommandAnswer | None = Field(description="Le dernier ordre")


COMMANDS = Resource("lighting_command", "ordre", store.read_command, _show)


@router.post("/commands", status_code=201, summary="Commander l'éclairage d'une armoire")
async def create_command(body: NewCommand, caller: LightingOperator) -> CommandAnswer:
    """Commander une armoire, la sienne ou une qui est partagée avec le rôle `operator`.

    Un ordre plus récent remplace ceux qui sont en cours.
    """
    async with caller.changing() as change:
        asset = await ASSETS.get(change.connection, body.asset_id)
        async with as_owner(change, asset.tenant_id, asset.id, f"actif {asset.id}") as acting:
            try:
                requested = await request_command(
                    acting.connection,
                    requested_by=acting.actor,
                    now=datetime.now(UTC),
                    **body.model_dump(),
                )
            except RejectedLightingCommand as refused:
                raise Problem(422, str(refused)) from None
            await acting.audit("create", "lighting_command", requested.command.id, after=body)
        if acting is not change:
            await change.audit("create", "lighting_command", requested.command.id, after=body)
    await caller.platform.nudge_downlink(requested.slot, requested.command.device_id)
    return _show(requested.command)


@router.get("/cabinets", summary="Lister les armoires d'éclairage")
async def list_cabinets(caller: Reader, wanted: WantedQuery) -> Page[CabinetAnswer]:
    """Les armoires : d'abord celles dont on ne sait rien, puis celles qui sont éteintes."""
    async with caller.reading() as connection:
        places, values = await read_places(caller, connection, LIGHTING, wanted)
        commands = await store.last_commands(connection, [place.id for place in places])
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


@router.get("/cabinets/{id}", summary="Lire une armoire d'éclairage")
async def read_cabinet(id: Id, caller: Reader) -> CabinetAnswer:
    """Ce qu'un actif a dit de son relais, et son dernier ordre."""
    async with caller.reading() as connection:
        asset = await ASSETS.get(connection, id)
        values = (await last_values(connection, LIGHTING, [id])).get(id, [])
        await caller.audit_personal(connection, streams=[one.datastream_id for one in values])
        commands = await store.last_commands(connection, [id])
    return CabinetAnswer(
        **PlaceAnswer.model_validate(asset).model_dump(),
        switch_state=best_value(values, "switch_state"),
        active_power=best_value(values, "active_power"),
        command=None if id not in commands else _show(commands[id]),
    )


@router.get("/commands", summary="Lister les ordres d'éclairage")
async def list_commands(caller: Reader, paging: Paged, asset_id: IdQuery = None) -> Page[CommandAnswer]:
    """Les ordres, le dernier d'abord."""
    return await COMMANDS.page(
        caller, paging, store.list_commands, before=paging.before, most=paging.most, asset_id=asset_id
    )


@router.get("/commands/{id}", summary="Lire un ordre d'éclairage")
async def read_command(id: BigId, caller: Reader) -> CommandAnswer:
    """Un ordre et où il en est."""
    return await COMMANDS.read(caller, id)
