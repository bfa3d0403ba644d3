"""Codecs that are data: published in versions, compared, suspended and released."""

import asyncio
import difflib
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import Field

from api.auth import Caller, Change, Manager, NetworkOperator, Reader
from api.codec_check import check_source
from api.codec_fields import Form, Language, Source
from api.fields import (
    INT4_MOST,
    Answer,
    Body,
    HexOctets,
    Id,
    Json,
    Label,
    Search,
    Text,
    Word,
    answer_of,
    example,
)
from api.pages import Cursor, Limit, Page, Paged, cursor_id, page_of
from api.resources import Resource
from core.runtime.http.errors import PROBLEM_RESPONSES, Problem, invalid, not_found
from decoders.catalogue import CODECS
from registry.codecs import (
    CodecEntry,
    CodecVersion,
    create_codec,
    list_codecs,
    list_versions,
    publish_version,
    read_codec,
    read_version,
    release_version,
)
from registry.entering import act_as_operator

MOST_EXAMPLES = 1000
DIFF_LINES = 5000

router = APIRouter(prefix="/v1", tags=["codecs"], responses=PROBLEM_RESPONSES)


class NewCodec(Body):
    """Un décodeur, encore sans version."""

    model_config = example({"name": "acme.niveau", "vendor": "Acme", "model": "Niveau 3"})

    name: Word = Field(description="Son nom, unique dans la collectivité", examples=["acme.niveau"])
    vendor: Label = Field("", examples=["Acme"])
    model: Label = Field("", examples=["Niveau 3"])
    shared: bool = Field(False, description="Proposé à toutes les collectivités : rôle `operate`")


class CodecAnswer(answer_of(CodecEntry)):
    """Un décodeur ; `tenant_id` null : proposé à toutes les collectivités."""

    versions: int = Field(description="Nombre de versions publiées")


class NewCodecVersion(Body):
    """Une version : elle ne change plus. Le même texte publié deux fois est la même version."""

    model_config = example(
        {
            "language": "javascript",
            "source": "function decodeUplink(input) { return { data: { niveau: input.bytes[0] } }; }",
            "note": "Micrologiciel 3.2",
        }
    )

    language: Language = Field("javascript", description="`javascript` du fabricant, ou `declarative` (YAML)")
    source: Source
    form: Form | None = Field(None, description="Point d'entrée à employer ; absent : le premier qui convient")
    examples: list[Json] = Field(default_factory=list[dict[str, Any]], max_length=MOST_EXAMPLES)
    note: Text = Field("", description="Ce qui change", examples=["Micrologiciel 3.2"])


class CodecVersionSummary(answer_of(CodecVersion, {"source", "examples"})):
    """Une version sans son texte."""

    sha256: HexOctets
    quarantined_at: datetime | None = Field(description="Suspendue depuis : ses trames attendent")


class CodecVersionAnswer(answer_of(CodecVersion)):
    """Une version, avec son texte et ses exemples."""

    sha256: HexOctets
    quarantined_at: datetime | None = Field(description="Suspendue depuis : ses trames attendent")


class PublishedVersion(CodecVersionSummary):
    """Une version, nouvelle ou déjà là."""

    is_new: bool


class DiffAnswer(Answer):
    """Les lignes qui changent, au format `diff -u`."""

    from_id: int
    to_id: int
    diff: str
    truncated: bool = Field(description="Vrai : la suite est coupée")


CODECS_PUBLISHED = Resource("codec", "décodeur", read_codec, CodecAnswer.model_validate)
VERSIONS = Resource("codec_version", "version de décodeur", read_version, CodecVersionSummary.model_validate)


async def write_as(caller: Caller, change: Change, owner: int | None) -> None:
    """What is offered to all, the operator alone writes."""
    if owner is None:
        caller.demand("operate")
        await act_as_operator(change.connection)


@router.post("/codecs", operation_id="createCodec", status_code=201, summary="Créer un décodeur")
async def create(body: NewCodec, caller: Manager) -> CodecAnswer:
    """Créer un décodeur ; ses versions se publient ensuite. Le nom d'un décodeur natif est réservé."""
    if body.name in CODECS:
        raise invalid("name", "native", f"{body.name} est le nom d'un décodeur natif")
    async with caller.changing() as change:
        owner = None if body.shared else change.tenant_id
        await write_as(caller, change, owner)
        codec = await create_codec(change.connection, owner, name=body.name, vendor=body.vendor, model=body.model)
        shown = CodecAnswer.model_validate(codec)
        await change.audit("create", "codec", codec.id, after=shown)
    return shown


@router.get("/codecs", operation_id="listCodecs", summary="Lister les décodeurs publiés")
async def list_all(
    caller: Reader,
    paging: Paged,
    q: Annotated[Search, Query(description="Cherche dans le nom, le fabricant et le modèle")] = None,
) -> Page[CodecAnswer]:
    """Les décodeurs de la collectivité, et ceux qui sont proposés à toutes."""
    return await CODECS_PUBLISHED.page(caller, paging, list_codecs, after=paging.after, most=paging.most, search=q)


@router.get("/codecs/{id}", operation_id="getCodec", summary="Lire un décodeur")
async def read(id: Id, caller: Reader) -> CodecAnswer:
    """Un décodeur."""
    return await CODECS_PUBLISHED.read(caller, id)


@router.get("/codecs/{id}/versions", operation_id="listCodecVersions", summary="Lister les versions d'un décodeur")
async def list_versions_of_codec(
    id: Id,
    caller: Reader,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page[CodecVersionSummary]:
    """Les versions, la dernière d'abord."""
    before = cursor_id(cursor)
    async with caller.reading() as connection:
        await CODECS_PUBLISHED.get(connection, id)
        rows = await list_versions(
            connection, id, before=None if before is None else min(before, INT4_MOST), most=limit + 1
        )
    return page_of(rows, limit, VERSIONS.show, lambda version: str(version.version))


@router.post(
    "/codecs/{id}/versions",
    operation_id="publishCodecVersion",
    status_code=201,
    summary="Publier une version d'un décodeur",
)
async def publish(id: Id, body: NewCodecVersion, caller: Manager) -> PublishedVersion:
    """Publier une version, après vérification de son texte. Aucun profil ne l'emploie encore."""
    async with caller.reading() as connection:
        codec = await CODECS_PUBLISHED.get(connection, id)
    if codec.tenant_id is None and not caller.has("operate"):
        raise Problem(403, "ce décodeur est proposé à toutes les collectivités : publiez le vôtre")
    await check_source(caller.platform.codec_workers, body.language, body.source, body.form)
    async with caller.changing() as change:
        await write_as(caller, change, codec.tenant_id)
        try:
            version_id, is_new = await publish_version(change.connection, id, author=change.actor, **dict(body))
        except LookupError:
            raise not_found(f"décodeur {id}") from None
        version = await VERSIONS.get(change.connection, version_id)
        if is_new:
            noted = {"codec": codec.name, "version": version.version, "sha256": version.sha256.hex()}
            await change.audit("publish", "codec_version", version_id, after=noted)
    return PublishedVersion(**VERSIONS.show(version).model_dump(), is_new=is_new)


@router.get("/codec-versions/{id}", operation_id="getCodecVersion", summary="Lire une version d'un décodeur")
async def read_one_version(id: Id, caller: Reader) -> CodecVersionAnswer:
    """Une version, avec son texte."""
    async with caller.reading() as connection:
        return CodecVersionAnswer.model_validate(await VERSIONS.get(connection, id))


@router.get(
    "/codec-versions/{id}/diff", operation_id="compareCodecVersions", summary="Comparer deux versions de décodeurs"
)
async def diff(
    id: Id,
    caller: Reader,
    against: Annotated[int, Query(ge=1, le=INT4_MOST, description="L'autre version, l'ancienne", examples=[41])],
) -> DiffAnswer:
    """Ce qui change entre deux versions."""
    async with caller.reading() as connection:
        new = await VERSIONS.get(connection, id)
        old = await VERSIONS.get(connection, against)
    await caller.end_sharing()
    lines = await asyncio.to_thread(_diff, old, new)
    return DiffAnswer(
        from_id=old.id,
        to_id=new.id,
        diff="\n".join(lines[:DIFF_LINES]),
        truncated=len(lines) > DIFF_LINES,
    )


def _diff(old: CodecVersion, new: CodecVersion) -> list[str]:
    before, after = (f"{version.name} v{version.version}" for version in (old, new))
    lines = old.source.splitlines(), new.source.splitlines()
    return list(difflib.unified_diff(*lines, before, after, lineterm=""))


@router.post(
    "/codec-versions/{id}/release", operation_id="releaseCodecVersion", summary="Lever la suspension d'une version"
)
async def release(id: Id, caller: NetworkOperator) -> CodecVersionSummary:
    """Remettre en service une version suspendue pour dépassements de temps ; ses trames se relisent ensuite."""
    async with caller.changing() as change:
        version = await VERSIONS.get(change.connection, id)
        await write_as(caller, change, version.tenant_id)
        if not await release_version(change.connection, id, change.actor):
            raise Problem(409, "cette version n'est pas suspendue")
        before = VERSIONS.show(version)
        shown = VERSIONS.show(await VERSIONS.get(change.connection, id))
        await change.audit("release", "codec_version", id, {"codec": version.name}, before=before, after=shown)
    return shown
