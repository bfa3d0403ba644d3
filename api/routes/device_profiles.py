"""Device profiles: what all devices of one model have in common."""

from datetime import timedelta
from typing import Annotated, Literal

from fastapi import APIRouter
from pydantic import Field

from api.auth import Manager, Reader
from api.errors import PROBLEM_RESPONSES, Problem, invalid, not_found
from api.fields import INT4_MOST, Answer, Body, Id, Json, Name, Word, example
from api.pages import Cursor, Limit, Page, cursor_id, page_of
from core.model.entities import DeviceProfile
from core.registry.profiles import ProfileChange, create_profile, list_profiles, read_profile, update_profile
from decoders.catalogue import CODECS
from lighting.requests import can_switch

LONGEST_INTERVAL_S = 32 * 86_400

router = APIRouter(prefix="/v1/device-profiles", tags=["Profils d'appareils"], responses=PROBLEM_RESPONSES)

Interval = Annotated[float, Field(gt=0, le=LONGEST_INTERVAL_S, examples=[3600])]
MacVersion = Literal["1.0.0", "1.0.1", "1.0.2", "1.0.3", "1.0.4"]
Capability = Literal["switch", "dim"]


class NewDeviceProfile(Body):
    """Un modèle de capteur."""

    model_config = example(
        {
            "name": "Borne à verre EM400",
            "vendor": "Milesight",
            "model": "EM400-UDL",
            "codec": "milesight.em400",
            "expected_interval_s": 3600,
        }
    )

    name: Name = Field(description="Nom du profil", examples=["Borne à verre EM400"])
    vendor: Name = Field(description="Fabricant", examples=["Milesight"])
    model: Name = Field(description="Modèle du fabricant", examples=["EM400-UDL"])
    codec: Word = Field(description="Décodeur des messages de ce modèle", examples=["milesight.em400"])
    codec_options: Json = Field(default_factory=dict, description="Réglages propres au décodeur")
    device_class: Literal["A", "C"] = Field(
        "A", description="Classe LoRaWAN : A (sur pile), C (toujours à l'écoute)"
    )
    mac_version: MacVersion = Field("1.0.3", description="Version de LoRaWAN du capteur")
    expected_interval_s: Interval = Field(3600, description="Intervalle attendu entre deux messages, en secondes")
    capabilities: list[Capability] = Field(
        default_factory=list[Capability],
        max_length=8,
        description="Ce que l'appareil sait faire : `switch` (commuter), `dim` (graduer)",
    )


class DeviceProfilePatch(Body):
    """Ce qui change ; un champ absent ou null reste tel quel."""

    model_config = example({"expected_interval_s": 1800})

    name: Name | None = None
    vendor: Name | None = None
    model: Name | None = None
    codec: Word | None = None
    codec_options: Json | None = None
    device_class: Literal["A", "C"] | None = None
    mac_version: MacVersion | None = None
    expected_interval_s: Interval | None = None
    capabilities: list[Capability] | None = Field(None, max_length=8)


class DeviceProfileAnswer(Answer):
    """Un modèle de capteur ; `tenant_id` null : proposé à toutes les collectivités."""

    id: int
    tenant_id: int | None
    name: str
    vendor: str
    model: str
    codec: str
    codec_options: Json
    device_class: str
    mac_version: str
    region: str
    expected_interval_s: float
    capabilities: list[str]


def _show(profile: DeviceProfile) -> DeviceProfileAnswer:
    return DeviceProfileAnswer(
        id=profile.id,
        tenant_id=profile.tenant_id,
        name=profile.name,
        vendor=profile.vendor,
        model=profile.model,
        codec=profile.codec,
        codec_options=profile.codec_options,
        device_class=profile.device_class,
        mac_version=profile.mac_version,
        region=profile.region,
        expected_interval_s=profile.expected_interval.total_seconds(),
        capabilities=list(profile.capabilities),
    )


def _check_codec(codec: str) -> None:
    if codec not in CODECS:
        raise invalid("codec", "unknown_codec", f"décodeur {codec} inconnu ; connus : {', '.join(sorted(CODECS))}")


def _loses_its_switch(profile: DeviceProfile, patch: DeviceProfilePatch) -> bool:
    codec = patch.codec or profile.codec
    capabilities = profile.capabilities if patch.capabilities is None else patch.capabilities
    changes = codec != profile.codec or set(profile.capabilities) - set(capabilities)
    return bool(changes) and can_switch(profile.codec, profile.capabilities)


@router.post("", status_code=201, summary="Créer un profil d'appareil")
async def create_device_profile(body: NewDeviceProfile, caller: Manager) -> DeviceProfileAnswer:
    """Créer un profil. Un décodeur inconnu est refusé, avec la liste des décodeurs connus."""
    _check_codec(body.codec)
    async with caller.changing() as change:
        profile = await create_profile(
            change.connection,
            change.tenant_id,
            name=body.name,
            vendor=body.vendor,
            model=body.model,
            codec=body.codec,
            codec_options=body.codec_options,
            device_class=body.device_class,
            mac_version=body.mac_version,
            expected_interval=timedelta(seconds=body.expected_interval_s),
            capabilities=list(body.capabilities),
        )
        await change.audit("create", "device_profile", profile.id, body.model_dump(mode="json"))
    return _show(profile)


@router.get("", summary="Lister les profils d'appareil")
async def list_device_profiles(
    caller: Reader, limit: Limit = 100, cursor: Cursor = None
) -> Page[DeviceProfileAnswer]:
    """Les profils de la collectivité, et ceux qui sont proposés à toutes."""
    after = cursor_id(cursor, 0) or 0
    async with caller.reading() as connection:
        rows = await list_profiles(connection, after=min(after, INT4_MOST), most=limit + 1)
    return page_of(rows, limit, _show, lambda profile: str(profile.id))


@router.get("/{id}", summary="Lire un profil d'appareil")
async def read_device_profile(id: Id, caller: Reader) -> DeviceProfileAnswer:  # noqa: A002 - The path's word.
    """Un profil."""
    async with caller.reading() as connection:
        profile = await read_profile(connection, id)
    if profile is None:
        raise not_found(f"profil {id}")
    return _show(profile)


@router.patch("/{id}", summary="Modifier un profil d'appareil")
async def update_device_profile(
    id: Id,  # noqa: A002 - The path's word.
    body: DeviceProfilePatch,
    caller: Manager,
) -> DeviceProfileAnswer:
    """Modifier un profil ; la modification est active partout en 5 secondes."""
    if body.codec is not None:
        _check_codec(body.codec)
    given = body.model_dump(exclude_none=True)
    interval_s = given.pop("expected_interval_s", None)
    interval = None if interval_s is None else timedelta(seconds=interval_s)
    async with caller.changing() as change:
        former = await read_profile(change.connection, id)
        if former is not None and _loses_its_switch(former, body):
            caller.demand("lighting")  # Otherwise cabinets could be commanded as if they were sensors.
        profile = await update_profile(change.connection, id, ProfileChange(**given, expected_interval=interval))
        if profile is None:
            if former is None:
                raise not_found(f"profil {id}")
            raise Problem(403, "ce profil est proposé à toutes les collectivités : il ne se modifie pas ici")
        await change.audit("update", "device_profile", id, body.model_dump(mode="json", exclude_none=True))
    return _show(profile)
