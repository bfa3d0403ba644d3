"""Gateways: registered ones with their state, and those that talk to us without being registered."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, ClassVar, Literal

from fastapi import APIRouter, Query, Response
from pydantic import Field, StringConstraints

from api.auth import Change, Manager, NetworkOperator, Reader
from api.extent import Placed
from api.fields import (
    PRINTABLE,
    Answer,
    Body,
    Eui,
    EuiPath,
    Latitude,
    Longitude,
    Name,
    PlacedPatch,
    Search,
    Text,
    answer_of,
    example,
)
from api.gateway_supervision import AddressChangeAnswer, Supervision
from api.list_fields import SORT_TEXT
from api.pages import Limit, Page, Paged, ask_of, cursor_of
from api.resources import Resource
from core.runtime.http.errors import PROBLEM_RESPONSES, Problem, not_found
from core.runtime.postgres import Connection
from registry import gateways
from registry.gateway_supervision import list_address_changes
from registry.gateways import GatewayWithState, UnknownGateway
from registry.places import ANYWHERE

# Forwarders keep their path open every 10 s or so, and report every 30 s.
ONLINE_WITHIN = timedelta(seconds=90)

BOARDS = "Nombre de concentrateurs, pour une passerelle qui utilise LoRa Basics Station"

GAIN = "Gain de l'antenne, pertes du câble déduites, en dBi"
SUBTRACTED_BY = (
    "Qui déduit le gain de l'antenne de la puissance demandée : `gateway` si la passerelle le fait "
    "(`antenna_gain` de son propre réglage), `network` si ce réglage est à 0. null : personne ne l'a dit, et la "
    "puissance demandée reste légale dans les deux cas"
)
MAX_EIRP = (
    "Puissance rayonnée (PIRE) que cette passerelle ne dépasse pas, en dBm, dans toutes les sous-bandes : baisse "
    "aussi RX2 (29 dBm). null, ou 36 : la limite légale"
)
GainSubtractedBy = Literal["gateway", "network"]
Backhaul = Literal["ethernet", "fibre", "dsl", "4g", "5g", "wifi", "satellite", "other"]
SimCard = Annotated[str, StringConstraints(max_length=40, pattern=PRINTABLE)]
Cost = Annotated[float, Field(ge=0, le=1_000_000, allow_inf_nan=False)]

GatewaySort = Literal["id", "-id", "name", "-name", "last_seen_at", "-last_seen_at", "distance", "-distance"]

router = APIRouter(prefix="/v1/gateways", tags=["gateways"], responses=PROBLEM_RESPONSES)


EXAMPLE = {
    "name": "Passerelle Mairie de Landerneau",
    "latitude": 48.4499,
    "longitude": -4.2516,
    "antenna_gain": 3,
}


class ClaimedGateway(Body):
    """Une passerelle qui nous parle, à enregistrer."""

    model_config = example(EXAMPLE)

    name: Name = Field(examples=["Passerelle Mairie de Landerneau"])
    latitude: Latitude | None = None
    longitude: Longitude | None = None
    antenna_gain: float = Field(0, ge=-10, le=20, description=GAIN)
    boards: int = Field(1, ge=1, le=2, description=BOARDS)
    gain_subtracted_by: GainSubtractedBy | None = Field(None, description=SUBTRACTED_BY)
    max_eirp: int | None = Field(None, ge=0, le=36, description=MAX_EIRP)
    site: Text = Field("", description="Où elle est posée", examples=["Clocher"])
    backhaul: Backhaul | None = Field(None, description="Comment elle nous joint")
    sim: SimCard = Field("", description="Carte SIM : ICCID, ou numéro de ligne")
    purchase_cost_eur: Cost | None = Field(None, description="Coût d'achat et de pose, en euros")
    yearly_cost_eur: Cost | None = Field(None, description="Coût par an, en euros")


class NewGateway(ClaimedGateway):
    """Une passerelle à enregistrer."""

    model_config = example({"gateway_id": "0080e115000a9b72"} | EXAMPLE)

    gateway_id: Eui = Field(
        description="EUI de la passerelle : 16 chiffres hexadécimaux", examples=["0080e115000a9b72"]
    )


class GatewayPatch(PlacedPatch):
    """Ce qui change ; un champ absent reste tel quel, null le vide."""

    model_config = example({"antenna_gain": 5})
    EMPTIED: ClassVar[Mapping[str, Any]] = {
        "latitude": None,
        "longitude": None,
        "gain_subtracted_by": None,
        "max_eirp": None,
        "site": "",
        "backhaul": None,
        "sim": "",
        "purchase_cost_eur": None,
        "yearly_cost_eur": None,
    }

    name: Name | None = None
    latitude: Latitude | None = None
    longitude: Longitude | None = None
    antenna_gain: float | None = Field(None, ge=-10, le=20, description=GAIN)
    boards: int | None = Field(None, ge=1, le=2, description=BOARDS)
    gain_subtracted_by: GainSubtractedBy | None = Field(None, description=SUBTRACTED_BY)
    max_eirp: int | None = Field(None, ge=0, le=36, description=MAX_EIRP)
    site: Text | None = Field(None, description="Où elle est posée", examples=["Clocher"])
    backhaul: Backhaul | None = Field(None, description="Comment elle nous joint")
    sim: SimCard | None = Field(None, description="Carte SIM : ICCID, ou numéro de ligne")
    purchase_cost_eur: Cost | None = Field(None, description="Coût d'achat et de pose, en euros")
    yearly_cost_eur: Cost | None = Field(None, description="Coût par an, en euros")


class StationState(Answer):
    """Ce qu'une Basics Station a dit d'elle à CUPS, et ce qu'elle doit encore venir chercher."""

    reported_at: datetime | None = Field(description="Dernier contact ; null : aucun encore")
    station: str | None = Field(examples=["2.0.6(linux/std) 2022-01-17 12:00:00"])
    model: str | None = Field(examples=["linux"])
    package: str | None = Field(description="Son `version.txt`", examples=["2.0.7"])
    cups_uri: str | None
    tc_uri: str | None
    cups_cred_crc: int | None = Field(description="CRC-32 de ses fichiers cups.trust, cups.crt et cups.key")
    tc_cred_crc: int | None = Field(description="CRC-32 de ses fichiers tc.trust, tc.crt et tc.key")
    keys: list[int] = Field(description="CRC-32 des clés de signature qu'elle connaît")
    ordered_at: datetime | None = Field(description="Quand quelque chose lui a été demandé")
    wanted_cups_uri: str | None
    wanted_tc_uri: str | None
    wanted_update_id: int | None
    token_sent_at: datetime | None
    update_sent_at: datetime | None
    awaited: list[Literal["cups_uri", "tc_uri", "token", "update"]] = Field(
        description="Ce qui est demandé et n'est pas encore arrivé"
    )


class GatewayAnswer(answer_of(GatewayWithState, {"id"})):
    """Une passerelle et son dernier signe de vie."""

    gateway_id: Eui
    tenant_id: int = Field(description="La collectivité à qui elle est")
    boards: int = Field(description=BOARDS)
    gain_subtracted_by: GainSubtractedBy | None = Field(description=SUBTRACTED_BY)
    max_eirp: int | None = Field(description=MAX_EIRP)
    unproved_until: datetime | None = Field(
        description="Jusqu'à quand cette passerelle Basics Station peut se passer de jeton et de certificat ; "
        "null : il lui en faut un"
    )
    online: bool = Field(description="Un signe de vie depuis moins de 90 secondes")
    frontend: str | None = Field(examples=["semtech_udp"])
    site: str = Field(description="Où elle est posée")
    backhaul: Backhaul | None = Field(description="Comment elle nous joint ; null : pas dit")
    sim: str = Field(description="Carte SIM")
    purchase_cost_eur: float | None
    yearly_cost_eur: float | None
    cups: StationState | None = Field(description="Ce que la station vient chercher par CUPS ; null : rien")


class SupervisedGateway(GatewayAnswer):
    """Une passerelle, son dernier signe de vie, et comment elle travaille."""

    supervision: Supervision


class UnknownGatewayAnswer(answer_of(UnknownGateway)):
    """Une passerelle qui nous parle sans être enregistrée."""

    gateway_id: Eui
    reason: Literal["not_registered"] = Field(
        "not_registered", description="Pourquoi rien n'en est pris : aucune collectivité ne l'a enregistrée"
    )


def _show(gateway: GatewayWithState) -> GatewayAnswer:
    seen = gateway.last_seen_at
    online = seen is not None and datetime.now(UTC) - seen < ONLINE_WITHIN
    return GatewayAnswer.model_validate(asdict(gateway) | {"online": online})


async def _find(connection: Connection, gateway_id: str) -> GatewayWithState | None:
    return await gateways.read_gateway(connection, bytes.fromhex(gateway_id))


GATEWAYS = Resource("gateway", "passerelle", _find, _show)


@router.post("", status_code=201, summary="Enregistrer une passerelle")
async def create_gateway(body: NewGateway, caller: Manager) -> GatewayAnswer:
    """Enregistrer une passerelle ; elle est entendue dans les 5 secondes."""
    async with caller.changing() as change:
        return await _create(change, body.gateway_id, body)


async def _create(change: Change, gateway_id: str, body: ClaimedGateway) -> GatewayAnswer:
    gateway = body.model_dump(exclude={"gateway_id"})
    known = await _find(change.connection, gateway_id)
    if known is not None and known.tenant_id == change.tenant_id:
        raise Problem(409, "une passerelle avec cet identifiant est déjà enregistrée")
    await gateways.create_gateway(change.connection, change.tenant_id, bytes.fromhex(gateway_id), gateway)
    shown = _show(await GATEWAYS.get(change.connection, gateway_id))
    await change.audit("create", "gateway", gateway_id, after=shown)
    return shown


@router.get("", summary="Lister les passerelles")
async def list_gateways(
    caller: Reader,
    paging: Paged,
    q: Annotated[Search, Query(description="Cherche dans le nom et l'EUI")] = None,
    online: Annotated[bool | None, Query(description="En ligne ou non ; absent : toutes")] = None,
    sort: Annotated[GatewaySort, Query(description=SORT_TEXT)] = "id",
    place: Placed = ANYWHERE,
) -> Page[GatewayAnswer]:
    """Les passerelles de la collectivité ; leur commune est celle du contour où elles sont."""
    ask = ask_of(paging, sort, gateways.LIST)
    async with caller.reading() as connection:
        part = await gateways.list_gateways(
            connection, ask, search=q, online=online, online_within=ONLINE_WITHIN, place=place
        )
        found = await gateways.read_in_order(connection, part.ids)
    return Page(items=[_show(one) for one in found], next=cursor_of(sort, part.following))


@router.get("/unknown", summary="Lister les passerelles non enregistrées")
async def list_unknown_gateways(caller: NetworkOperator, limit: Limit = 100) -> Page[UnknownGatewayAnswer]:
    """Les passerelles qui nous parlent sans être enregistrées, la dernière entendue d'abord."""
    async with caller.reading() as connection:
        rows = await gateways.list_unknown_gateways(connection, limit)
    return Page(items=[UnknownGatewayAnswer.model_validate(row) for row in rows], next=None)


@router.post("/unknown/{gateway_id}/claim", status_code=201, summary="Réclamer une passerelle non enregistrée")
async def claim_gateway(gateway_id: EuiPath, body: ClaimedGateway, caller: NetworkOperator) -> GatewayAnswer:
    """Enregistrer une passerelle qui nous parle déjà, dans la collectivité de la clé ; entendue en 5 s."""
    async with caller.changing() as change:
        if not await gateways.is_unknown_gateway(change.connection, bytes.fromhex(gateway_id)):
            raise not_found(f"passerelle non enregistrée {gateway_id}")
        return await _create(change, gateway_id, body)


@router.get(
    "/address-changes", operation_id="listGatewayAddressChanges", summary="Lister les changements d'adresse"
)
async def list_changes(caller: Reader, limit: Limit = 100) -> Page[AddressChangeAnswer]:
    """Les passerelles qui ont parlé depuis une autre adresse en 90 jours, la dernière d'abord."""
    async with caller.reading() as connection:
        changes = await list_address_changes(connection, most=limit)
    return Page(items=[AddressChangeAnswer.model_validate(change) for change in changes], next=None)


@router.get("/{gateway_id}", summary="Lire une passerelle")
async def read_gateway(gateway_id: EuiPath, caller: Reader) -> SupervisedGateway:
    """Une passerelle, son état et sa supervision."""
    async with caller.reading() as connection:
        gateway = await GATEWAYS.get(connection, gateway_id)
        supervision = await Supervision.read(connection, gateway.gateway_id, gateway.region, datetime.now(UTC))
    return SupervisedGateway(**_show(gateway).model_dump(), supervision=supervision)


@router.patch("/{gateway_id}", summary="Modifier une passerelle")
async def update_gateway(gateway_id: EuiPath, body: GatewayPatch, caller: Manager) -> GatewayAnswer:
    """Modifier une passerelle."""

    async def update(connection: Connection, key: str) -> bool:
        return await gateways.update_gateway(connection, bytes.fromhex(key), body.changed())

    return await GATEWAYS.change(caller, gateway_id, update)


@router.delete("/{gateway_id}", status_code=204, summary="Retirer une passerelle")
async def delete_gateway(gateway_id: EuiPath, caller: Manager) -> Response:
    """Retirer une passerelle ; ce qu'elle a entendu reste."""

    async def delete(connection: Connection, key: str) -> bool:
        return await gateways.delete_gateway(connection, bytes.fromhex(key))

    return await GATEWAYS.delete(caller, gateway_id, delete)
