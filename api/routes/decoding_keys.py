"""The AES keys with which meters encrypt (M-Bus): written, replaced, removed, seen to be there, never read."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import Field, StringConstraints

from api.auth import Change, Manager, Reader
from api.fields import Answer, Body, EuiPath, Id, Key, example, key_octets
from api.routes.device_profiles import PROFILES
from api.routes.devices import DEVICES
from core.model.entities import DeviceProfile
from core.runtime.http.errors import PROBLEM_RESPONSES, not_found, read_only
from registry.decoding_keys import (
    ANY_METER,
    KeyPresence,
    delete_device_key,
    delete_profile_key,
    list_device_keys,
    read_profile_key,
    set_device_key,
    set_profile_key,
)

OF_DEVICE = "/devices/{dev_eui}/decoding-key"
OF_PROFILE = "/device-profiles/{id}/decoding-key"
METER_ID = r"^[0-9a-fA-F]{8}$"
METER_TEXT = "Le numéro gravé sur le compteur, 8 chiffres, quand le capteur en relaie plusieurs ; absent : tous"

router = APIRouter(prefix="/v1", tags=["decoding-keys"], responses=PROBLEM_RESPONSES)

MeterId = Annotated[str, StringConstraints(pattern=METER_ID, to_lower=True), Field(examples=["12345678"])]
MeterQuery = Annotated[str | None, Query(pattern=METER_ID, description=METER_TEXT, examples=["12345678"])]


class DeviceDecodingKey(Body):
    """La clé AES avec laquelle un compteur chiffre ses télégrammes."""

    model_config = example({"key": "000102030405060708090a0b0c0d0e0f"})

    key: Key
    meter_id: MeterId | None = Field(None, description=METER_TEXT)


class ProfileDecodingKey(Body):
    """La clé AES des compteurs de ce profil qui n'en ont pas à eux."""

    model_config = example({"key": "000102030405060708090a0b0c0d0e0f"})

    key: Key


class KeyPresenceAnswer(Answer):
    """Une clé de décodage est là ; elle ne se relit pas."""

    meter_id: str | None = Field(description="Le compteur dont c'est la clé ; absent : tous ceux du capteur")
    present_since: datetime

    @classmethod
    def of(cls, presence: KeyPresence) -> "KeyPresenceAnswer":
        """As the API says it."""
        return cls(meter_id=presence.meter_id or None, present_since=presence.set_at)


class DeviceKeysAnswer(Answer):
    """Les clés de décodage d'un capteur, sans les clés elles-mêmes."""

    keys: list[KeyPresenceAnswer] = Field(description="Celles du capteur")
    profile_key_since: datetime | None = Field(description="Celle de son profil, par défaut ; absente : aucune")


class ProfileKeyAnswer(Answer):
    """La clé de décodage par défaut d'un profil, sans la clé elle-même."""

    present_since: datetime | None = Field(description="Absente : aucune")


@router.get(
    OF_DEVICE, operation_id="getDeviceDecodingKey", summary="Lire depuis quand un capteur a ses clés de décodage"
)
async def read_keys_of_device(dev_eui: EuiPath, caller: Reader) -> DeviceKeysAnswer:
    """Depuis quand le capteur a une clé de décodage ; la clé elle-même ne se relit jamais."""
    async with caller.reading() as connection:
        device = await DEVICES.get(connection, dev_eui)
        keys = await list_device_keys(connection, device.id)
        default = await read_profile_key(connection, caller.principal.tenant_id, device.device_profile_id)
    is_own = device.tenant_id == caller.principal.tenant_id
    return DeviceKeysAnswer(
        keys=[KeyPresenceAnswer.of(key) for key in keys], profile_key_since=default if is_own else None
    )


@router.put(
    OF_DEVICE, operation_id="setDeviceDecodingKey", summary="Poser ou remplacer une clé de décodage d'un capteur"
)
async def set_key_of_device(dev_eui: EuiPath, body: DeviceDecodingKey, caller: Manager) -> KeyPresenceAnswer:
    """Poser ou remplacer la clé ; elle sert partout en 5 secondes. Relisez les trames d'avant (/v1/redecodes)."""
    meter_id = body.meter_id or ANY_METER
    async with caller.changing() as change:
        device = await DEVICES.own(change, dev_eui)
        key, former = key_octets(body.key), await _presence(change, device.id, meter_id)
        set_at = await set_device_key(change.connection, caller.platform.keys, device.id, key, meter_id)
        after = KeyPresenceAnswer.of(KeyPresence(meter_id, set_at))
        await change.audit("set_decoding_key", "device", device.dev_eui.hex(), before=former, after=after)
    return after


async def _presence(change: Change, device_id: int, meter_id: str) -> KeyPresenceAnswer | None:
    known = await list_device_keys(change.connection, device_id)
    return next((KeyPresenceAnswer.of(one) for one in known if one.meter_id == meter_id), None)


@router.delete(
    OF_DEVICE,
    operation_id="deleteDeviceDecodingKey",
    status_code=204,
    summary="Retirer une clé de décodage d'un capteur",
)
async def delete_key_of_device(dev_eui: EuiPath, caller: Manager, meter_id: MeterQuery = None) -> Response:
    """Retirer la clé ; celle du profil, s'il y en a une, sert alors."""
    async with caller.changing() as change:
        device = await DEVICES.own(change, dev_eui)
        meter = (meter_id or ANY_METER).lower()
        former = await _presence(change, device.id, meter)
        if not await delete_device_key(change.connection, device.id, meter):
            raise not_found(f"clé de décodage du capteur {dev_eui}")
        await change.audit("delete_decoding_key", "device", device.dev_eui.hex(), before=former)
    return Response(status_code=204)


@router.get(
    OF_PROFILE, operation_id="getProfileDecodingKey", summary="Lire depuis quand un profil a une clé de décodage"
)
async def read_key_of_profile(id: Id, caller: Reader) -> ProfileKeyAnswer:
    """Depuis quand vos capteurs de ce profil ont une clé par défaut ; elle ne se relit jamais."""
    tenant_id = caller.principal.tenant_id
    async with caller.reading() as connection:
        profile = await PROFILES.get(connection, id)
        return ProfileKeyAnswer(present_since=await read_profile_key(connection, tenant_id, profile.id))


@router.put(
    OF_PROFILE,
    operation_id="setProfileDecodingKey",
    summary="Poser ou remplacer la clé de décodage par défaut d'un profil",
)
async def set_key_of_profile(id: Id, body: ProfileDecodingKey, caller: Manager) -> ProfileKeyAnswer:
    """La clé de vos capteurs de ce profil qui n'en ont pas à eux ; les autres collectivités gardent la leur."""
    async with caller.changing() as change:
        profile = await _profile(change, id)
        key = key_octets(body.key)
        former = ProfileKeyAnswer(
            present_since=await read_profile_key(change.connection, change.tenant_id, profile.id)
        )
        set_at = await set_profile_key(change.connection, caller.platform.keys, change.tenant_id, profile.id, key)
        after = ProfileKeyAnswer(present_since=set_at)
        await change.audit("set_decoding_key", "device_profile", profile.id, before=former, after=after)
    return after


@router.delete(
    OF_PROFILE,
    operation_id="deleteProfileDecodingKey",
    status_code=204,
    summary="Retirer la clé de décodage par défaut d'un profil",
)
async def delete_key_of_profile(id: Id, caller: Manager) -> Response:
    """Retirer la clé par défaut de vos capteurs de ce profil."""
    async with caller.changing() as change:
        profile = await _profile(change, id)
        former = ProfileKeyAnswer(
            present_since=await read_profile_key(change.connection, change.tenant_id, profile.id)
        )
        if not await delete_profile_key(change.connection, change.tenant_id, profile.id):
            raise not_found(f"clé de décodage du profil {id}")
        await change.audit("delete_decoding_key", "device_profile", profile.id, before=former)
    return Response(status_code=204)


async def _profile(change: Change, profile_id: int) -> DeviceProfile:
    """The tenant's own profile or one that is offered to all, or 404; 403 when it is visible only."""
    profile = await PROFILES.get(change.connection, profile_id)
    if profile.tenant_id not in (None, change.tenant_id):
        raise read_only(f"profil {profile_id}")
    return profile
