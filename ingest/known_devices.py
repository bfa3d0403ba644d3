"""Cache of each device's codec and assignments, invalidated by registry changes."""

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from core.messages.shards import slot_of_asset
from core.model.entities import Asset, Assignment, Device, DeviceProfile
from core.model.quantities import QUANTITIES
from core.runtime.postgres import Pool
from decoders.catalogue import CODECS
from decoders.codec import Codec
from decoders.containers import ContainerGeometry, InvalidGeometry, geometry_of
from ingest.known_codecs import AnyCodec, KnownCodecs
from ingest.vendor_codecs import VendorCodec
from lorawan.identifiers import SLOTS
from lorawan.instants import to_us
from registry.assets import read_assets
from registry.changes import Change
from registry.codecs import Override, decoding_with, read_overrides
from registry.decoding_keys import read_device_keys
from registry.devices import read_assignments, read_devices, read_profiles
from registry.keys import KeyWrap
from registry.profiles import Decoding

BEGINNING_US, END_US = -(1 << 62), 1 << 62
LARGEST = sys.float_info.max
Stream = tuple[int, float, float]


@dataclass(slots=True)
class Serving:
    """What a device serves from `since_us` until before `until_us`: an asset in a position, or none.

    `datastreams` fills at the first sight of each (channel, quantity): its id, and the range of plausible values.
    `slot` is that of the measurements.
    """

    tenant_id: int
    asset_id: int | None
    device_id: int
    position: str = ""
    since_us: int = BEGINNING_US
    until_us: int = END_US
    geometry: ContainerGeometry | None = None
    geometry_problem: str | None = None
    datastreams: dict[tuple[str, str], Stream] = field(default_factory=dict[tuple[str, str], Stream])
    slot: int = field(init=False)

    def __post_init__(self) -> None:
        self.slot = slot_of_asset(self.device_id if self.asset_id is None else self.asset_id)

    def remember(self, channel: str, quantity: str, datastream_id: int) -> None:
        """The datastream of these values, from now on."""
        of = QUANTITIES[quantity]
        low = -LARGEST if of.minimum is None else of.minimum
        high = LARGEST if of.maximum is None else of.maximum
        self.datastreams[channel, quantity] = (datastream_id, low, high)


@dataclass(frozen=True, slots=True)
class KnownDevice:
    """A device as ingest needs it. `codec` is None when this program has none of that name.

    `vendor` is its codec, too, when that is a script that may run. `shadow` runs beside it. `codec_options` are
    its profile's, and what a script is given; `secret_options` are the keys of its meters, opened.
    """

    id: int
    device_profile_id: int
    codec_name: str
    codec: AnyCodec | None
    codec_options: Mapping[str, Any]
    servings: tuple[Serving, ...]
    unassigned: Serving
    dev_eui: bytes = b""
    name: str = ""
    vendor: VendorCodec | None = None
    shadow: AnyCodec | None = None
    shadow_version_id: int | None = None
    secret_options: Mapping[str, Any] = field(default_factory=dict[str, Any], repr=False)

    def all_options(self) -> Mapping[str, Any]:
        """With the keys of its meters: for a codec of this program, and never for a script."""
        if not self.secret_options:
            return self.codec_options
        return {**self.codec_options, **self.secret_options}

    def serving_at(self, time_us: int, received_at_us: int) -> Serving:
        """What the device served at `time_us`; when nothing, what it served at the reception.

        So an uplink whose gateway's clock is a little behind the moment of the assignment belongs to the asset.
        """
        for instant in (time_us, received_at_us):
            for serving in self.servings:
                if serving.since_us <= instant < serving.until_us:
                    return serving
        return self.unassigned

    def has_served(self, asset_id: int) -> bool:
        """Whether it serves this asset at any time."""
        return any(serving.asset_id == asset_id for serving in self.servings)


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
                    self._devices.clear()  # Versions change seldom, and each device is read again when it speaks.
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
        servings = [
            serving_of(assignment, assets[assignment.asset_id])
            for assignment in assignments.get(device.id, [])
            if assignment.asset_id in assets
        ]
        codec = self._codecs.live(decoding, device.tenant_id)
        return KnownDevice(
            device.id,
            profile.id,
            profile.codec,
            codec,
            profile.codec_options,
            tuple(servings),
            Serving(device.tenant_id, None, device.id),
            device.dev_eui,
            device.name,
            codec if isinstance(codec, VendorCodec) and codec.suspended is None else None,
            self._codecs.shadow(decoding, device.tenant_id),
            decoding.shadow_version_id,
        )


def serving_of(assignment: Assignment, asset: Asset) -> Serving:
    """An assignment with what the steps need of its asset."""
    geometry, problem = None, None
    try:
        geometry = geometry_of(asset.attributes)
    except InvalidGeometry as invalid:
        problem = f"Géométrie du conteneur inutilisable : {invalid}"
    return Serving(
        assignment.tenant_id,
        assignment.asset_id,
        assignment.device_id,
        assignment.position,
        _microseconds(assignment.since, BEGINNING_US),
        _microseconds(assignment.until, END_US),
        geometry,
        problem,
    )


def _microseconds(bound: datetime | None, unbounded: int) -> int:
    """A bound of a range; the driver gives infinity without a time zone."""
    if bound is None or bound.tzinfo is None:
        return unbounded
    return to_us(bound)
