"""Cache of the codecs that devices use, compiled once, invalidated by registry changes."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import cast

import msgspec
import structlog

from core.runtime.postgres import Pool
from decoders.codec import Codec
from decoders.declarative import parse
from decoders.javascript.calls import Form, Script
from decoders.mapping import Mapping as FieldMapping
from ingest.vendor_codecs import AnyCodec, VendorCodec, script_key
from registry.codecs import CodecVersion, read_versions
from registry.profiles import Decoding

# A version, whose devices, and what its names mean there (JSON).
Use = tuple[int, int, bytes]
USES_KEPT = 5_000

log = structlog.get_logger()


class KnownCodecs:
    """Published versions by id, beside the native codecs by name."""

    def __init__(self, pool: Pool, native: Mapping[str, Codec]) -> None:
        self._pool = pool
        self._native = native
        self._versions: dict[int, CodecVersion] = {}
        self._compiled: dict[Use, AnyCodec] = {}
        self._changes = 0

    async def load(self, version_ids: Iterable[int | None]) -> None:
        """Load and compile these versions; raises one of DATABASE_AWAY."""
        wanted = {id_ for id_ in version_ids if id_ is not None}
        while missing := wanted - self._versions.keys():
            before = self._changes
            read = await read_versions(self._pool, sorted(missing))
            if self._changes == before:  # Else one of them may have been suspended meanwhile.
                self._versions |= read

    def forget(self, version_id: int) -> None:
        """Remove a version that was suspended or released."""
        self._changes += 1
        self._versions.pop(version_id, None)
        self._compiled.clear()

    def forget_all(self) -> None:
        """Remove all versions."""
        self._changes += 1
        self._versions.clear()
        self._compiled.clear()

    def live(self, decoding: Decoding, tenant_id: int) -> AnyCodec | None:
        """The codec that decodes frames of this tenant's devices; None when this program has no such codec."""
        if decoding.codec_version_id is None:
            return self._native.get(decoding.codec)
        return self._of(decoding.codec_version_id, decoding, tenant_id)

    def shadow(self, decoding: Decoding, tenant_id: int) -> AnyCodec | None:
        """The shadow codec that runs beside it."""
        if decoding.shadow_version_id is None:
            return None
        return self._of(decoding.shadow_version_id, decoding, tenant_id)

    def _of(self, version_id: int, decoding: Decoding, tenant_id: int) -> AnyCodec | None:
        version = self._versions.get(version_id)
        if version is None:
            return None
        use = (version_id, tenant_id, msgspec.json.encode(decoding.mapping))
        if use not in self._compiled:
            if len(self._compiled) >= USES_KEPT:  # Mappings that were edited since.
                self._compiled.clear()
            try:
                self._compiled[use] = compiled(version, decoding, tenant_id)
            except ValueError as wrong:  # It was checked when it was published, by another version of ours.
                log.warning(
                    "codec_version_unusable", codec=version.name, version=version.version, error=str(wrong)
                )
                return None
        return self._compiled[use]


def compiled(version: CodecVersion, decoding: Decoding, tenant_id: int) -> AnyCodec:
    """A version as the devices of a tenant use it. A script runs in a context of this tenant's own.

    Raises ValueError, in French, for a source or a mapping that cannot be read.
    """
    suspended = version.quarantined_at is not None
    if version.language == "declarative" and not suspended:
        return replace(parse(version.source), name=version.name, version=version.version)
    key = script_key(tenant_id, version.id, version.sha256)
    return VendorCodec(
        version.id,
        version.name,
        version.version,
        Script(key, version.source, cast("Form | None", version.form)),
        FieldMapping.parse(decoding.mapping),
        f"le codec {version.name} v{version.version} est suspendu" if suspended else None,
    )
