"""Entities of the registry as services read them. Identifiers of LoRaWAN are big-endian bytes."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from lorawan.identifiers import DevEui, GatewayId, JoinEui


@dataclass(frozen=True, slots=True)
class Tenant:
    """Who owns: a member of the shared network, or its operator."""

    id: int
    slug: str
    name: str
    webhook_allow_list: tuple[str, ...] = ()
    member_of: int | None = None  # The syndicat that sees it.
    department: str | None = None  # What time it is there, and which days are holidays; None: as the deployment.
    closed_at: datetime | None = None  # Since when nobody enters it.


@dataclass(frozen=True, slots=True)
class DeviceProfile:
    """What all devices of one model have in common. `tenant_id` None: offered to every tenant.

    `codec` names a native codec, or with `codec_version_id` the codec of that version. A shadow version runs
    beside it and stores nothing. `mapping` is as `decoders.mapping` reads it, `commands` as the API does. Firmware
    bounds are inclusive, "" is open; `max_eirp` is in dBm. `moduli`: by quantity, where its index
    goes back to zero. `sensor_ranges` are what `sensor_ranges_of` reads.
    """

    id: int
    tenant_id: int | None
    name: str
    vendor: str
    model: str
    codec: str
    codec_options: dict[str, Any]
    device_class: str  # A or C
    mac_version: str
    region: str
    expected_interval: timedelta
    capabilities: tuple[str, ...]
    codec_version_id: int | None
    shadow_version_id: int | None
    mapping: tuple[dict[str, Any], ...]
    firmware_from: str
    firmware_until: str
    commands: tuple[dict[str, Any], ...]
    regional_revision: str
    supports_join: bool
    max_eirp: int | None
    sensor_ranges: tuple[dict[str, Any], ...]
    rx1_delay: int | None = None  # Seconds. This and the next: None: as the network server is set.
    rx2_data_rate: int | None = None
    adr: bool | None = None
    adr_min_data_rate: int | None = None  # None, from here on: no bound.
    adr_max_data_rate: int | None = None
    adr_min_tx_power: int | None = None  # Index: the lower, the more power.
    adr_max_tx_power: int | None = None
    moduli: dict[str, float] = field(default_factory=dict[str, float])


@dataclass(frozen=True, slots=True)
class Device:
    """A device and its place in the house; its root key is not here."""

    id: int
    tenant_id: int
    dev_eui: DevEui
    join_eui: JoinEui
    name: str
    device_profile_id: int
    slot: int
    activation: str  # OTAA, ABP, or EXTERNAL: by another network, which has its keys
    skip_f_cnt_check: bool
    enabled: bool


@dataclass(frozen=True, slots=True)
class Asset:
    """What people care about: a bin, a cabinet, a room, a meter. Devices come and go, it stays."""

    id: int
    tenant_id: int
    kind: str
    name: str
    commune: str
    street: str
    latitude: float | None
    longitude: float | None
    attributes: dict[str, Any] = field(default_factory=dict[str, Any])
    privacy_class: int = 0
    tags: tuple[str, ...] = ()
    parent_id: int | None = None  # What it hangs on: a lamp on its cabinet, a meter behind another.
    archived_at: datetime | None = None  # Out of lists, alerts and missing data since then.
    external_reference: str | None = None  # In its owner's own software; unique per kind.
    insee: str | None = None  # The code of its commune.
    position_insee: str | None = None  # The code of the commune in whose outline its position is.
    commune_by_position: bool = False  # Nobody has stated its commune.
    quarter: str = ""  # The part of its commune, as people call it.


@dataclass(frozen=True, slots=True)
class Assignment:
    """A device serves an asset, in a position, from `since` until `until` (None: still)."""

    id: int
    tenant_id: int
    asset_id: int
    device_id: int
    position: str
    since: datetime
    until: datetime | None


@dataclass(frozen=True, slots=True)
class Gateway:
    """A registered gateway."""

    id: int
    tenant_id: int
    gateway_id: GatewayId
    name: str
    region: str
    latitude: float | None
    longitude: float | None
    antenna_gain: float  # dBi
    boards: int  # SX1301 concentrators, 1 or 2.
    gain_subtracted_by: str | None  # lorawan.radiated_power.GainSubtraction; None: nobody has said.
    max_eirp: int | None  # dBm
    unproved_until: datetime | None = None  # Until then it may be a station without a credential.


@dataclass(frozen=True, slots=True)
class Datastream:
    """One quantity of one asset, or of a device that serves none; every measurement belongs to one."""

    id: int
    tenant_id: int
    asset_id: int | None
    device_id: int
    position: str
    channel: str
    quantity: str
    unit: str  # UCUM
