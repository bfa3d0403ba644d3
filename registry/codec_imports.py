"""A codec of a public catalogue with the device profiles that use it; the same import twice changes nothing."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any

from core.runtime.postgres import Connection
from registry.codecs import create_codec, publish_version, read_version
from registry.profiles import Decoding, create_profile

FIND = "SELECT id FROM codec WHERE name = $1 AND tenant_id IS NOT DISTINCT FROM $2::int"
FIND_PROFILE = """
SELECT codec, codec_version_id FROM device_profile WHERE name = $1 AND tenant_id IS NOT DISTINCT FROM $2::int
"""
EXPECTED_INTERVAL = timedelta(hours=1)


class Outcome(StrEnum):
    """What an import made of a codec, or of a profile."""

    CREATED = "created"
    NEW_VERSION = "new_version"
    UNCHANGED = "unchanged"


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
        """As a profile that is new here: what no catalogue says, whoever installs a device does."""
        said = {name: value for name, value in asdict(self).items() if name != "mapping"}
        return said | {
            "codec_options": {},
            "expected_interval": EXPECTED_INTERVAL,
            "capabilities": [],
            "commands": [],
            "sensor_ranges": [],
        }


@dataclass(frozen=True, slots=True)
class CodecImport:
    """What became of a codec and, in their order, of its profiles: an outcome and a word in French each."""

    outcome: Outcome
    version_id: int
    version: int
    profiles: tuple[tuple[Outcome, str], ...]


async def import_codec(
    connection: Connection,
    tenant_id: int | None,
    codec: CatalogueCodec,
    profiles: Sequence[CatalogueProfile],
    author: str,
) -> CodecImport:
    """Publish the source unless it is there, and make the profiles that are not.

    A profile that is there is left as it is, whatever it points to: a new version is tried in the shadow first.
    Raises UniqueViolationError when somebody else makes the same at the same time.
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
) -> tuple[Outcome, str]:
    there = await connection.fetchrow(FIND_PROFILE, profile.name, tenant_id)
    if there is not None:
        if there["codec_version_id"] == version_id:
            return Outcome.UNCHANGED, "déjà à jour"
        if there["codec"] == codec and there["codec_version_id"] is not None:
            return Outcome.UNCHANGED, "garde sa version : mettez la nouvelle à l'essai"
        return Outcome.UNCHANGED, f"existe déjà, lu par {there['codec']}"
    read_by = Decoding(codec, version_id, None, tuple(profile.mapping))
    await create_profile(connection, tenant_id, read_by, profile.written())
    count = len(profile.mapping)
    return Outcome.CREATED, f"grandeurs proposées : {count}" if count else "aucune grandeur proposée"
