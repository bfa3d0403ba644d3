"""Kits that are commissioned at once, and the record of their acceptance."""

import asyncio
from datetime import datetime
from typing import Annotated, Any, Self

from fastapi import APIRouter, Response
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from alerting import rule_store
from alerting.rules.checks import InvalidRule
from api import kit_record
from api.auth import Caller, Change, FieldAgent, Manager, Reader
from api.fields import (
    PRINTABLE,
    Body,
    Eui,
    Id,
    IdRef,
    Key,
    Latitude,
    Longitude,
    Text,
    Word,
    answer_of,
    example,
    key_octets,
)
from api.pages import Page, Paged, page_of
from api.printed import PDF
from api.resources import Resource
from api.routes.alert_rules import NewRule
from api.routes.assets import ASSETS, PERSONAL, checked_kind_attributes
from api.routes.devices import NO_JOIN_EUI
from api.routes.kits import ITEMS_MOST, KITS, RETIRED, KitItem, wrong_field
from api.routes.lns_sources import SOURCES
from api.routes.work_orders import Lines
from core.model.ownership import REGISTERED_ELSEWHERE
from core.model.region import region_of
from core.runtime.http.errors import PROBLEM_RESPONSES, Problem
from core.runtime.postgres import Connection, UniqueViolationError
from registry import assets, kits
from registry.asset_photos import ASSET_PHOTOS
from registry.assignments import open_assignment
from registry.enrolment import OtaaKeys, UnknownProfile, create_device, read_enrolled
from registry.kits import CommissionedItem, Commissioning, KitTemplate
from registry.tenants import read_with_timezone

router = APIRouter(prefix="/v1", tags=["kits"], responses=PROBLEM_RESPONSES)

NAME_MOST, RULE_NAME_MOST = 200, 63
SITE = "{site}"
# Octets of photos in one document, which is made in memory.
PRINTED_MOST = 16 << 20


class KitDevice(Body):
    """Le capteur d'une ligne du kit. Sans `app_key`, un autre réseau l'active."""

    model_config = example(
        {"item": "co2_1", "dev_eui": "70b3d57ed0001234", "join_eui": "70b3d57ed0001000", "app_key": "00" * 16}
    )

    item: Word = Field(description="`key` de la ligne", examples=["co2_1"])
    dev_eui: Eui
    join_eui: Eui | None = Field(None, examples=["70b3d57ed0001000"])
    app_key: Key | None = None
    lns_source_id: IdRef | None = Field(
        None, description="La source dont le LNS lui parle ; absente : notre réseau"
    )

    @model_validator(mode="after")
    def _has_a_join_eui_with_its_key(self) -> Self:
        if self.app_key is not None and self.join_eui is None:
            raise PydanticCustomError("join_eui", "join_eui manque : il va avec app_key")
        return self


class NewCommissioning(Body):
    """Un kit, posé sur un site."""

    model_config = example(
        {
            "site": "École Jules-Ferry",
            "commune": "Landerneau",
            "devices": [
                {
                    "item": "co2_1",
                    "dev_eui": "70b3d57ed0001234",
                    "join_eui": "70b3d57ed0001000",
                    "app_key": "00" * 16,
                }
            ],
        }
    )

    site: Annotated[str, Field(min_length=1, max_length=100, pattern=PRINTABLE, examples=["École Jules-Ferry"])]
    commune: Text = Field("", examples=["Landerneau"])
    street: Text = ""
    latitude: Latitude | None = None
    longitude: Longitude | None = None
    parent_id: IdRef | None = Field(None, description="L'actif dont tous dépendent : le bâtiment")
    devices: list[KitDevice] = Field(min_length=1, max_length=ITEMS_MOST, description="Un par ligne du kit")


class CommissionedItemAnswer(answer_of(CommissionedItem, {"gateway_id", "dev_eui"})):
    """Un capteur du kit : attendu, ou reçu, et comment."""

    place: int
    item: str = Field(description="`key` de sa ligne dans le kit")
    asset_id: int | None
    state: str = Field(description="`expected` attendu, `seen` reçu depuis la mise en service", examples=["seen"])
    dev_eui: Eui | None
    rssi: float | None = Field(description="dBm, de la passerelle qui l'entend le mieux")
    gateway_id: Eui | None = Field(description="Cette passerelle ; null : d'une autre collectivité")
    photo_id: int | None = Field(description="La dernière photo de l'actif ; GET /v1/photos/{id}")

    @classmethod
    def of(cls, item: CommissionedItem) -> Self:
        """As it is shown."""
        shown: dict[str, Any] = {name: getattr(item, name) for name in CommissionedItem.__slots__}
        shown["state"] = "expected" if item.seen_at is None else "seen"
        return cls.model_validate(shown)


class CommissioningAnswer(answer_of(Commissioning)):
    """Une mise en service."""

    accepted_at: datetime | None = Field(description="Quand la recette a été prononcée ; null : pas encore")
    reservations: str = Field(description="Les réserves de la recette")


class RecordAnswer(CommissioningAnswer):
    """Le procès-verbal de recette."""

    expected: int = Field(description="Combien de capteurs sont attendus en tout")
    seen: int = Field(description="Combien ont été reçus")
    items: list[CommissionedItemAnswer]


class Acceptance(Body):
    """Prononcer la recette."""

    model_config = example({"reservations": "Porte 3 : capteur à rapprocher."})

    reservations: Lines = Field("", description="Les réserves ; exigées tant qu'un capteur n'a pas été reçu")


COMMISSIONINGS = Resource(
    "kit_commissioning", "mise en service", kits.read_commissioning, CommissioningAnswer.model_validate
)


@router.post("/kits/{id}/commissionings", status_code=201, summary="Mettre un kit en service")
async def create_commissioning(id: Id, body: NewCommissioning, caller: Manager) -> RecordAnswer:
    """Enregistrer tous les capteurs, leurs actifs et leurs règles, en une fois : tout, ou rien.

    Chaque capteur est `expected` jusqu'à son premier message. Un DevEUI donné deux fois, ou déjà enregistré,
    une ligne du kit qui manque : 422, et rien n'est fait.
    """
    async with caller.changing() as change:
        template = await KITS.own(change, id)
        if template.retired_at is not None:
            raise Problem(409, RETIRED)
        items = [KitItem.model_validate(item) for item in template.items]
        devices = _device_of_each(items, body.devices)
        for source_id in {one.lns_source_id for one in body.devices if one.lns_source_id is not None}:
            await SOURCES.get(change.connection, source_id)
        if body.parent_id is not None:
            await ASSETS.own(change, body.parent_id)
        made = await kits.create_commissioning(
            change.connection, change.tenant_id, template.id, body.site, change.actor
        )
        for place, (item, (index, device)) in enumerate(zip(items, devices, strict=True)):
            asset_id = await _make_asset(change, made, item, body)
            device_id = await _make_device(change, caller, item, device, index, body.site)
            await open_assignment(change.connection, asset_id, device_id, "")
            await kits.add_item(change.connection, change.tenant_id, made, place, item.key, asset_id, device_id)
        await _make_rules(change, made, template)
        shown = await _record(change.connection, made)
        await change.audit("create", COMMISSIONINGS.entity, made, after=shown)
    return shown


def _device_of_each(items: list[KitItem], given: list[KitDevice]) -> list[tuple[int, KitDevice]]:
    """The device of each item, with its place among those given; raises 422 for what is missing or twice there."""
    seen: dict[str, int] = {}
    by_item: dict[str, tuple[int, KitDevice]] = {}
    known = {item.key for item in items}
    for index, device in enumerate(given):
        if device.dev_eui in seen:
            raise wrong_field(f"devices.{index}.dev_eui", f"le DevEUI {device.dev_eui} est donné deux fois")
        if device.item not in known:
            raise wrong_field(f"devices.{index}.item", f"le kit n'a pas de ligne {device.item}")
        if device.item in by_item:
            raise wrong_field(f"devices.{index}.item", f"la ligne {device.item} a déjà son capteur")
        seen[device.dev_eui] = index
        by_item[device.item] = index, device
    missing = [item.key for item in items if item.key not in by_item]
    if missing:
        raise wrong_field("devices", f"il manque le capteur de : {', '.join(missing)}")
    return [by_item[item.key] for item in items]


async def _make_asset(change: Change, commissioning_id: int, item: KitItem, body: NewCommissioning) -> int:
    given: dict[str, Any] = {
        "kind": item.asset_kind,
        "name": item.asset_name.replace(SITE, body.site)[:NAME_MOST],
        "commune": body.commune,
        "street": body.street,
        "latitude": body.latitude,
        "longitude": body.longitude,
        "attributes": checked_kind_attributes(item.asset_kind, item.attributes),
        "privacy_class": None,
        "tags": [f"kit_{commissioning_id}"],
        "external_reference": None,
        "insee": None,
        "quarter": "",
    }
    try:
        asset = await assets.create_asset(change.connection, change.tenant_id, given)
    except UniqueViolationError:
        raise wrong_field("site", f"un actif {item.asset_kind} s'appelle déjà {given['name']}") from None
    if body.parent_id is not None:
        try:
            await assets.set_parent(change.connection, asset.id, body.parent_id)
        except assets.ClassToConfirm:
            raise wrong_field("parent_id", f"ce dont il dépend est de classe {PERSONAL}") from None
    return asset.id


async def _make_device(
    change: Change, caller: Caller, item: KitItem, device: KitDevice, index: int, site: str
) -> int:
    dev_eui = bytes.fromhex(device.dev_eui)
    field = f"devices.{index}.dev_eui"
    if await read_enrolled(change.connection, dev_eui) is not None:
        raise wrong_field(field, f"le DevEUI {device.dev_eui} est déjà enregistré")
    keys = None
    if device.app_key is not None:
        keys = OtaaKeys.seal(caller.platform.keys, dev_eui, key_octets(device.app_key))
    given: dict[str, Any] = {
        "dev_eui": dev_eui,
        "join_eui": bytes.fromhex(device.join_eui or NO_JOIN_EUI),
        "name": (item.device_name or item.asset_name).replace(SITE, site)[:NAME_MOST],
        "skip_f_cnt_check": False,
        "lns_source_id": device.lns_source_id,
    }
    try:
        return await create_device(change.connection, change.tenant_id, item.device_profile_id, keys, given)
    except UniqueViolationError:
        raise wrong_field(field, f"le DevEUI {device.dev_eui} est {REGISTERED_ELSEWHERE}") from None
    except UnknownProfile:
        raise wrong_field("devices", f"profil {item.device_profile_id} introuvable") from None


async def _make_rules(change: Change, commissioning_id: int, template: KitTemplate) -> None:
    suffix = f"_{commissioning_id}"
    for stored in template.rules:
        name = stored["name"][: RULE_NAME_MOST - len(suffix)] + suffix
        rule = NewRule.model_validate(stored | {"name": name, "tags": [f"kit_{commissioning_id}"]})
        try:
            await rule_store.create_rule(change.connection, rule.rule(change.tenant_id))
        except InvalidRule as wrong:
            raise Problem(422, f"règle {name} : {wrong}") from None


async def _record(connection: Connection, commissioning_id: int) -> RecordAnswer:
    found = await COMMISSIONINGS.get(connection, commissioning_id)
    items = [CommissionedItemAnswer.of(item) for item in await kits.list_items(connection, commissioning_id)]
    seen = sum(item.state == "seen" for item in items)
    shown = CommissioningAnswer.model_validate(found).model_dump()
    return RecordAnswer.model_validate(shown | {"expected": len(items), "seen": seen, "items": items})


@router.get("/kit-commissionings", summary="Lister les mises en service")
async def list_commissionings(caller: Reader, paging: Paged) -> Page[CommissioningAnswer]:
    """Les kits mis en service, le dernier d'abord."""
    async with caller.reading() as connection:
        found = await kits.list_commissionings(connection, paging.before, paging.most)
    return page_of(found, paging.limit, COMMISSIONINGS.show)


@router.get("/kit-commissionings/{id}", summary="Lire un procès-verbal de recette")
async def read_commissioning(id: Id, caller: Reader) -> RecordAnswer:
    """Ce qui est attendu et ce qui a été reçu : RSSI, meilleure passerelle, position, photo."""
    async with caller.reading() as connection:
        shown = await _record(connection, id)
        await _audit_read(caller, connection, shown)
    return shown


async def _audit_read(caller: Caller, connection: Connection, record: RecordAnswer) -> None:
    ids: set[int] = {item.asset_id for item in record.items if item.asset_id is not None}
    await caller.audit_personal(connection, assets=sorted(ids))


@router.get(
    "/kit-commissionings/{id}/record.pdf",
    summary="Imprimer un procès-verbal de recette",
    response_class=Response,
    responses={200: {"content": {PDF: {"schema": {"type": "string", "format": "binary"}}}}},
)
async def print_commissioning(id: Id, caller: Reader) -> Response:
    """Le procès-verbal en PDF, avec la dernière photo de chaque actif (16 Mo en tout ; des autres, le numéro)."""
    async with caller.reading() as connection:
        shown = await _record(connection, id)
        await _audit_read(caller, connection, shown)
        owner = (await COMMISSIONINGS.get(connection, id)).tenant_id
        tenant, timezone = await read_with_timezone(connection, owner)
        photos, room = dict[int, bytes](), PRINTED_MOST
        for item in shown.items:
            photo = None if item.photo_id is None else await ASSET_PHOTOS.read(connection, item.photo_id)
            if photo is None or photo.octets > room:
                continue
            found = await ASSET_PHOTOS.read_content(connection, photo.id)
            if found is not None:
                photos[item.place] = found[1]
                room -= photo.octets
    zone = region_of(tenant.department, timezone).zone
    octets = await asyncio.to_thread(kit_record.printed, shown.model_dump(), photos, zone)
    name = f"recette-{id}.pdf"
    return Response(octets, media_type=PDF, headers={"Content-Disposition": f'inline; filename="{name}"'})


@router.post("/kit-commissionings/{id}/acceptance", summary="Prononcer la recette d'un kit")
async def accept_commissioning(id: Id, body: Acceptance, caller: FieldAgent) -> RecordAnswer:
    """Prononcer la recette, une fois ; avec des réserves tant qu'un capteur n'a pas été reçu."""
    async with caller.changing() as change:
        before = await _record(change.connection, id)
        if before.seen < before.expected and not body.reservations:
            missing = [item.item for item in before.items if item.state == "expected"]
            raise Problem(422, f"pas encore reçus : {', '.join(missing)} ; dites-le en réserve, ou attendez")
        if not await kits.accept(change.connection, id, change.actor, body.reservations):
            raise Problem(409, "cette recette est déjà prononcée")
        shown = await _record(change.connection, id)
        await change.audit("accept", COMMISSIONINGS.entity, id, before=before, after=shown)
    return shown
