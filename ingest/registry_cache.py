"""What ingest remembers of the registry: the devices that have spoken, and the gateways.

Read once, and forgotten when the registry changes.
"""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import replace

from core.model.entities import Asset, Assignment, Device, DeviceProfile
from core.model.plausibility import sensor_ranges_of
from core.runtime.postgres import Pool
from decoders.catalogue import CODECS
from decoders.codec import Codec
from ingest.known_codecs import KnownCodecs
from ingest.pipeline import KnownDevice, Serving, serving_of
from ingest.vendor_codecs import VendorCodec
from lorawan.identifiers import SLOTS
from registry.assets import read_assets
from registry.changes import Change
from registry.codecs import Override, decoding_with, read_overrides
from registry.decoding_keys import read_device_keys
from registry.devices import read_assignments, read_devices, read_profiles
from registry.gateways import read_gateways
from registry.keys import KeyWrap
from registry.profiles import Decoding

# An EUI that is not known makes the table be read again, at most this often.
READ_AGAIN_EVERY_S = 1.0


class KnownDevices:
    """The devices seen so far. `apply` is for a `RegistryWatcher`. Without `keys` no meter's key opens."""

    def __init__(self, pool: Pool, codecs: Mapping[str, Codec] = CODECS, *, keys: KeyWrap | None = None) -> None:
        self._pool = pool
        self._keys = keys
        self._codecs = KnownCodecs(pool, codecs)
        self._devices: dict[int, KnownDevice] = {}
        self._profiles: dict[int, DeviceProfile] = {}
        self._overrides: dict[tuple[int, int], Override] = {}
        self._changes = 0
        self._profile_changes = 0

    async def resolve(self, device_ids: Iterable[int]) -> dict[int, KnownDevice]:
        """These devices; one that is not known is read from the database, one that is absent does not exist."""
        asked = set(device_ids)
        known = self._devices
        missing = sorted(asked - known.keys())
        if missing:
            before = self._changes
            read = await self._read(missing)
            if self._changes == before:  # What changed while it was read is read again next time.
                self._devices |= read
            known = self._devices | read
        return {id_: known[id_] for id_ in asked if id_ in known}

    def known(self, device_id: int) -> KnownDevice | None:
        """A device, if it was resolved before and has not changed since."""
        return self._devices.get(device_id)

    def apply(self, changes: Iterable[Change]) -> None:
        """Forget what changed; it is read again when it is needed."""
        for change in changes:
            self._changes += 1
            match change.entity:
                case "device":
                    self._devices.pop(change.entity_id, None)
                case "device_profile":
                    self._profile_changes += 1
                    self._profiles = {}
                    self._forget([d for d in self._devices.values() if d.device_profile_id == change.entity_id])
                case "codec_version":
                    self._codecs.forget(change.entity_id)
                    self._forget([d for d in self._devices.values() if d.is_read_by(change.entity_id)])
                case "asset":
                    self._forget([d for d in self._devices.values() if d.has_served(change.entity_id)])
                case _:
                    continue

    def forget_all(self) -> None:
        """Start over: something that was remembered turned out to be gone."""
        self._changes += 1
        self._profile_changes += 1
        self._devices.clear()
        self._profiles = {}
        self._codecs.forget_all()

    def _forget(self, devices: Iterable[KnownDevice]) -> None:
        for device in devices:
            del self._devices[device.id]

    async def _read(self, device_ids: list[int]) -> dict[int, KnownDevice]:
        devices = await read_devices(self._pool, range(SLOTS), device_ids)
        if not devices:
            return {}
        while any(device.device_profile_id not in self._profiles for device in devices):
            before = self._profile_changes
            overrides, profiles = await read_overrides(self._pool), await read_profiles(self._pool)
            if self._profile_changes == before:
                self._overrides, self._profiles = overrides, profiles
        profiles = self._profiles
        decodings = {device.id: self._decoding(device, profiles[device.device_profile_id]) for device in devices}
        await self._codecs.load(
            version for used in decodings.values() for version in (used.codec_version_id, used.shadow_version_id)
        )
        ids = [device.id for device in devices]
        secrets = await read_device_keys(self._pool, ids, self._keys)
        assignments = await read_assignments(self._pool, ids)
        asset_ids = {assignment.asset_id for served in assignments.values() for assignment in served}
        assets = await read_assets(self._pool, sorted(asset_ids)) if asset_ids else {}
        known = {
            device.id: self._known(
                device, profiles[device.device_profile_id], decodings[device.id], assignments, assets
            )
            for device in devices
        }
        for device_id, options in secrets.items():
            known[device_id] = replace(known[device_id], secret_options=options)
        return known

    def _decoding(self, device: Device, profile: DeviceProfile) -> Decoding:
        """How its frames are read: as its profile says, unless its tenant has another wish."""
        return decoding_with(profile, self._overrides.get((device.tenant_id, profile.id)))

    def _known(
        self,
        device: Device,
        profile: DeviceProfile,
        decoding: Decoding,
        assignments: Mapping[int, list[Assignment]],
        assets: Mapping[int, Asset],
    ) -> KnownDevice:
        codec = self._codecs.live(decoding, device.tenant_id)
        ranges = sensor_ranges_of(profile.sensor_ranges)
        if isinstance(codec, Codec):
            ranges += codec.ranges
        servings = [
            serving_of(assignment, assets[assignment.asset_id], ranges)
            for assignment in assignments.get(device.id, [])
            if assignment.asset_id in assets
        ]
        return KnownDevice(
            device.id,
            profile.id,
            profile.codec,
            codec,
            profile.codec_options,
            tuple(servings),
            Serving(device.tenant_id, None, device.id, ranges=ranges),
            device.dev_eui,
            device.name,
            decoding.codec_version_id,
            codec if isinstance(codec, VendorCodec) and codec.suspended is None else None,
            self._codecs.shadow(decoding, device.tenant_id),
            decoding.shadow_version_id,
        )


class KnownGateways:
    """The registered gateways. `apply` is for a `RegistryWatcher`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._ids: dict[bytes, int] = {}
        self._read_at = float("-inf")
        self._changed = True

    async def resolve(self, euis: Iterable[bytes]) -> dict[bytes, int]:
        """The row's id of every registered gateway; `euis` are those that are asked for now."""
        now = asyncio.get_running_loop().time()
        is_due = now - self._read_at >= READ_AGAIN_EVERY_S
        if self._changed or (is_due and any(eui not in self._ids for eui in euis)):
            self._changed = False
            try:
                self._ids = {eui: gateway.id for eui, gateway in (await read_gateways(self._pool)).items()}
            except BaseException:
                self._changed = True
                raise
            self._read_at = now
        return self._ids

    def apply(self, changes: Iterable[Change]) -> None:
        """Read the table again before the next batch if a gateway changed."""
        if any(change.entity == "gateway" for change in changes):
            self._changed = True
