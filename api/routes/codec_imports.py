"""Codecs that come from a public catalogue, with the device profiles that use them."""

from typing import Any, Literal

from fastapi import APIRouter
from pydantic import Field

from api.auth import Manager
from api.codec_check import check_source
from api.codec_fields import Form, MappingRules, Source
from api.fields import Answer, Body, Json, Label, Name, ShortText, Text, Word, example
from api.routes.codecs import MOST_EXAMPLES
from api.routes.device_profiles import Eirp, MacVersion
from core.runtime.http.errors import PROBLEM_RESPONSES, invalid
from decoders.catalogue import CODECS
from registry.codec_imports import CatalogueCodec, CatalogueProfile, import_codec
from registry.entering import act_as_operator

MOST_PROFILES = 500

router = APIRouter(prefix="/v1", tags=["codecs"], responses=PROBLEM_RESPONSES)


class CatalogueProfileBody(Body):
    """Un modèle, ou une plage de ses micrologiciels, que le décodeur lit."""

    model_config = example({"name": "Acme Niveau 3", "vendor": "Acme", "model": "Niveau 3"})

    name: Name = Field(description="Nom du profil", examples=["Acme Niveau 3"])
    vendor: Name = Field(examples=["Acme"])
    model: Name = Field(examples=["Niveau 3"])
    device_class: Literal["A", "C"] = "A"
    mac_version: MacVersion = "1.0.3"
    regional_revision: ShortText = ""
    supports_join: bool = True
    max_eirp: Eirp | None = None
    firmware_from: ShortText = ""
    firmware_until: ShortText = ""
    mapping: MappingRules = Field(default_factory=list[dict[str, Any]])

    def read(self) -> CatalogueProfile:
        """As the registry takes it."""
        return CatalogueProfile(**self.model_dump())


class NewCodecImport(Body):
    """Un décodeur d'un catalogue public, et les profils qui l'emploient."""

    model_config = example(
        {
            "dry_run": True,
            "name": "acme.niveau",
            "vendor": "Acme",
            "model": "Niveau 3",
            "source": "function decodeUplink(input) { return { data: { distance: input.bytes[0] } }; }",
            "profiles": [
                {
                    "name": "Acme Niveau 3",
                    "vendor": "Acme",
                    "model": "Niveau 3",
                    "mapping": [{"path": "distance", "quantity": "distance"}],
                }
            ],
        }
    )

    name: Word = Field(description="Nom du décodeur, unique dans la collectivité", examples=["acme.niveau"])
    vendor: Label = Field("", examples=["Acme"])
    model: Label = Field("", examples=["Niveau 3"])
    source: Source
    form: Form | None = Field(None, description="Point d'entrée à employer ; absent : le premier qui convient")
    examples: list[Json] = Field(default_factory=list[dict[str, Any]], max_length=MOST_EXAMPLES)
    note: Text = Field("", description="D'où il vient", examples=["catalogue The Things Network"])
    profiles: list[CatalogueProfileBody] = Field(
        default_factory=list[CatalogueProfileBody], max_length=MOST_PROFILES
    )
    shared: bool = Field(False, description="Proposé à toutes les collectivités : rôle `operate`")
    dry_run: bool = Field(False, description="true : tout vérifier et tout dire, ne rien écrire")


class ImportedProfileAnswer(Answer):
    """Ce qu'est devenu un profil."""

    name: str
    outcome: Literal["created", "unchanged", "grouped"] = Field(
        description="`grouped` : le produit a déjà un profil, d'un autre catalogue ou fait à la main"
    )
    detail: str = Field(examples=["3 grandeurs proposées"])


class CodecImportAnswer(Answer):
    """Le bilan d'une reprise."""

    dry_run: bool
    name: str
    outcome: Literal["created", "new_version", "unchanged"]
    version: int
    version_id: int | None = Field(description="Absent d'un essai qui aurait créé la version")
    profiles: list[ImportedProfileAnswer]


@router.post("/codec-imports", operation_id="importCodecs", summary="Reprendre un décodeur d'un catalogue public")
async def import_from_catalogue(body: NewCodecImport, caller: Manager) -> CodecImportAnswer:
    """Reprendre un décodeur et les profils de ses modèles. La même reprise une seconde fois ne change rien.

    Un profil qui existe déjà garde ce qui le lit : une nouvelle version se met à l'essai, puis en service.
    `dry_run` fait tout, puis défait tout.
    """
    if body.shared:
        caller.demand("operate")
    if body.name in CODECS:
        raise invalid("name", "native", f"{body.name} est le nom d'un décodeur natif")
    await check_source(caller.platform.codec_workers, "javascript", body.source, body.form)
    async with caller.changing() as change:
        if body.shared:
            await act_as_operator(change.connection)
        trying = change.connection.transaction()
        await trying.start()
        done = await import_codec(
            change.connection,
            None if body.shared else change.tenant_id,
            CatalogueCodec(body.name, body.vendor, body.model, body.source, body.form, body.examples, body.note),
            [profile.read() for profile in body.profiles],
            change.actor,
        )
        profiles = [
            ImportedProfileAnswer.model_validate(
                {"name": profile.name, "outcome": outcome.value, "detail": detail}
            )
            for profile, (outcome, detail) in zip(body.profiles, done.profiles, strict=True)
        ]
        if body.dry_run:
            await trying.rollback()
        else:
            await trying.commit()
            made = [profile.name for profile in profiles if profile.outcome == "created"]
            if made or done.outcome.value != "unchanged":
                noted = {"codec": body.name, "version": done.version, "profiles": made, "shared": body.shared}
                await change.audit("import", "codec_version", done.version_id, after=noted)
    is_gone = body.dry_run and done.outcome.value != "unchanged"
    return CodecImportAnswer(
        dry_run=body.dry_run,
        name=body.name,
        outcome=done.outcome.value,
        version=done.version,
        version_id=None if is_gone else done.version_id,
        profiles=profiles,
    )
