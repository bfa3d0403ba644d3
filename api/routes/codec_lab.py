"""The lab: a codec is tried on the last frames of a device, or on given ones, before it is published."""

import hashlib
from datetime import UTC, datetime
from typing import Annotated, Any, Self

from fastapi import APIRouter
from pydantic import Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from api import store
from api.auth import Caller, Manager
from api.codec_check import check_source
from api.codec_fields import CodecOptions, Form, Language, MappingRules, Source
from api.codec_lab import Tried, frame_of, try_codec
from api.decodings import usable_version
from api.fields import Answer, Body, Eui, HexOctets, IdRef, Instant, Key, Word, example
from core.messages.measurements import Flag
from core.messages.uplinks import Uplink
from core.runtime.http.errors import PROBLEM_RESPONSES, invalid, not_found
from decoders.catalogue import CODECS
from decoders.mapping import propose
from ingest.known_codecs import compiled
from ingest.vendor_codecs import AnyCodec
from lorawan.instants import EPOCH, from_us, to_us
from registry.codecs import CodecVersion
from registry.enrolment import read_enrolled
from registry.profiles import Decoding, read_profile

MOST_FRAMES = 100

router = APIRouter(prefix="/v1/codecs", tags=["codecs"], responses=PROBLEM_RESPONSES)


class FrameBody(Body):
    """Une trame à lire."""

    model_config = example({"f_port": 85, "payload": "0175640367f800"})

    f_port: int = Field(ge=1, le=223, examples=[85])
    payload: Annotated[str, StringConstraints(min_length=2, max_length=484, pattern="^([0-9a-fA-F]{2})*$")] = (
        Field(examples=["0175640367f800"])
    )
    time: Instant | None = Field(None, description="Instant de la trame ; absent : maintenant")


class Trial(Body):
    """Un décodeur, publié, collé ou natif, et les trames sur lesquelles l'essayer."""

    model_config = example(
        {
            "source": "function decodeUplink(input) { return { data: { temperature: input.bytes[0] } }; }",
            "frames": [{"f_port": 1, "payload": "15"}],
        }
    )

    codec_version_id: IdRef | None = Field(None, description="Une version publiée")
    codec: Word | None = Field(None, description="Ou un décodeur natif", examples=["oms.wmbus"])
    language: Language = "javascript"
    source: Source | None = Field(None, description="Ou le texte d'un décodeur")
    form: Form | None = None
    mapping: MappingRules | None = Field(
        None, description="La correspondance ; absente : celle du profil du capteur, sinon celle qui est proposée"
    )
    dev_eui: Eui | None = Field(None, description="Le capteur dont relire les dernières trames")
    last: Annotated[int, Field(ge=1, le=MOST_FRAMES)] = Field(20, description="Combien de ses dernières trames")
    frames: list[FrameBody] = Field(default_factory=list[FrameBody], max_length=MOST_FRAMES)
    codec_options: CodecOptions | None = Field(None, description="Réglages ; absents : ceux du profil du capteur")
    decoding_key: Key | None = Field(
        None, description="La clé du compteur, pour cet essai d'un décodeur natif ; la clé posée ne se relit pas"
    )

    @model_validator(mode="after")
    def _one_codec_and_some_frames(self) -> Self:
        if sum(given is not None for given in (self.codec_version_id, self.source, self.codec)) != 1:
            raise PydanticCustomError("choice", "donnez l'un de « codec_version_id », « source » et « codec »")
        if self.decoding_key is not None and self.codec is None:
            raise PydanticCustomError("choice", "une clé ne va qu'à un décodeur natif (« codec »)")
        if self.dev_eui is None and not self.frames:
            raise PydanticCustomError("choice", "donnez un capteur (« dev_eui ») ou des trames (« frames »)")
        return self


class TriedValue(Answer):
    """Une mesure que le décodeur ferait."""

    time: datetime
    channel: str
    quantity: str
    value: float
    unit: str
    suspect: bool
    time_suspect: bool


class UnconfirmedValue(Answer):
    """Ce que lit une règle à confirmer : montré, jamais mesuré tant que personne ne l'a confirmée."""

    time: datetime
    channel: str
    quantity: str
    value: float
    unit: str


class TriedFrame(Answer):
    """Ce que le décodeur fait d'une trame."""

    time: datetime
    f_port: int
    payload: HexOctets
    read: bool = Field(description="Vrai : lue")
    reason: str | None = Field(description="Sinon, pourquoi")
    values: list[TriedValue]
    to_confirm: list[UnconfirmedValue] = Field(description="À confirmer : lues, mais pas mesurées")
    warnings: list[str]
    unmatched_rules: list[str] = Field(
        description="Chemins de la correspondance qui n'ont rien trouvé dans cette trame"
    )
    console: list[str]
    cpu_us: int | None = Field(description="Temps de calcul, en microsecondes (JavaScript)")
    output: Any = Field(description="Ce que dit le décodeur, avant la correspondance")
    stored_status: str | None = Field(description="Ce qu'il en avait été fait à la réception")
    stored_codec: str | None


class CodecTrialAnswer(Answer):
    """Un essai ; rien n'en est enregistré."""

    codec: str
    frames: list[TriedFrame]
    read: int
    failed: int
    without_values: int = Field(description="Trames lues dont aucune mesure n'est sortie")
    mapping: list[dict[str, Any]] = Field(description="La correspondance employée")
    proposed: list[dict[str, Any]] = Field(description="Celle que proposent les noms, les unités et les valeurs")


class _Subject:
    """What the frames come from: a device with its profile, or nothing but the request."""

    def __init__(self) -> None:
        self.dev_eui, self.name = b"", ""
        self.options: dict[str, Any] = {}
        self.mapping: list[dict[str, Any]] = []
        self.frames: list[Uplink] = []
        self.stored: list[tuple[str | None, str | None]] = []

    async def tried(self, codec: AnyCodec, caller: Caller, options: dict[str, Any]) -> list[Tried]:
        """What this codec makes of the frames."""
        await caller.end_sharing()
        workers = caller.platform.codec_workers
        return await try_codec(codec, self.frames, workers, options=options, dev_eui=self.dev_eui, name=self.name)


@router.post("/try", operation_id="tryCodec", summary="Essayer un décodeur")
async def try_it(body: Trial, caller: Manager) -> CodecTrialAnswer:
    """Essayer un décodeur sur les dernières trames d'un capteur, ou sur d'autres ; rien n'est enregistré."""
    tenant_id, version = caller.principal.tenant_id, None
    async with caller.reading() as connection:
        if body.codec_version_id is not None:
            version = await usable_version(connection, body.codec_version_id, "codec_version_id")
        subject = await _subject(connection, body)
    if body.codec is not None:
        return await _try_native(body, body.codec, subject, caller)
    if version is None:
        await check_source(caller.platform.codec_workers, body.language, body.source or "", body.form)
        version = _pasted(body)
    mapping = subject.mapping if body.mapping is None else body.mapping
    options = subject.options if body.codec_options is None else body.codec_options

    async def tried_with(rules: list[dict[str, Any]]) -> list[Tried]:
        codec = compiled(version, Decoding(version.name, version.id, None, tuple(rules)), tenant_id)
        return await subject.tried(codec, caller, options)

    tried = await tried_with(mapping)
    proposed: list[dict[str, Any]] = []
    if version.language == "javascript":
        proposed = propose([one.output for one in tried if one.output is not None]).as_json()
    if not mapping and body.mapping is None and proposed:
        mapping, tried = proposed, await tried_with(proposed)
    return _show(version.name, subject, tried, mapping, proposed)


async def _try_native(body: Trial, name: str, subject: _Subject, caller: Manager) -> CodecTrialAnswer:
    codec: AnyCodec | None = CODECS.get(name)
    if codec is None:
        raise invalid("codec", "unknown_codec", f"décodeur natif « {name} » inconnu")
    options = dict(subject.options if body.codec_options is None else body.codec_options)
    if body.decoding_key is not None:
        options["key"] = body.decoding_key.get_secret_value()
    tried = await subject.tried(codec, caller, options)
    return _show(name, subject, tried, [], [])


async def _subject(connection: Any, body: Trial) -> _Subject:
    subject = _Subject()
    if body.dev_eui is not None:
        device = await read_enrolled(connection, bytes.fromhex(body.dev_eui))
        if device is None:
            raise not_found(f"capteur {body.dev_eui}")
        subject.dev_eui, subject.name = device.dev_eui, device.name
        profile = await read_profile(connection, device.device_profile_id)
        if profile is not None:
            subject.options, subject.mapping = profile.codec_options, list(profile.mapping)
        for row in await store.list_uplinks(connection, device.id, most=body.last):
            if row.payload and row.f_port is not None and row.f_port > 0:
                at, received = to_us(row.time), to_us(row.received_at)
                subject.frames.append(frame_of(row.f_port, row.payload, at, received))
                subject.stored.append((row.status, row.codec))
    now = datetime.now(UTC)
    for frame in body.frames:
        at = to_us(frame.time or now)
        subject.frames.append(frame_of(frame.f_port, bytes.fromhex(frame.payload), at, at))
        subject.stored.append((None, None))
    return subject


def _pasted(body: Trial) -> CodecVersion:
    """What was pasted, as if it were published: version 0 of a codec without a name."""
    source = body.source or ""
    digest = hashlib.sha256(source.encode()).digest()
    return CodecVersion(
        0,
        None,
        0,
        "essai",
        0,
        body.language,
        source,
        digest,
        body.form,
        (),
        "",
        "",
        EPOCH,
        None,
        None,
        None,
        None,
        None,
    )


def _show(
    name: str,
    subject: _Subject,
    tried: list[Tried],
    mapping: list[dict[str, Any]],
    proposed: list[dict[str, Any]],
) -> CodecTrialAnswer:
    frames = [
        TriedFrame(
            time=from_us(frame.time_us),
            f_port=frame.f_port,
            payload=frame.payload.hex(),
            read=one.reason is None,
            reason=one.reason,
            values=[
                TriedValue(
                    time=from_us(value.time_us),
                    channel=value.channel,
                    quantity=value.quantity.name,
                    value=value.value,
                    unit=value.quantity.unit,
                    suspect=bool(value.flags & Flag.SUSPECT),
                    time_suspect=bool(value.flags & Flag.TIME_SUSPECT),
                )
                for value in one.values
            ],
            to_confirm=[UnconfirmedValue.model_validate(value) for value in one.to_confirm],
            warnings=one.warnings,
            unmatched_rules=one.unmatched,
            console=one.console,
            cpu_us=one.cpu_us,
            output=one.output,
            stored_status=status,
            stored_codec=codec,
        )
        for frame, one, (status, codec) in zip(subject.frames, tried, subject.stored, strict=True)
    ]
    read = sum(frame.read for frame in frames)
    return CodecTrialAnswer(
        codec=name,
        frames=frames,
        read=read,
        failed=len(frames) - read,
        without_values=sum(frame.read and not frame.values for frame in frames),
        mapping=mapping,
        proposed=proposed,
    )
