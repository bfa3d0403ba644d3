"""Which codec reads a profile's frames: tried in the shadow, switched while everything runs, rolled back."""

from datetime import datetime
from typing import Any, Literal

from fastapi import APIRouter
from pydantic import Field

from api.auth import Caller, Change, Manager, Reader
from api.codec_fields import MappingRules
from api.decodings import (
    OVERRIDE,
    POINTED,
    POINTED_FOR_ALL,
    SHARED,
    decoding_for,
    decoding_of_tenant,
    usable_version,
)
from api.fields import Answer, Body, Eui, HexOctets, Id, IdRef, Word, answer_of, example
from api.pages import Cursor, Limit, Page, cursor_id, page_of
from api.routes.device_profiles import PROFILES
from core.model.entities import DeviceProfile
from core.runtime.http.errors import PROBLEM_RESPONSES, Problem, invalid, read_only
from core.runtime.postgres import Connection
from decoders.catalogue import can_switch
from registry.audit import read_last
from registry.codec_shadows import Difference, ShadowCount, ShadowKey, forget_shadow, list_differences, read_shadow
from registry.codecs import delete_override, set_override
from registry.entering import act_as_operator
from registry.profiles import Decoding, point_profile

router = APIRouter(prefix="/v1/device-profiles/{id}", tags=["device-profiles"], responses=PROBLEM_RESPONSES)


class NewDecoding(Body):
    """Ce qui lit les messages d'un profil : un décodeur natif, ou une version publiée et sa correspondance."""

    model_config = example(
        {
            "codec_version_id": 42,
            "mapping": [{"path": "temperature", "quantity": "temperature", "channel": "", "unit": "°C"}],
        }
    )

    codec: Word | None = Field(None, description="Un décodeur natif")
    codec_version_id: IdRef | None = Field(None, description="Ou une version publiée")
    mapping: MappingRules = Field(default_factory=list[dict[str, Any]])
    for_all: bool = Field(
        False, description="D'un profil proposé à toutes : pour toutes (rôle `operate`), sinon pour soi seulement"
    )


class NewShadow(Body):
    """La version à l'essai, à côté de celle qui sert ; null : plus d'essai."""

    model_config = example({"codec_version_id": 43})

    codec_version_id: IdRef | None
    for_all: bool = Field(False, description="D'un profil proposé à toutes : pour toutes (rôle `operate`)")


class Switch(Body):
    """Mettre en service la version à l'essai, ou revenir à ce qui était avant."""

    model_config = example({"mapping": None})

    mapping: MappingRules | None = Field(None, description="Nouvelle correspondance ; absente : la même")
    for_all: bool = Field(False, description="D'un profil proposé à toutes : pour toutes (rôle `operate`)")


class DecodingAnswer(Answer):
    """Ce qui lit les messages des appareils de cette collectivité qui ont ce profil."""

    device_profile_id: int
    source: Literal["own", "override", "shared"] = Field(
        description="`own` son propre profil, `shared` le profil proposé à toutes, `override` le choix de la "
        "collectivité à la place"
    )
    codec: str
    codec_version_id: int | None
    shadow_version_id: int | None
    mapping: list[dict[str, Any]]


class RolledBack(DecodingAnswer):
    """Ce qui lit de nouveau les messages, et depuis quand un autre décodeur les lisait."""

    undone_at: datetime = Field(
        description="Instant du changement qui est défait : les messages reçus depuis peuvent être relus "
        "(`POST /v1/redecodes`, `from`)"
    )


class DifferenceAnswer(answer_of(Difference, {"uplink_id"})):
    """Un message que les deux versions ne lisent pas pareil : raison d'échec, valeurs, avertissements."""

    dev_eui: Eui
    uplink_id: Any
    payload: HexOctets


class ShadowCountAnswer(answer_of(ShadowCount)):
    """Les comptes d'un essai."""

    compared: int = Field(description="Messages lus par les deux")
    dropped: int = Field(description="Messages que l'essai n'a pas lus : trop à la fois, ou version suspendue")


class DecodingShadowAnswer(Page[DifferenceAnswer]):
    """Où en est l'essai, et les derniers messages qui diffèrent."""

    shadow_version_id: int | None
    count: ShadowCountAnswer | None = Field(description="Absent : aucun message encore")


def _show(profile_id: int, source: str, decoding: Decoding, codec: str) -> DecodingAnswer:
    shown = {"device_profile_id": profile_id, "source": source, "codec": codec}
    return DecodingAnswer.model_validate(decoding.noted() | shown)


async def point(
    caller: Caller,
    change: Change,
    profile: DeviceProfile,
    decoding: Decoding,
    *,
    for_all: bool,
    shadows: bool = False,
) -> DecodingAnswer:
    """Read the frames so from now on, for whom the caller may say it; the audit keeps how it was before.

    With `shadows` only the shadow is another.
    """
    if profile.tenant_id not in (None, change.tenant_id):
        raise read_only(f"profil {profile.id}")
    before, former = await decoding_of_tenant(change.connection, change.tenant_id, profile, for_all=for_all)
    source = before
    if can_switch(profile.codec, profile.capabilities) and decoding.codec != profile.codec:
        caller.demand("lighting")  # Otherwise a cabinet could be commanded as if it were a sensor.
    if profile.tenant_id is None and not for_all:
        source = await _override(change, profile, decoding, follows=shadows and before == SHARED)
    else:
        if profile.tenant_id is None:
            caller.demand("operate")
            await act_as_operator(change.connection)
        await point_profile(change.connection, profile.id, decoding)
    if (former.codec_version_id, former.shadow_version_id) != (
        decoding.codec_version_id,
        decoding.shadow_version_id,
    ):
        await forget_shadow(change.connection, change.tenant_id, profile.id)
    details = {"source": before, "former": former.noted(), "now": decoding.noted()}
    action = "shadow" if shadows else _pointed(profile, for_all=for_all)
    await change.audit(
        action, "device_profile", profile.id, details, before=former.noted(), after=decoding.noted()
    )
    return _show(profile.id, source, decoding, decoding.codec)


def _pointed(profile: DeviceProfile, *, for_all: bool) -> str:
    return POINTED_FOR_ALL if profile.tenant_id is None and for_all else POINTED


async def _override(change: Change, profile: DeviceProfile, decoding: Decoding, *, follows: bool) -> str:
    """In the place of a profile that is offered to all; one that `follows` it has a shadow of its own at most."""
    if follows and decoding.shadow_version_id is None:
        await delete_override(change.connection, change.tenant_id, profile.id)
        return SHARED
    if not follows and decoding.codec_version_id is None:
        raise invalid("codec", "shared", "à la place d'un profil proposé à toutes, donnez une version publiée")
    await set_override(
        change.connection,
        change.tenant_id,
        profile.id,
        codec_version_id=None if follows else decoding.codec_version_id,
        shadow_version_id=decoding.shadow_version_id,
        mapping=() if follows else decoding.mapping,
    )
    return SHARED if follows else OVERRIDE


async def name_of(connection: Connection, profile: DeviceProfile, decoding: Decoding) -> str:
    """The codec's name; an override's is not its profile's."""
    if decoding.codec_version_id is None or decoding.codec_version_id == profile.codec_version_id:
        return profile.codec
    version = await usable_version(connection, decoding.codec_version_id, "codec_version_id")
    return version.name


@router.get("/decoding", operation_id="getProfileDecoding", summary="Lire ce qui décode un profil")
async def read_decoding(id: Id, caller: Reader) -> DecodingAnswer:
    """Ce qui lit les messages des appareils de ce profil."""
    async with caller.reading() as connection:
        profile = await PROFILES.get(connection, id)
        source, decoding = await decoding_of_tenant(connection, caller.principal.tenant_id, profile)
        name = await name_of(connection, profile, decoding)
    return _show(id, source, decoding, name)


@router.put("/decoding", operation_id="setProfileDecoding", summary="Choisir ce qui décode un profil")
async def set_decoding(id: Id, body: NewDecoding, caller: Manager) -> DecodingAnswer:
    """Choisir le décodeur ; actif partout en 5 secondes, sans redémarrage. Un essai en cours est arrêté.

    D'un profil proposé à toutes les collectivités, chacune peut choisir le sien pour ses propres appareils.
    """
    async with caller.changing() as change:
        profile = await PROFILES.get(change.connection, id)
        decoding = await decoding_for(
            change, body.codec, body.codec_version_id, body.mapping, profile.capabilities
        )
        return await point(caller, change, profile, decoding, for_all=body.for_all)


@router.delete(
    "/decoding", operation_id="removeProfileDecoding", summary="Revenir au décodeur du profil proposé à toutes"
)
async def remove_decoding(id: Id, caller: Manager) -> DecodingAnswer:
    """Oublier le choix de la collectivité : ses appareils sont lus comme ceux des autres."""
    async with caller.changing() as change:
        return await _forget_override(change, await PROFILES.get(change.connection, id))


async def _forget_override(change: Change, profile: DeviceProfile) -> DecodingAnswer:
    before, former = await decoding_of_tenant(change.connection, change.tenant_id, profile)
    if not await delete_override(change.connection, change.tenant_id, profile.id):
        raise Problem(409, "cette collectivité n'a rien choisi à la place de ce profil")
    await forget_shadow(change.connection, change.tenant_id, profile.id)
    decoding = Decoding.of(profile)
    details = {"source": before, "former": former.noted(), "now": decoding.noted()}
    await change.audit(
        POINTED, "device_profile", profile.id, details, before=former.noted(), after=decoding.noted()
    )
    return _show(profile.id, SHARED, decoding, profile.codec)


@router.put("/shadow", operation_id="setProfileShadow", summary="Mettre une version à l'essai")
async def set_shadow(id: Id, body: NewShadow, caller: Manager) -> DecodingAnswer:
    """Faire lire les mêmes messages par une autre version, sans rien enregistrer que les différences."""
    async with caller.changing() as change:
        profile = await PROFILES.get(change.connection, id)
        _, current = await decoding_of_tenant(change.connection, change.tenant_id, profile, for_all=body.for_all)
        name = await name_of(change.connection, profile, current)
        if body.codec_version_id is not None:
            await usable_version(change.connection, body.codec_version_id, "codec_version_id")
        decoding = Decoding(name, current.codec_version_id, body.codec_version_id, current.mapping)
        return await point(caller, change, profile, decoding, for_all=body.for_all, shadows=True)


@router.get("/shadow", operation_id="getProfileShadow", summary="Lire les différences d'un essai")
async def read_differences(
    id: Id, caller: Reader, limit: Limit = 50, cursor: Cursor = None
) -> DecodingShadowAnswer:
    """Ce que la version à l'essai lit autrement : valeurs, avertissements, échecs ; les 200 derniers."""
    before, tenant_id = cursor_id(cursor), caller.principal.tenant_id
    async with caller.reading() as connection:
        profile = await PROFILES.get(connection, id)
        _, decoding = await decoding_of_tenant(connection, tenant_id, profile)
        if decoding.shadow_version_id is None:
            return DecodingShadowAnswer(items=[], next=None, shadow_version_id=None, count=None)
        key = ShadowKey(tenant_id, id, decoding.shadow_version_id)
        count = await read_shadow(connection, key)
        rows = await list_differences(connection, key, before=before, most=limit + 1)
    page = page_of(rows, limit, DifferenceAnswer.model_validate)
    return DecodingShadowAnswer(
        items=page.items,
        next=page.next,
        shadow_version_id=decoding.shadow_version_id,
        count=None if count is None else ShadowCountAnswer.model_validate(count),
    )


@router.post("/switch", operation_id="switchProfileDecoding", summary="Mettre en service la version à l'essai")
async def switch(id: Id, body: Switch, caller: Manager) -> DecodingAnswer:
    """La version à l'essai lit désormais les messages ; active partout en 5 secondes."""
    async with caller.changing() as change:
        profile = await PROFILES.get(change.connection, id)
        _, current = await decoding_of_tenant(change.connection, change.tenant_id, profile, for_all=body.for_all)
        if current.shadow_version_id is None:
            raise Problem(409, "aucune version n'est à l'essai sur ce profil")
        mapping = list(current.mapping) if body.mapping is None else body.mapping
        decoding = await decoding_for(change, None, current.shadow_version_id, mapping, profile.capabilities)
        return await point(caller, change, profile, decoding, for_all=body.for_all)


@router.post("/rollback", operation_id="rollBackProfileDecoding", summary="Revenir au décodeur d'avant")
async def roll_back(id: Id, body: Switch, caller: Manager) -> RolledBack:
    """Revenir à ce qui lisait les messages avant le dernier changement de décodeur.

    Les messages reçus entre-temps gardent ce que l'autre en a lu, jusqu'à ce qu'ils soient relus.
    """
    async with caller.changing() as change:
        profile = await PROFILES.get(change.connection, id)
        action = _pointed(profile, for_all=body.for_all)
        last = await read_last(change.connection, action, "device_profile", id)
        if last is None:
            raise Problem(409, "le décodeur de ce profil n'a jamais changé")
        undone_at, details = last
        former: dict[str, Any] = details["former"]
        if details["source"] == SHARED and not body.for_all:
            return _rolled_back(await _forget_override(change, profile), undone_at)
        version_id = former["codec_version_id"]
        mapping = list(former["mapping"]) if body.mapping is None else body.mapping
        codec = former["codec"] if version_id is None else None
        decoding = await decoding_for(change, codec, version_id, mapping, profile.capabilities)
        answer = await point(caller, change, profile, decoding, for_all=body.for_all)
        return _rolled_back(answer, undone_at)


def _rolled_back(answer: DecodingAnswer, undone_at: datetime) -> RolledBack:
    return RolledBack(**answer.model_dump(), undone_at=undone_at)
