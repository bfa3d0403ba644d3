"""Devices: enrolled with write-only keys, changed, disabled, removed when they never spoke."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal, Self

from fastapi import APIRouter, Query, Response
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from api.auth import Manager, Reader
from api.extent import Placed
from api.fields import (
    INT4_MOST,
    Archived,
    ArchivedBody,
    AssetKind,
    Body,
    DevAddrHex,
    Eui,
    EuiPath,
    IdQuery,
    IdRef,
    Key,
    Name,
    Patch,
    Search,
    ShortText,
    answer_of,
    example,
    key_octets,
)
from api.join_diagnosis import JoinAnswer
from api.list_fields import BATTERY_TEXT, BEST_TEXT, SORT_TEXT, ExpectedInterval, Model, Quarter, Tag
from api.pages import Page, Paged, ask_of, cursor_of
from api.resources import Resource
from api.routes.lns_sources import SOURCES
from core.runtime.http.errors import PROBLEM_RESPONSES, Problem, not_found
from core.runtime.postgres import Connection
from decoders.catalogue import can_switch
from lorawan.identifiers import DevAddr
from registry import device_lists
from registry.assignments import UnknownAsset, open_assignment
from registry.device_lists import ListedDevice
from registry.enrolment import (
    AbpSession,
    DeviceHasHistory,
    EnrolledDevice,
    OtaaKeys,
    UnknownProfile,
    archive_device,
    create_device,
    delete_device,
    read_dev_addr,
    read_enrolled,
    update_device,
)
from registry.joins import read_join_diagnosis
from registry.keys import KeyWrap
from registry.places import ANYWHERE
from registry.profiles import read_profile

NO_JOIN_EUI = "0" * 16
# For the audit: never a key.
SECRETS = {"app_key", "nwk_s_key", "app_s_key"}

DeviceState = Literal["ok", "silent", "unknown", "disabled"]
DEVICE_STATES_TEXT = (
    "`ok` il parle ; `silent` plus rien depuis deux fois l'intervalle attendu ; `unknown` jamais entendu ; "
    "`disabled` désactivé"
)
DeviceSort = Literal[
    "id", "-id", "name", "-name", "dev_eui", "-dev_eui", "model", "-model", "commune", "-commune",
    "last_seen_at", "-last_seen_at", "battery_percent", "-battery_percent", "distance", "-distance",
]  # fmt: skip

router = APIRouter(prefix="/v1/devices", tags=["devices"], responses=PROBLEM_RESPONSES)


class NewDevice(Body):
    """Un capteur. OTAA : `join_eui` et `app_key` ; ABP : `dev_addr`, `nwk_s_key` et `app_s_key`.

    EXTERNAL : un autre réseau l'active et garde ses clés (autre LNS, NB-IoT, LTE-M, 4G) ; ses messages arrivent
    par une source.
    """

    model_config = example(
        {
            "dev_eui": "70b3d57ed0001234",
            "join_eui": "70b3d57ed0001000",
            "name": "EM400 n° 12",
            "device_profile_id": 42,
            "activation": "OTAA",
            "app_key": "000102030405060708090a0b0c0d0e0f",
            "asset_id": 42,
        }
    )

    dev_eui: Eui
    join_eui: Eui | None = Field(None, examples=["70b3d57ed0001000"])
    name: Name = Field(examples=["EM400 n° 12"])
    device_profile_id: IdRef = Field(description="Le profil de ce modèle de capteur")
    activation: Literal["OTAA", "ABP", "EXTERNAL"] = Field(
        "OTAA", description="Comment le capteur rejoint le réseau"
    )
    app_key: Key | None = None
    dev_addr: DevAddrHex | None = Field(None, description="Adresse ABP : 8 chiffres hexadécimaux")
    nwk_s_key: Key | None = None
    app_s_key: Key | None = None
    skip_f_cnt_check: bool = Field(
        False, description="Accepter un compteur de trames qui repart de zéro (ABP) : moins sûr"
    )
    asset_id: IdRef | None = Field(None, description="L'actif que le capteur sert dès maintenant")
    position: ShortText = Field("", description="La place du capteur, quand plusieurs servent le même actif")
    lns_source_id: IdRef | None = Field(
        None, description="La source dont le LNS transmet ce qu'on dit au capteur ; absente : notre réseau"
    )

    @model_validator(mode="after")
    def _keys_fit_the_activation(self) -> Self:
        otaa = {"join_eui": self.join_eui, "app_key": self.app_key}
        abp = {"dev_addr": self.dev_addr, "nwk_s_key": self.nwk_s_key, "app_s_key": self.app_s_key}
        external: dict[str, object] = {}
        needed, refused = {
            "OTAA": (otaa, abp),
            "ABP": (abp, {"app_key": self.app_key}),
            "EXTERNAL": (external, {"app_key": self.app_key} | abp),
        }[self.activation]
        missing = [name for name, value in needed.items() if value is None]
        surplus = [name for name, value in refused.items() if value is not None]
        if missing or surplus:
            wrong = [f"{name} manque" for name in missing] + [f"{name} est de trop" for name in surplus]
            raise PydanticCustomError(
                "activation", "{activation} : {wrong}", {"activation": self.activation, "wrong": ", ".join(wrong)}
            )
        return self

    def wrapped(self, keys: KeyWrap) -> OtaaKeys | AbpSession | None:
        """The keys as the database may hold them; None when another network has them."""
        if self.activation == "EXTERNAL":
            return None
        if self.app_key is not None:
            return OtaaKeys.seal(keys, bytes.fromhex(self.dev_eui), key_octets(self.app_key))
        assert self.dev_addr and self.nwk_s_key and self.app_s_key  # noqa: S101, PT018 - Validated above.
        return AbpSession.seal(
            keys,
            bytes.fromhex(self.dev_eui),
            DevAddr(bytes.fromhex(self.dev_addr)),
            key_octets(self.nwk_s_key),
            key_octets(self.app_s_key),
        )


class DevicePatch(Patch):
    """Ce qui change ; un champ absent reste tel quel, null le vide."""

    model_config = example({"enabled": False})
    EMPTIED: ClassVar[Mapping[str, Any]] = {"lns_source_id": 0}

    enabled: bool | None = Field(None, description="false : ses messages ne sont plus lus")
    name: Name | None = None
    device_profile_id: IdRef | None = None
    skip_f_cnt_check: bool | None = None
    lns_source_id: Annotated[int, Field(ge=0, le=INT4_MOST)] | None = Field(
        None, description="La source dont le LNS transmet ce qu'on dit au capteur ; 0 : notre réseau"
    )


class DeviceAnswer(answer_of(EnrolledDevice, {"id"})):
    """Un capteur, sans ses clés : seule une sortie de clés (`/v1/key-exports`) les donne."""

    dev_eui: Eui
    tenant_id: int = Field(description="La collectivité à qui il est")
    join_eui: Eui
    lns_source_id: int | None = Field(description="Par quelle source on lui parle ; absente : notre réseau")
    asset_id: int | None = Field(description="L'actif servi en ce moment")


class ListedDeviceAnswer(answer_of(ListedDevice, {"id", "expected_interval"})):
    """Un capteur, comment il va, et ce qu'il sert."""

    dev_eui: Eui
    tenant_id: int = Field(description="La collectivité à qui il est")
    join_eui: Eui
    lns_source_id: int | None = Field(description="Par quelle source on lui parle ; absente : notre réseau")
    asset_id: int | None = Field(description="L'actif servi en ce moment")
    last_seen_at: datetime | None = Field(
        description="Dernier signe de vie : la dernière trame de sa session, ou sa dernière mesure"
    )
    expected_interval_s: ExpectedInterval = Field(
        validation_alias="expected_interval", description="À quel intervalle son profil l'attend, en secondes"
    )
    state: DeviceState = Field(description=DEVICE_STATES_TEXT)
    battery_percent: float | None = Field(description=BATTERY_TEXT)
    best_gateway: Eui | None = Field(description=BEST_TEXT)
    best_rssi: float | None = Field(description="En dBm")
    best_snr: float | None = Field(description="En dB")
    asset: str | None = Field(description="Le nom de l'actif servi, comme la suite : son type, où il est")


class DeviceDetail(DeviceAnswer):
    """Un capteur, et où en est son activation."""

    join: JoinAnswer | None = Field(
        description="Absent : le capteur ne s'active pas par OTAA, ou il est à une autre collectivité"
    )
    current_dev_addr: str | None = Field(
        description="Adresse courte (DevAddr) sous laquelle il parle ; null : pas de session ouverte",
        examples=["01ab23cd"],
    )


async def _find(connection: Connection, dev_eui: str) -> EnrolledDevice | None:
    return await read_enrolled(connection, bytes.fromhex(dev_eui))


DEVICES = Resource("device", "capteur", _find, DeviceAnswer.model_validate)


@router.post("", operation_id="createDevice", status_code=201, summary="Enregistrer un capteur")
async def create(body: NewDevice, caller: Manager) -> DeviceAnswer:
    """Enregistrer un capteur, et le poser sur un actif dans la même transaction si `asset_id` est donné."""
    keys = body.wrapped(caller.platform.keys)
    device: dict[str, Any] = {
        "dev_eui": bytes.fromhex(body.dev_eui),
        "join_eui": bytes.fromhex(body.join_eui or NO_JOIN_EUI),
    } | body.model_dump(include={"name", "skip_f_cnt_check", "lns_source_id"})
    profile_id = body.device_profile_id
    async with caller.changing() as change:
        if body.lns_source_id:
            await SOURCES.get(change.connection, body.lns_source_id)
        known = await DEVICES.find(change.connection, body.dev_eui)
        if known is not None and known.tenant_id == change.tenant_id:
            raise Problem(409, "un capteur avec ce dev_eui est déjà enregistré")
        try:
            device_id = await create_device(change.connection, change.tenant_id, profile_id, keys, device)
            if body.asset_id is not None:
                await open_assignment(change.connection, body.asset_id, device_id, body.position)
        except UnknownProfile:
            raise not_found(f"profil {profile_id}") from None
        except UnknownAsset:
            raise not_found(f"actif {body.asset_id}") from None
        shown = DeviceAnswer.model_validate(await DEVICES.get(change.connection, body.dev_eui))
        await change.audit("create", "device", body.dev_eui, {"position": body.position}, after=shown)
        return shown


@router.get("", summary="Lister les capteurs")
async def list_devices(
    caller: Reader,
    paging: Paged,
    device_profile_id: IdQuery = None,
    enabled: Annotated[bool | None, Query(description="Actifs ou désactivés ; absent : tous")] = None,
    q: Annotated[Search, Query(description="Cherche dans le nom et le DevEUI")] = None,
    archived: Archived = False,
    dev_addr: Annotated[
        DevAddrHex | None, Query(description="Seulement ceux qui parlent sous cette adresse courte (DevAddr)")
    ] = None,
    model: Model = None,
    kind: AssetKind = None,
    tag: Tag = None,
    quarter: Quarter = None,
    state: Annotated[
        list[DeviceState] | None, Query(max_length=4, description=f"{DEVICE_STATES_TEXT} ; répétable")
    ] = None,
    sort: Annotated[DeviceSort, Query(description=SORT_TEXT)] = "id",
    place: Placed = ANYWHERE,
) -> Page[ListedDeviceAnswer]:
    """Les capteurs de la collectivité et de ses membres, et ceux des actifs qui lui sont partagés."""
    wanted = device_lists.WantedDevices(
        device_profile_id,
        enabled,
        q,
        archived,
        None if dev_addr is None else bytes.fromhex(dev_addr),
        model,
        kind,
        tag,
        quarter,
        state,
        place,
    )
    ask = ask_of(paging, sort, device_lists.LIST_WITH_SIGNS)
    async with caller.reading() as connection:
        part = await device_lists.list_devices(connection, ask, wanted)
        found = await device_lists.read_in_order(connection, part.ids)
        await caller.audit_personal(connection, devices=part.ids)
    items = [ListedDeviceAnswer.model_validate(one) for one in found]
    return Page(items=items, next=cursor_of(sort, part.following))


@router.get("/{dev_eui}", operation_id="getDevice", summary="Lire un capteur")
async def read(dev_eui: EuiPath, caller: Reader) -> DeviceDetail:
    """Un capteur ; `join` dit pourquoi son activation est refusée, et quoi faire."""
    async with caller.reading() as connection:
        device = await DEVICES.get(connection, dev_eui)
        found = await read_join_diagnosis(connection, device.id)
        dev_addr = await read_dev_addr(connection, device.id)
    shown = DeviceAnswer.model_validate(device)
    join = None if found is None else JoinAnswer.of(found, shown.dev_eui)
    return DeviceDetail(
        **shown.model_dump(), join=join, current_dev_addr=None if dev_addr is None else dev_addr.hex()
    )


@router.patch("/{dev_eui}", operation_id="updateDevice", summary="Modifier ou désactiver un capteur")
async def update(dev_eui: EuiPath, body: DevicePatch, caller: Manager) -> DeviceAnswer:
    """Modifier, désactiver ou réactiver un capteur ; actif partout en 5 secondes."""
    async with caller.changing() as change:
        before, profile_id = await DEVICES.own(change, dev_eui), body.device_profile_id
        if body.lns_source_id:
            await SOURCES.get(change.connection, body.lns_source_id)
        if profile_id is not None and profile_id != before.device_profile_id:
            wanted = await read_profile(change.connection, profile_id)
            if wanted is None or wanted.tenant_id not in (None, change.tenant_id):
                raise not_found(f"profil {profile_id}")
            former = await read_profile(change.connection, before.device_profile_id)
            if former is not None and can_switch(former.codec, former.capabilities):
                caller.demand("lighting")  # Otherwise a cabinet could be commanded as if it were a sensor.
        await update_device(change.connection, bytes.fromhex(dev_eui), body.changed())
        device = await DEVICES.own(change, dev_eui)
        shown = DEVICES.show(device)
        await change.audit("update", "device", device.dev_eui.hex(), before=DEVICES.show(before), after=shown)
    return shown


@router.put("/{dev_eui}/archived", operation_id="archiveDevice", summary="Archiver un capteur, ou l'en ressortir")
async def archive(dev_eui: EuiPath, body: ArchivedBody, caller: Manager) -> DeviceAnswer:
    """Archiver un capteur : désactivé, hors des listes et des alertes ; ce qu'il a mesuré reste lisible.

    Ressorti, il est actif à nouveau. Pour l'effacer avec tout ce qu'il a dit : `/v1/data-subjects`.
    """
    async with caller.changing() as change:
        before = await DEVICES.own(change, dev_eui)
        await archive_device(change.connection, before.dev_eui, archived=body.archived)
        device = await DEVICES.own(change, dev_eui)
        action = "archive" if body.archived else "unarchive"
        former, shown = DEVICES.show(before), DEVICES.show(device)
        await change.audit(action, "device", device.dev_eui.hex(), before=former, after=shown)
    return DeviceAnswer.model_validate(device)


@router.delete("/{dev_eui}", operation_id="deleteDevice", status_code=204, summary="Retirer un capteur")
async def delete(dev_eui: EuiPath, caller: Manager) -> Response:
    """Retirer un capteur enregistré par erreur. Un capteur qui a parlé se désactive."""
    async with caller.changing() as change:
        device = await DEVICES.own(change, dev_eui)
        try:
            await delete_device(change.connection, device.id)
        except DeviceHasHistory:
            raise Problem(
                409, "ce capteur a un historique : désactivez-le (PATCH, enabled: false) au lieu de le retirer"
            ) from None
        await change.audit("delete", "device", device.dev_eui.hex(), before=DEVICES.show(device))
    return Response(status_code=204)
