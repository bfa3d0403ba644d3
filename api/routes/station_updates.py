"""What LoRa Basics Stations fetch by CUPS: addresses, tokens, programs; wanted of one, or of all of a tenant."""

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Response
from pydantic import Base64Bytes, Field, StringConstraints

from api.auth import Change, Manager, Reader
from api.fields import Answer, Body, EuiPath, Id, IdRef, Label, Name, answer_of, example
from api.pages import Page
from api.resources import Resource
from api.routes.gateways import GATEWAYS, GatewayAnswer
from core.runtime.http.errors import PROBLEM_RESPONSES, Problem, invalid, not_found
from lorawan.gateway.cups import MAX_UPDATE, MAX_URI, SignedUpdate, crc_of_key
from registry import station_updates
from registry.station_updates import StationUpdate

router = APIRouter(prefix="/v1", tags=["gateways"], responses=PROBLEM_RESPONSES)

MAX_PEM = 16_000
HOST = r"[A-Za-z0-9.\-\[\]:]+:[0-9]{1,5}"


class NewStationUpdate(Body):
    """Un programme signé, que les stations qui ont la clé exécutent."""

    model_config = example(
        {
            "name": "station 2.0.7",
            "package": "2.0.7",
            "content": "IyEvYmluL3NoCg==",
            "signature": "MEQCIA==",
            "public_key": "-----BEGIN PUBLIC KEY-----\n…\n-----END PUBLIC KEY-----\n",
        }
    )

    name: Name
    package: Label | None = Field(
        None, description="Ce que dit `version.txt` d'une station qui l'a : celle-là ne le reçoit plus"
    )
    station: Label | None = Field(
        None, description="Ou le début de ce que la station dit d'elle-même", examples=["2.0.7"]
    )
    model: Label | None = Field(None, description="Pour ce modèle seulement, comme la station le dit")
    content: Base64Bytes = Field(description="`update.bin` en Base64, 8 Mo au plus")
    signature: Base64Bytes = Field(
        description="Signature ECDSA du fichier par SHA-512, en Base64 : `openssl dgst -sha512 -sign`"
    )
    public_key: Annotated[str, StringConstraints(max_length=MAX_PEM)] = Field(
        description="Clé publique P-256 en PEM ; les stations l'ont dans `sig-0.key`"
    )


class StationUpdateAnswer(answer_of(StationUpdate, {"tenant_id"})):
    """Un programme, sans son contenu."""

    key_crc: int = Field(description="CRC-32 de la clé : seules les stations qui l'annoncent le reçoivent")


class StationOrder(Body):
    """Ce que la station doit avoir ; un champ absent ou null laisse ce qui était voulu."""

    model_config = example({"tc_uri": "wss://stations.territoire.mairie.fr:443", "new_token": True})

    cups_uri: Annotated[str, StringConstraints(max_length=MAX_URI, pattern=rf"^https?://{HOST}$")] | None = Field(
        None, description="Adresse de CUPS", examples=["https://cups.territoire.mairie.fr:443"]
    )
    tc_uri: Annotated[str, StringConstraints(max_length=MAX_URI, pattern=rf"^wss?://{HOST}$")] | None = Field(
        None, description="Adresse du réseau", examples=["wss://stations.territoire.mairie.fr:443"]
    )
    new_token: bool = Field(
        False,
        description="Un autre jeton, fait quand la station vient le chercher ; son emploi met fin à l'ancien",
    )
    trust: Annotated[str, StringConstraints(max_length=MAX_PEM)] | None = Field(
        None,
        description="Certificat de l'autorité du serveur, en PEM : la station le remplace avec son jeton. null : "
        "celui de la demande d'avant",
    )
    update_id: IdRef | None = Field(None, description="Programme à exécuter")


class OrderedAnswer(Answer):
    """De combien de stations c'est voulu."""

    stations: int = Field(examples=[500])


UPDATES = Resource(
    "station_update", "programme de station", station_updates.read_update, StationUpdateAnswer.model_validate
)


@router.post(
    "/station-updates",
    operation_id="createStationUpdate",
    status_code=201,
    summary="Ajouter un programme de station",
)
async def create_update(body: NewStationUpdate, caller: Manager) -> StationUpdateAnswer:
    """Ajouter un programme signé ; la signature est vérifiée, et les stations la vérifient encore."""
    if body.package is None and body.station is None:
        raise invalid("package", "missing", "sans `package` ni `station`, il serait envoyé à chaque contact")
    if not 1 <= len(body.content) <= MAX_UPDATE:
        raise invalid("content", "too_long", "1 octet à 8 Mo")
    from api.station_trust import NotUsable, verified_key  # noqa: PLC0415 - 2 MB for what is rare.

    try:
        key = verified_key(body.public_key, body.signature, body.content)
    except NotUsable as wrong:
        raise invalid("signature", "signature", str(wrong)) from None
    signed = SignedUpdate(crc_of_key(key), body.signature, body.content)
    described = body.model_dump(include={"name", "package", "station", "model"})

    async def create(change: Change) -> StationUpdate:
        return await station_updates.create_update(change.connection, change.tenant_id, described, signed)

    return await UPDATES.create(caller, create)


@router.get("/station-updates", operation_id="listStationUpdates", summary="Lister les programmes de station")
async def list_updates(caller: Reader) -> Page[StationUpdateAnswer]:
    """Les programmes, le plus ancien d'abord."""
    return await UPDATES.list(caller, station_updates.list_updates)


@router.delete(
    "/station-updates/{id}",
    operation_id="deleteStationUpdate",
    status_code=204,
    summary="Retirer un programme de station",
)
async def delete_update(id: Id, caller: Manager) -> Response:
    """Retirer un programme : aucune station ne le reçoit plus."""
    return await UPDATES.delete(caller, id, station_updates.delete_update)


async def _order(change: Change, stations: Sequence[int], body: StationOrder) -> int:
    if body.model_dump(exclude_defaults=True) == {}:
        raise Problem(422, "rien n'est demandé")
    if body.new_token and body.tc_uri is not None and body.tc_uri.startswith("ws:"):
        raise invalid("tc_uri", "scheme", "une station n'envoie son jeton qu'en wss")
    if body.update_id is not None:
        update = await station_updates.read_update(change.connection, body.update_id)
        if update is None or update.tenant_id != change.tenant_id:
            raise invalid("update_id", "unknown", f"il n'y a pas de programme {body.update_id}")
    from api.station_trust import NotUsable, trust_of  # noqa: PLC0415 - As above.

    try:
        trust = None if body.trust is None else trust_of(body.trust)
    except NotUsable as wrong:
        raise invalid("trust", "trust", str(wrong)) from None
    return await station_updates.want(
        change.connection,
        stations,
        cups_uri=body.cups_uri,
        tc_uri=body.tc_uri,
        new_token=body.new_token,
        trust=trust,
        update_id=body.update_id,
    )


@router.post(
    "/station-orders", operation_id="orderStations", summary="Demander la même chose à toutes les stations"
)
async def order_all(body: StationOrder, caller: Manager) -> OrderedAnswer:
    """À toutes les Basics Stations de la collectivité : chacune le prend à son prochain contact, sous 24 heures.

    Un jeton n'est demandé qu'à celles dont l'autorité est connue : de cette demande, ou d'une d'avant.
    """
    async with caller.changing() as change:
        stations = await station_updates.list_stations(change.connection, change.tenant_id)
        ordered = await _order(change, [station for station, _ in stations], body)
        wanted = body.model_dump(exclude={"trust"}, exclude_none=True)
        await change.audit("order", "station_order", "*", {"stations": ordered}, after=wanted)
    return OrderedAnswer(stations=ordered)


@router.patch(
    "/gateways/{gateway_id}/station-order",
    operation_id="orderStation",
    summary="Demander quelque chose à une station",
)
async def order_one(gateway_id: EuiPath, body: StationOrder, caller: Manager) -> GatewayAnswer:
    """À une Basics Station, même si elle n'est jamais venue ; `cups` dit ce qui est encore attendu."""
    async with caller.changing() as change:
        gateway = await GATEWAYS.own(change, gateway_id)
        if not await _order(change, [gateway.id], body):
            raise invalid("trust", "missing", "la première fois, il faut le certificat de l'autorité du serveur")
        noted = body.model_dump(exclude={"trust"}, exclude_none=True)
        former, shown = GATEWAYS.show(gateway), GATEWAYS.show(await GATEWAYS.get(change.connection, gateway_id))
        await change.audit("order", "station_order", gateway_id, noted, before=former.cups, after=shown.cups)
        return shown


@router.delete(
    "/gateways/{gateway_id}/station-order",
    operation_id="withdrawStationOrder",
    status_code=204,
    summary="Ne plus rien demander",
)
async def withdraw(gateway_id: EuiPath, caller: Manager) -> Response:
    """Ne plus rien demander à une station, qui garde ce qu'elle a."""
    async with caller.changing() as change:
        gateway = await GATEWAYS.own(change, gateway_id)
        if not await station_updates.withdraw(change.connection, gateway.id):
            raise not_found(f"demande à la station {gateway_id}")
        former, shown = GATEWAYS.show(gateway), GATEWAYS.show(await GATEWAYS.get(change.connection, gateway_id))
        await change.audit("delete", "station_order", gateway_id, before=former.cups, after=shown.cups)
    return Response(status_code=204)
