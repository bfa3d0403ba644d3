"""A codec of a public catalogue with the device profiles that use it; the same import twice changes nothing."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any

from core.runtime.postgres import Connection, Record
from decoders.catalogues.products import is_same_product, telling_part
from registry.codecs import create_codec, publish_version, read_version
from registry.profiles import Decoding, create_profile

FIND = "SELECT id FROM codec WHERE name = $1 AND tenant_id IS NOT DISTINCT FROM $2::int"
FIND_PROFILE = """
SELECT codec, codec_version_id, device_class, mac_version FROM device_profile
WHERE name = $1 AND tenant_id IS NOT DISTINCT FROM $2::int
"""
# Of another catalogue, or of nobody's: those that may be the same product.
FIND_PRODUCTS = """
SELECT id, name, vendor, model, codec FROM device_profile
WHERE tenant_id IS NOT DISTINCT FROM $1::int AND split_part(codec, '.', 1) <> split_part($2, '.', 1)
  AND strpos(lower(regexp_replace(model, '[^A-Za-z0-9]', '', 'g')), $3) > 0
ORDER BY id
"""
EXPECTED_INTERVAL = timedelta(hours=1)


class Outcome(StrEnum):
    """The outcome of an import for a codec."""

    CREATED = "created"
    NEW_VERSION = "new_version"
    UNCHANGED = "unchanged"


class ProfileOutcome(StrEnum):
    """The outcome of an import for a profile."""

    CREATED = "created"
    UNCHANGED = "unchanged"
    GROUPED = "grouped"
    """The product has one already, from another catalogue; the codec is a choice for it."""


@dataclass(frozen=True, slots=True)
class CatalogueCodec:
    """A vendor's script as a catalogue has it; `form` as in `CodecVersion`."""

    name: str
    vendor: str
    model: str
    source: str
    form: str | None
    examples: Sequence[dict[str, Any]]
    note: str


@dataclass(frozen=True, slots=True)
class CatalogueProfile:
    """A model, or a range of its firmware, that uses the codec."""

    name: str
    vendor: str
    model: str
    device_class: str
    mac_version: str
    regional_revision: str
    supports_join: bool
    max_eirp: int | None  # dBm
    firmware_from: str
    firmware_until: str
    mapping: Sequence[dict[str, Any]]

    def written(self) -> dict[str, Any]:
        """As a profile that is new here: the installer sets what no catalogue says."""
        said = {name: value for name, value in asdict(self).items() if name != "mapping"}
        return said | {
            "codec_options": {},
            "expected_interval": EXPECTED_INTERVAL,
            "capabilities": [],
            "commands": [],
        }


@dataclass(frozen=True, slots=True)
class CodecImport:
    """The outcome for a codec and, in their order, for its profiles; each with a French word."""

    outcome: Outcome
    version_id: int
    version: int
    profiles: tuple[tuple[ProfileOutcome, str], ...]


async def import_codec(
    connection: Connection,
    tenant_id: int | None,
    codec: CatalogueCodec,
    profiles: Sequence[CatalogueProfile],
    author: str,
) -> CodecImport:
    """Publish the source unless it is there, and make the profiles that are not.

    A profile that is there is left as it is, whatever it points to: a new version is tried in the shadow first. A
    product that another catalogue brought, or that somebody described, gets no second profile.
    Raises UniqueViolationError when another import creates the same at the same time.
    """
    codec_id = await connection.fetchval(FIND, codec.name, tenant_id)
    outcome = Outcome.NEW_VERSION
    if codec_id is None:
        made = await create_codec(connection, tenant_id, name=codec.name, vendor=codec.vendor, model=codec.model)
        codec_id, outcome = made.id, Outcome.CREATED
    version_id, is_new = await publish_version(
        connection,
        codec_id,
        language="javascript",
        source=codec.source,
        form=codec.form,
        author=author,
        examples=codec.examples,
        note=codec.note,
    )
    version = await read_version(connection, version_id)
    assert version is not None  # noqa: S101 - It was published in this transaction, or found.
    decoded = [
        await _import_profile(connection, tenant_id, profile, codec.name, version_id) for profile in profiles
    ]
    return CodecImport(outcome if is_new else Outcome.UNCHANGED, version_id, version.version, tuple(decoded))


async def _import_profile(
    connection: Connection, tenant_id: int | None, profile: CatalogueProfile, codec: str, version_id: int
) -> tuple[ProfileOutcome, str]:
    there = await connection.fetchrow(FIND_PROFILE, profile.name, tenant_id)
    if there is not None:
        if there["codec"] != codec or there["codec_version_id"] is None:
            return ProfileOutcome.UNCHANGED, f"existe déjà, lu par {there['codec']}"
        is_current = there["codec_version_id"] == version_id
        kept = "déjà à jour" if is_current else "garde sa version : mettez la nouvelle à l'essai"
        radio, here = (profile.device_class, profile.mac_version), (there["device_class"], there["mac_version"])
        if radio != here:
            kept += " ; le catalogue dit classe {}, LoRaWAN {} (ici {}, {})".format(*radio, *here)
        return ProfileOutcome.UNCHANGED, kept
    same = await _find_product(connection, tenant_id, profile, codec)
    if same is not None:
        said = f"même produit que « {same['name']} » (profil {same['id']}), lu par {same['codec']} ; "
        return ProfileOutcome.GROUPED, said + f"la version {version_id} peut y être mise à l'essai"
    read_by = Decoding(codec, version_id, None, tuple(profile.mapping))
    await create_profile(connection, tenant_id, read_by, profile.written())
    count = len(profile.mapping)
    return ProfileOutcome.CREATED, f"grandeurs proposées : {count}" if count else "aucune grandeur proposée"


async def _find_product(
    connection: Connection, tenant_id: int | None, profile: CatalogueProfile, codec: str
) -> Record | None:
    """The profile that the same product has already, from another catalogue or by hand."""
    part = telling_part(profile.vendor, profile.model)
    if not part:
        return None
    mine = (profile.vendor, profile.model)
    near = await connection.fetch(FIND_PRODUCTS, tenant_id, codec, part)
    return next((row for row in near if is_same_product(mine, (row["vendor"], row["model"]))), None)
