"""Frames that no codec could read, and stored frames that are decoded again."""

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal, Self

from fastapi import APIRouter, Query
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from api.auth import Change, Manager, Reader
from api.failed_store import FailedFrames, list_failed
from api.fields import Body, Eui, HexOctets, Id, IdQuery, IdRef, Instant, Text, answer_of, example
from api.pages import Cursor, Limit, Page, Paging
from api.resources import Resource
from api.uplink_reasons import uplink_sentence
from core.runtime.http.errors import PROBLEM_RESPONSES, Problem, invalid
from decoders.catalogue import CODECS
from registry.codecs import read_version
from registry.enrolment import read_enrolled
from registry.profiles import read_profile
from registry.redecodes import Redecode, cancel_redecode, list_redecodes, read_redecode, request_redecode

USUAL_PERIOD = timedelta(days=30)
# What is kept of uplinks, and then some.
BEGINNING = datetime(2015, 1, 1, tzinfo=UTC)

router = APIRouter(prefix="/v1", tags=["codecs"], responses=PROBLEM_RESPONSES)


class FailedAnswer(answer_of(FailedFrames, {"detail"})):
    """Des trames d'un capteur restées illisibles pour une même raison ; `reason` et `payload` de la dernière."""

    dev_eui: HexOctets
    frames: int = Field(description="Combien de trames de la période")
    payload: HexOctets
    reason: str | None
    reason_code: str | None = Field(examples=["unreadable"], description="Le code de cette raison")


class NewRedecode(Body):
    """Ce qu'il faut décoder à nouveau : un capteur, un profil, ou toute la collectivité, sur une période."""

    model_config = example({"dev_eui": "70b3d57ed0001234", "from": "2026-11-01T00:00:00Z", "codec_version_id": 12})

    dev_eui: Eui | None = Field(None, description="Ce capteur seulement")
    device_profile_id: IdRef | None = Field(None, description="Les capteurs de ce profil seulement")
    since: Instant | None = Field(None, alias="from", description="Absent : depuis le début")
    until: Instant | None = Field(None, alias="to", description="Exclu ; absent, ou à venir : maintenant")
    codec: Text | None = Field(None, description="Un décodeur intégré, par son nom", examples=["milesight.em400"])
    codec_version_id: IdRef | None = Field(None, description="Une version publiée ; sans rien : celle du profil")
    only_failed: bool = Field(False, description="Seulement les trames restées illisibles")

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        if self.dev_eui is not None and self.device_profile_id is not None:
            raise PydanticCustomError("redecode", "donnez dev_eui ou device_profile_id, pas les deux")
        if self.codec is not None and self.codec_version_id is not None:
            raise PydanticCustomError("redecode", "donnez codec ou codec_version_id, pas les deux")
        names_codec = self.codec is not None or self.codec_version_id is not None
        if names_codec and self.dev_eui is None and self.device_profile_id is None:
            raise PydanticCustomError("redecode", "un décodeur se choisit pour un capteur ou pour un profil")
        return self


class RedecodeAnswer(answer_of(Redecode, {"tenant_id", "device_id", "reached_device_id", "reached_at"})):
    """Un nouveau décodage et où il en est. Les valeurs qui changent ne déclenchent aucune alerte."""

    dev_eui: HexOctets | None
    since: datetime = Field(serialization_alias="from")
    until: datetime = Field(serialization_alias="to")
    state: Literal["waiting", "running", "done", "failed", "cancelled"]
    reason: str | None = Field(description="Pourquoi il a échoué")
    frames: int | None = Field(description="À décoder, comptées au début")
    values_removed: int = Field(description="Valeurs retirées ou remplacées")
    progress: float | None = Field(description="De 0 à 1 ; null tant que rien n'est compté")


REDECODES = Resource("redecode", "nouveau décodage", read_redecode, RedecodeAnswer.model_validate)


@router.get(
    "/failed-frames",
    operation_id="listFailedFrames",
    summary="Lister les trames illisibles, par capteur et par raison",
)
async def failed_frames(
    caller: Reader,
    since: Annotated[Instant | None, Query(alias="from", description="Absent : 30 jours avant `to`")] = None,
    until: Annotated[Instant | None, Query(alias="to", description="Exclu ; absent : maintenant")] = None,
    dev_eui: Annotated[Eui | None, Query(description="Seulement ce capteur")] = None,
    device_profile_id: IdQuery = None,
    limit: Limit = 100,
) -> Page[FailedAnswer]:
    """Ce qu'aucun décodeur n'a su lire : les octets sont gardés, et se décodent à nouveau par /v1/redecodes."""
    end = until or datetime.now(UTC)
    async with caller.reading() as connection:
        found = await list_failed(
            connection,
            since or end - USUAL_PERIOD,
            end,
            dev_eui=None if dev_eui is None else bytes.fromhex(dev_eui),
            device_profile_id=device_profile_id,
            most=limit,
        )
    return Page(items=[_failed(one) for one in found], next=None)


def _failed(one: FailedFrames) -> FailedAnswer:
    reason = uplink_sentence(one.reason, one.detail, one.codec, one.codec_version)
    return FailedAnswer.model_validate(asdict(one) | {"reason": reason, "reason_code": one.reason})


@router.post(
    "/redecodes",
    operation_id="createRedecode",
    status_code=201,
    summary="Décoder à nouveau des trames enregistrées",
)
async def request(body: NewRedecode, caller: Manager) -> RedecodeAnswer:
    """Un travail de fond : jour par jour, ce que lit le décodeur remplace ce que l'ancien avait lu."""
    now = datetime.now(UTC)
    since, until = body.since or BEGINNING, min(body.until or now, now)
    if since >= until:
        raise invalid("from", "period", "la période est vide")
    async with caller.changing() as change:
        device_id = await _device(change, body.dev_eui)
        await _check(change, body)
        asked = body.model_dump(include={"device_profile_id", "codec", "codec_version_id", "only_failed"})
        job = await request_redecode(
            change.connection,
            change.tenant_id,
            device_id=device_id,
            since=since,
            until=until,
            requested_by=change.actor,
            **asked,
        )
        asked_for = body.model_dump(mode="json", by_alias=True)
        await change.audit("redecode.request", "redecode", job.id, after=asked_for)
    return REDECODES.show(job)


async def _device(change: Change, dev_eui: str | None) -> int | None:
    if dev_eui is None:
        return None
    device = await read_enrolled(change.connection, bytes.fromhex(dev_eui))
    if device is None or device.tenant_id != change.tenant_id:
        raise invalid("dev_eui", "unknown", f"pas de capteur {dev_eui} dans la collectivité")
    return device.id


async def _check(change: Change, body: NewRedecode) -> None:
    """What the body names exists and is the tenant's, or everybody's."""
    profile_id, version_id = body.device_profile_id, body.codec_version_id
    if profile_id is not None and await read_profile(change.connection, profile_id) is None:
        raise invalid("device_profile_id", "unknown", f"pas de profil {profile_id}")
    if version_id is not None:
        version = await read_version(change.connection, version_id)
        if version is None:
            raise invalid("codec_version_id", "unknown", f"pas de version {version_id}")
        if version.quarantined_at is not None:
            raise invalid("codec_version_id", "suspended", f"{version.name} v{version.version} est suspendu")
    if body.codec is not None and body.codec not in CODECS:
        raise invalid("codec", "unknown", f"pas de décodeur intégré « {body.codec} »")


@router.get("/redecodes", operation_id="listRedecodes", summary="Lister les nouveaux décodages")
async def list_all(caller: Reader, cursor: Cursor = None, limit: Limit = 100) -> Page[RedecodeAnswer]:
    """Ceux de la collectivité, le dernier d'abord."""
    paging = Paging(limit, cursor)
    return await REDECODES.page(caller, paging, list_redecodes, before=paging.before, most=paging.most)


@router.get("/redecodes/{id}", operation_id="getRedecode", summary="Suivre un nouveau décodage")
async def read(id: Id, caller: Reader) -> RedecodeAnswer:
    """Où il en est."""
    return await REDECODES.read(caller, id)


@router.post("/redecodes/{id}/cancel", operation_id="cancelRedecode", summary="Arrêter un nouveau décodage")
async def cancel(id: Id, caller: Manager) -> RedecodeAnswer:
    """Ce qui est remplacé le reste ; rien d'autre ne l'est plus. Relancez-le pour aller au bout."""
    async with caller.changing() as change:
        former = REDECODES.show(await REDECODES.get(change.connection, id))
        job = await cancel_redecode(change.connection, id)
        if job is None:
            raise Problem(409, "il est déjà terminé")
        shown = REDECODES.show(job)
        await change.audit("redecode.cancel", "redecode", id, before=former, after=shown)
    return shown
