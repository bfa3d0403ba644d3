"""Checks which codec a profile is to use before it is switched."""

from collections.abc import Sequence
from typing import Any

from api.auth import Change
from core.model.entities import DeviceProfile
from core.runtime.http.errors import invalid
from core.runtime.postgres import Connection
from decoders.catalogue import CODECS
from decoders.declarative import parse
from registry.codecs import CodecVersion, decoding_with, read_override, read_version
from registry.profiles import Decoding

# In the audit: for oneself, and for everybody whom a profile is offered to.
POINTED, POINTED_FOR_ALL = "point", "point_for_all"
# Whose word it is: one's own profile, one's own choice in the place of a shared profile's, or the shared profile.
OWN, OVERRIDE, SHARED = "own", "override", "shared"


async def decoding_for(
    change: Change,
    codec: str | None,
    codec_version_id: int | None,
    mapping: list[dict[str, Any]],
    capabilities: Sequence[str],
) -> Decoding:
    """How frames are read by a native codec, or by a published version. 422 for anything else.

    `capabilities` are the profile's: what switches takes the right to switch.
    """
    if (codec is None) == (codec_version_id is None):
        raise invalid(
            "codec", "choice", "donnez « codec » (natif) ou « codec_version_id » (publié), l'un des deux"
        )
    if codec_version_id is not None:
        version = await usable_version(change.connection, codec_version_id, "codec_version_id")
        declared = parse(version.source) if version.language == "declarative" else None
        if declared is not None and declared.switches and "switch" not in capabilities:
            message = "ce décodeur sait agir sur le territoire : le profil doit avoir la capacité « switch »"
            raise invalid("codec_version_id", "switch", message)
        return Decoding(version.name, version.id, None, tuple(mapping))
    assert codec is not None  # noqa: S101 - Checked above.
    if codec not in CODECS:
        raise invalid(
            "codec", "unknown_codec", f"décodeur natif {codec} inconnu ; connus : {', '.join(sorted(CODECS))}"
        )
    if mapping:
        raise invalid("mapping", "native", "un décodeur natif dit déjà ses grandeurs : pas de correspondance")
    return Decoding(codec)


async def usable_version(connection: Connection, version_id: int, field: str) -> CodecVersion:
    """The version that the caller may point to: its own, or one that is offered to all. 422 otherwise."""
    version = await read_version(connection, version_id)
    if version is None:
        raise invalid(field, "unknown_version", f"version de décodeur {version_id} introuvable")
    return version


async def decoding_of_tenant(
    connection: Connection, tenant_id: int, profile: DeviceProfile, *, for_all: bool = False
) -> tuple[str, Decoding]:
    """Whose word it is, and how the frames of this tenant's devices are read.

    With `for_all`, what a profile that is offered to all says itself.
    """
    if profile.tenant_id is not None:
        return OWN, Decoding.of(profile)
    override = None if for_all else await read_override(connection, tenant_id, profile.id)
    own_version = override is not None and override.codec_version_id is not None
    return OVERRIDE if own_version else SHARED, decoding_with(profile, override)
