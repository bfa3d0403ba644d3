"""Mappings that people revise: what is to be confirmed, and where today's proposal says otherwise."""

import asyncio
from typing import Annotated, Any, cast

from fastapi import APIRouter
from pydantic import Field, StringConstraints

from api.auth import Manager, Reader
from api.decodings import decoding_of_tenant
from api.fields import Answer, Body, Id, Json, answer_of, example
from api.pages import Page, Paged, page_of
from api.routes.device_profiles import PROFILES
from api.routes.profile_decoding import DecodingAnswer, name_of, point
from core.model.entities import DeviceProfile
from core.runtime.http.errors import PROBLEM_RESPONSES, Problem, invalid
from core.runtime.postgres import Connection
from decoders.catalogues.model import DECODE_UPLINK
from decoders.mapping import InvalidMapping, Mapping, Rule, propose
from decoders.mapping.doubts import FRENCH
from decoders.mapping.paths import LONGEST, path_text
from decoders.mapping.revision import Difference, adopt, confirm, differences, remove
from decoders.mapping.rules import MOST_RULES
from registry.codecs import CodecVersion, read_version, read_versions
from registry.profiles import Decoding, list_profiles

router = APIRouter(prefix="/v1", tags=["device-profiles"], responses=PROBLEM_RESPONSES)

MOST_SAMPLES = 50  # Of a version: more say little more, and each takes its time.
PathOfRule = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST)]


class UnconfirmedRule(Answer):
    """Une règle à confirmer : ce qu'elle lit est montré, et n'est pas une mesure."""

    path: str
    quantity: str
    channel: str
    unit: str = Field(description="Unité du fabricant ; vide : celle de la grandeur")
    why: str = Field(examples=["l'unité n'est pas dite"])


class RuleDifference(answer_of(Difference, {"now", "proposed"})):
    """Un champ pour lequel la proposition d'aujourd'hui n'est pas ce que dit la correspondance."""

    now: dict[str, Any] | None = Field(description="La règle de la correspondance ; null : aucune")
    proposed: dict[str, Any] | None = Field(description="Celle qui est proposée aujourd'hui ; null : aucune")
    why: str = Field(description="Pourquoi la règle proposée serait à confirmer", examples=[""])


class RevisionAnswer(Answer):
    """Ce qu'une personne peut décider de la correspondance d'un profil."""

    device_profile_id: int
    name: str
    to_confirm: list[UnconfirmedRule]
    differences: list[RuleDifference] = Field(
        description="D'après les exemples gardés avec la version ; rien ne change sans une personne"
    )


class Decisions(Body):
    """Ce qu'une personne décide, champ par champ ; le reste ne change pas."""

    model_config = example({"confirm": [{"path": "distance", "unit": "cm"}], "remove": ["txLevel"], "adopt": []})

    confirm: list[Json] = Field(
        default_factory=list[dict[str, Any]],
        max_length=MOST_RULES,
        description="Règles à mettre en service : le chemin, et ce qui doit y changer (quantity, unit, channel…)",
        examples=[[{"path": "distance", "unit": "cm"}]],
    )
    remove: list[PathOfRule] = Field(
        default_factory=list[str], max_length=MOST_RULES, description="Règles à retirer"
    )
    adopt: list[PathOfRule] = Field(
        default_factory=list[str],
        max_length=MOST_RULES,
        description="Champs pour lesquels prendre la proposition d'aujourd'hui",
    )
    for_all: bool = Field(False, description="D'un profil proposé à toutes : pour toutes (rôle `operate`)")


def proposal_of(version: CodecVersion | None) -> Mapping:
    """What is proposed today from the examples that were kept with a version."""
    examples = () if version is None or version.language != "javascript" else version.examples
    expected = [_expected(one) for one in examples if one.get("operation") == DECODE_UPLINK]
    samples = [one["data"] for one in expected if one.get("data") is not None and not one.get("errors")]
    return propose(samples[:MOST_SAMPLES])


def _expected(kept: dict[str, Any]) -> dict[str, Any]:
    expected = kept.get("expected")
    return cast("dict[str, Any]", expected) if isinstance(expected, dict) else {}


def _revision(profile_id: int, name: str, decoding: Decoding, version: CodecVersion | None) -> RevisionAnswer:
    mapping, proposed = Mapping.parse(decoding.mapping), proposal_of(version)
    others = differences(mapping, proposed) if proposed.rules else []
    return RevisionAnswer(
        device_profile_id=profile_id,
        name=name,
        to_confirm=[
            UnconfirmedRule(
                path=path_text(rule.steps),
                quantity=rule.quantity,
                channel=rule.channel,
                unit=rule.unit,
                why=FRENCH[rule.to_confirm],
            )
            for rule in mapping.rules
            if rule.to_confirm is not None
        ],
        differences=[
            RuleDifference.model_validate(
                {"path": one.path, "now": _json(one.now), "proposed": _json(one.proposed), "why": _why(one)}
            )
            for one in others
        ],
    )


def _json(rule: Rule | None) -> dict[str, Any] | None:
    return None if rule is None else rule.as_json()


def _why(one: Difference) -> str:
    return "" if one.proposed is None or one.proposed.to_confirm is None else FRENCH[one.proposed.to_confirm]


@router.get(
    "/mapping-revisions", operation_id="listMappingRevisions", summary="Lister les correspondances à revoir"
)
async def list_revisions(caller: Reader, page: Paged) -> Page[RevisionAnswer]:
    """Les profils dont la correspondance a des règles à confirmer, ou serait proposée autrement aujourd'hui.

    Ceux des reprises d'avant y sont aussi. Une page parcourt `limit` profils, et montre ceux qui sont à revoir.
    """
    tenant_id = caller.principal.tenant_id
    async with caller.reading() as connection:
        profiles = await list_profiles(connection, after=page.after, most=page.most)
        decodings = {one.id: (await decoding_of_tenant(connection, tenant_id, one))[1] for one in profiles}
        ids = {one.codec_version_id for one in decodings.values() if one.codec_version_id is not None}
        versions = await read_versions(connection, sorted(ids))

    def revision(profile: DeviceProfile) -> RevisionAnswer:
        decoding = decodings[profile.id]
        return _revision(profile.id, profile.name, decoding, _version(versions, decoding))

    await caller.end_sharing()
    # Milliseconds for each profile: the others' requests do not wait for all of them.
    shown = await asyncio.to_thread(page_of, profiles, page.limit, revision)
    kept = [one for one in shown.items if one.to_confirm or one.differences]
    return Page[RevisionAnswer](items=kept, next=shown.next)


def _version(versions: dict[int, CodecVersion], decoding: Decoding) -> CodecVersion | None:
    return None if decoding.codec_version_id is None else versions.get(decoding.codec_version_id)


async def _version_of(connection: Connection, decoding: Decoding) -> CodecVersion | None:
    return None if decoding.codec_version_id is None else await read_version(connection, decoding.codec_version_id)


@router.get(
    "/device-profiles/{id}/mapping",
    operation_id="getProfileMapping",
    summary="Lire ce qui est à revoir d'une correspondance",
)
async def read_revision(id: Id, caller: Reader) -> RevisionAnswer:
    """Les règles à confirmer de ce profil, et où la proposition d'aujourd'hui dit autre chose."""
    async with caller.reading() as connection:
        profile = await PROFILES.get(connection, id)
        _, decoding = await decoding_of_tenant(connection, caller.principal.tenant_id, profile)
        version = await _version_of(connection, decoding)
    await caller.end_sharing()
    return await asyncio.to_thread(_revision, id, profile.name, decoding, version)


@router.post(
    "/device-profiles/{id}/mapping",
    operation_id="decideProfileMapping",
    summary="Confirmer, retirer ou reprendre des règles",
)
async def decide(id: Id, body: Decisions, caller: Manager) -> DecodingAnswer:
    """Décider de la correspondance, champ par champ ; actif partout en 5 secondes.

    Ce qui est confirmé mesure dès la trame suivante ; ce qui était arrivé avant se relit (`redecodes`).
    """
    async with caller.changing() as change:
        profile = await PROFILES.get(change.connection, id)
        _, current = await decoding_of_tenant(change.connection, change.tenant_id, profile, for_all=body.for_all)
        if current.codec_version_id is None:
            raise Problem(409, "ce profil est lu par un décodeur natif : il n'a pas de correspondance")
        version = await _version_of(change.connection, current)
        try:
            mapping = Mapping.parse(current.mapping)
            if body.adopt:
                mapping = adopt(mapping, await asyncio.to_thread(proposal_of, version), body.adopt)
            mapping = confirm(remove(mapping, body.remove), body.confirm)
        except ValueError as wrong:
            field = "confirm" if isinstance(wrong, InvalidMapping) else "mapping"
            raise invalid(field, "mapping", str(wrong)) from None
        name = await name_of(change.connection, profile, current)
        decoding = Decoding(name, current.codec_version_id, current.shadow_version_id, tuple(mapping.as_json()))
        return await point(caller, change, profile, decoding, for_all=body.for_all)
